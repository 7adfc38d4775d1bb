"""Document ids that are unique in an index, whichever source a document comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class DocumentIds:
    """Gives every document an id: its own, prefixed by its source's name where two collide.

    Keeps a 16-byte hash a document, not the id.

    Args:
        names: The sources' names, in their order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._owners: dict[bytes, int] = {}

    def claim(self, doc_id: str, source: int) -> str | None:
        """Return the id a document gets, or None if its own source has it already.

        >>> ids = DocumentIds(["docs", "wiki"])
        >>> ids.claim("a.md", 0), ids.claim("a.md", 1), ids.claim("a.md", 1)
        ('a.md', 'wiki/a.md', None)
        """
        for candidate in (doc_id, *(prefix + doc_id for prefix in self._prefixes(source))):
            owner = self._owners.get(_key(candidate))
            if owner is None:
                self._owners[_key(candidate)] = source
                return candidate
            if owner == source:
                return None
        return None

    def claim_again(self, doc_ids: Iterable[str], source: int) -> bool:
        """Claim the ids that a file's documents have already; False, and none, if they collide.

        With several sources an id that may have been prefixed is made anew, since the document
        that it collided with may be gone.

        Args:
            doc_ids: Gone through twice, so that a large file's need not be held at once.
        """
        prefixes = self._prefixes(source) if len(self.names) > 1 else ()
        for doc_id in doc_ids:
            if doc_id.startswith(prefixes) or _key(doc_id) in self._owners:
                return False
        self._owners.update((_key(doc_id), source) for doc_id in doc_ids)
        return True

    def _prefixes(self, source: int) -> tuple[str, str]:
        name = self.names[source]
        return f"{name}/", f"{name}-{source + 1}/"


def _key(doc_id: str) -> bytes:
    import xxhash

    return xxhash.xxh3_128_digest(doc_id.encode("utf-8", "surrogatepass"))
