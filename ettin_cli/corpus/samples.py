"""The sample corpora that ship with the package."""

from __future__ import annotations

import os
import shutil
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from ettin_cli.errors import CorpusError, OutputError
from ettin_cli.storage import replacing

ISLAND_STATION, EVERYDAY_ANSWERS = "island_station", "everyday_answers"


def sample_corpus(name: str) -> Path:
    """Return the folder of a sample corpus: in the package, or beside it in a checkout.

    Raises:
        CorpusError: This installation lacks it.
    """
    package = Path(str(files("ettin_cli")))
    for folder in (package / "sample_corpora", package.parent / "sample_corpora"):
        if (folder / name).is_dir():
            return folder / name
    raise CorpusError(
        f"{package} has no sample corpora", code="damaged-package", package="ettin-cli"
    )


class CopiedSamples(NamedTuple):
    """What copying the sample corpora did.

    Args:
        copied: Number of files written.
        present: Number of files that had been there with the same content.
        kept: Files that had been there with other content, which they still have.
    """

    copied: int
    present: int
    kept: list[Path]


def copy_samples(folder: Path) -> CopiedSamples:
    """Copy the sample corpora into a folder, which is made if needed; nothing is overwritten.

    Raises:
        CorpusError: This installation lacks them.
        OutputError: A file cannot be written.
    """
    copied, present, kept = 0, 0, list[Path]()
    for name in (ISLAND_STATION, EVERYDAY_ANSWERS):
        source = sample_corpus(name)
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            # pip compiles the corpora's Python files too.
            if file.parent.name == "__pycache__":
                continue
            target = folder / name / file.relative_to(source)
            try:
                if _copy(file, target):
                    copied += 1
                elif target.read_bytes() == file.read_bytes():
                    present += 1
                else:
                    kept.append(target)
            except OSError as error:
                raise OutputError(
                    f"cannot write {target}: {error.strerror}", path=target
                ) from error
    return CopiedSamples(copied, present, kept)


def _copy(source: Path, target: Path) -> bool:
    """Copy a file unless there is one, and return whether it was copied."""
    if os.path.lexists(target):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as draft:
        shutil.copyfile(source, draft)
    return True
