"""The sample corpora that ship with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ettin_cli.errors import CorpusError

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
