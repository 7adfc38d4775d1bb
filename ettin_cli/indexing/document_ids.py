"""Document ids that are unique across the sources of an index."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

PREFIXED = -1


class DocumentIds:
    """Assigns document ids: the document's own, prefixed by its source's name on collision.

    Keeps a 16-byte hash per document, not the id.

    Args:
        names: The sources' names, in order.
        before: The number of sources when the existing ids were assigned.
    """

    def __init__(self, names: Sequence[str], before: int = 0) -> None:
        self.names = names
        self.several = max(len(names), before) > 1
        # Hash of an id -> the source whose own id it is, or PREFIXED.
        self._taken: dict[bytes, int] = {}
        self._renamed: set[bytes] = set()

    def claim(self, doc_id: str, source: int) -> str | None:
        """Return the id of a document, or None if its source already has one with this id.

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
        """Claim the existing ids of a file's documents; return False and claim none on collision.

        With several sources, ids that may have been prefixed are assigned anew, since the document
        they collided with may be gone.

        Args:
            doc_ids: Iterated twice, so that a large file's ids need not be held in memory.
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
