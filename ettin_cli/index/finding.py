"""The index that is meant where none is named."""

from __future__ import annotations

import os
from pathlib import Path

from ettin_cli.errors import IndexNotFoundError
from ettin_cli.index.manifest import MANIFEST
from ettin_cli.settings import DEFAULT_INDEX


def find_index(index: str | os.PathLike[str] | None) -> Path:
    """Return the folder of an index: named, else ETTIN_INDEX, else `.ettin` here or above.

    A folder above is found as git finds `.git`.

    Raises:
        IndexNotFoundError: There is none.
    """
    if named := index or os.environ.get("ETTIN_INDEX"):
        return Path(named)
    here = Path.cwd()
    for depth, folder in enumerate((here, *here.parents)):
        if (folder / DEFAULT_INDEX / MANIFEST).is_file():
            return Path(*[".."] * depth, DEFAULT_INDEX)
    raise IndexNotFoundError(
        f"no {DEFAULT_INDEX} here or in a folder above", folder=Path(DEFAULT_INDEX)
    )
