"""A system that, like Windows, does not remove, rename or replace a file that is in use."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

MAPS, OPEN = Path("/proc/self/maps"), Path("/proc/self/fd")


def is_held(path: Path) -> bool:
    """Return whether this process has a file open, or mapped into memory; needs Linux's /proc."""
    if path.is_dir():
        return False
    if any(line.endswith(f" {path}") for line in MAPS.read_text(encoding="utf-8").splitlines()):
        return True
    links = []
    for one in OPEN.iterdir():
        try:
            links.append(one.readlink())
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return path in links


@contextmanager
def refused() -> Iterator[list[str]]:
    """Refuse what Windows would refuse in the block; yield the names of the files."""
    names: list[str] = []

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *more: Any, dir_fd: int | None = None, **options: Any) -> Any:
            folder = Path.cwd() if dir_fd is None else (OPEN / str(dir_fd)).readlink()
            for one in (path, *more):
                place = folder / os.fsdecode(one)
                if is_held(place.parent.resolve() / place.name):
                    names.append(str(place))
                    raise PermissionError(13, "The file is in use", str(place))
            return real(path, *more, **({} if dir_fd is None else {"dir_fd": dir_fd}), **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("unlink", "remove", "rename", "replace"):
            patch.setattr(os, name, refusing(getattr(os, name)))
        # Of functions that take descriptors of folders.
        patch.setattr(os, "supports_dir_fd", {*os.supports_dir_fd, os.unlink})
        yield names
