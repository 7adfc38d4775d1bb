"""Rows stored on disk until they are needed; memory holds only their offsets."""

from __future__ import annotations

import tempfile
from typing import Any, BinaryIO, Self, cast


class Spool:
    """JSON values in an anonymous temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, value: Any) -> int:
        """Store a value and return its offset."""
        import orjson

        place = self._file.seek(0, 2)
        self._file.write(orjson.dumps(value) + b"\n")
        return place

    def whole(self) -> BinaryIO:
        """Return the file at its beginning: the values as JSON lines."""
        self._file.seek(0)
        return cast(BinaryIO, self._file)

    def get(self, place: int) -> Any:
        """Return the value at an offset."""
        import orjson

        self._file.seek(place)
        return orjson.loads(self._file.readline())
