"""The default index."""

from __future__ import annotations

import os
from pathlib import Path

from ettin_cli.errors import IndexNotFoundError
from ettin_cli.index.manifest import MANIFEST
from ettin_cli.platforms import is_file
from ettin_cli.settings import DEFAULT_INDEX


def find_index(index: str | os.PathLike[str] | None) -> Path:
    """Return the folder of an index: `index`, else ETTIN_INDEX, else `.ettin` here or above.

    Parent folders are searched as git does for `.git`.

    Raises:
        IndexNotFoundError: No such folder was found.
        OSError: It cannot be looked into.
    """
    if named := index or os.environ.get("ETTIN_INDEX"):
        return Path(named)
    here = Path.cwd()
    for depth, folder in enumerate((here, *here.parents)):
        if is_file(folder / DEFAULT_INDEX / MANIFEST):
            return Path(*[".."] * depth, DEFAULT_INDEX)
    raise IndexNotFoundError(
        f"no {DEFAULT_INDEX} in this folder or its parents", folder=Path(DEFAULT_INDEX)
    )


def index_name(folder: Path) -> str:
    """Return what an index is called: as its folder, or of `.ettin`, as the folder around it.

    >>> index_name(Path("/home/notes/.ettin")), index_name(Path("/home/minutes-index"))
    ('notes', 'minutes-index')
    """
    place = folder.resolve()
    return place.parent.name if place.name == DEFAULT_INDEX else place.name
