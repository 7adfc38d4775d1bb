"""Records that a driver writes to a file, of which workers read ranges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ettin_cli.errors import EttinError


@dataclass(frozen=True, slots=True)
class Records:
    """A range of the lines of a file, each a record in JSON.

    Args:
        begin: The offset of its first byte.
        end: The offset after its last byte.
        first: Number of records before it.
        rows: Its number of records.
        content: A hash of its bytes.
    """

    begin: int
    end: int
    first: int
    rows: int
    content: str

    @property
    def identity(self) -> str:
        """What determines its records."""
        return repr(astuple(self))

    def read(self, path: Path) -> list[Any]:
        """Return the records.

        Raises:
            EttinError: The file is not there, or does not have them.
        """
        import orjson
        import xxhash

        try:
            with path.open("rb") as file:
                file.seek(self.begin)
                held = file.read(self.end - self.begin)
        except OSError as error:
            problem = f"cannot read {path}: {error.strerror}"
            raise EttinError(problem, code="not-shared", path=path) from error
        if xxhash.xxh3_128_hexdigest(held) != self.content:
            raise EttinError(f"{path} is damaged", code="resume-damaged", partial=path.parent)
        return [orjson.loads(line) for line in held.splitlines()]


def ranges_of(lines: Iterable[bytes], rows: int) -> Iterator[Records]:
    """Yield ranges of a number of lines; the last one may have fewer."""
    import xxhash

    waiting = iter(lines)
    begin = first = 0
    while some := list(islice(waiting, rows)):
        held = b"".join(some)
        end = begin + len(held)
        yield Records(begin, end, first, len(some), xxhash.xxh3_128_hexdigest(held))
        begin, first = end, first + len(some)
