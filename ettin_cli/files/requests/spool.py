"""Rows kept on disk until their turn comes; memory holds where they are, and nothing more."""

from __future__ import annotations

import tempfile
from typing import Any, Self


class Spool:
    """JSON values in a temporary file that no other process can open and that cleans up itself."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, value: Any) -> int:
        """Keep a value, and return where it is kept."""
        import orjson

        place = self._file.seek(0, 2)
        self._file.write(orjson.dumps(value) + b"\n")
        return place

    def get(self, place: int) -> Any:
        """Return the value kept at a place."""
        import orjson

        self._file.seek(place)
        return orjson.loads(self._file.readline())
