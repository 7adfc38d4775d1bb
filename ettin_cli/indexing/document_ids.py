"""Document ids that are unique in an index, whichever source a document comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

PREFIXED = -1


class DocumentIds:
    """Gives every document an id: its own, prefixed by its source's name where two collide.

    Keeps a 16-byte hash a document, not the id.

    Args:
        names: The sources' names, in their order.
        before: How many sources there were when the ids to claim again were given.
    """

    def __init__(self, names: Sequence[str], before: int = 0) -> None:
        self.names = names
        self.several = max(len(names), before) > 1
        # The source whose own id it is, or PREFIXED.
        self._taken: dict[bytes, int] = {}
        self._renamed: set[bytes] = set()

    def claim(self, doc_id: str, source: int) -> str | None:
        """Return the id a document gets, or None if its own source has it already.

        >>> ids = DocumentIds(["docs", "wiki"])
        >>> ids.claim("a.md", 0), ids.claim("a.md", 1), ids.claim("a.md", 1)
        ('a.md', 'wiki/a.md', None)
        """
        own = self._taken.get(_key(doc_id))
        if own is None:
            self._taken[_key(doc_id)] = source
            return doc_id
        renamed = _key(f"{source}/{doc_id}")
        if own == source or renamed in self._renamed:
            return None
        self._renamed.add(renamed)
        candidates = (prefix + doc_id for prefix in self._prefixes(source))
        free = next(one for one in candidates if _key(one) not in self._taken)
        self._taken[_key(free)] = PREFIXED
        return free

    def claim_again(self, doc_ids: Iterable[str], source: int) -> bool:
        """Claim the ids that a file's documents have already; False, and none, if they collide.

        With several sources an id that may have been prefixed is made anew, since the document
        that it collided with may be gone.

        Args:
            doc_ids: Gone through twice, so that a large file's need not be held at once.
        """
        prefix = re.compile(rf"{re.escape(self.names[source])}(-\d+)?/")
        for doc_id in doc_ids:
            if (self.several and prefix.match(doc_id)) or _key(doc_id) in self._taken:
                return False
        self._taken.update((_key(doc_id), source) for doc_id in doc_ids)
        return True

    def _prefixes(self, source: int) -> Iterator[str]:
        name = self.names[source]
        yield f"{name}/"
        yield from (f"{name}-{number}/" for number in count(source + 1))


def _key(doc_id: str) -> bytes:
    import xxhash

    return xxhash.xxh3_128_digest(doc_id.encode("utf-8", "surrogatepass"))
