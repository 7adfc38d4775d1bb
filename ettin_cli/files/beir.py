"""The files of a BEIR folder: corpus.jsonl, queries and relevance judgements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ettin_cli.corpus import COMPRESSED
from ettin_cli.errors import CorpusError
from ettin_cli.platforms import is_file, is_folder

QUERIES = ("queries.jsonl", "queries.tsv")
QRELS = ("qrels.tsv", "qrels/test.tsv")


def beir_file(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of some files that a BEIR folder has, compressed or not.

    Args:
        names: QUERIES or QRELS.

    Raises:
        CorpusError: The folder does not exist, or has none of the files.
    """
    if not is_folder(folder):
        raise CorpusError(f"no such folder: {folder}", code="cannot-read", folder=folder)
    for name in names:
        for packed in ("", *COMPRESSED):
            if is_file(folder / f"{name}{packed}"):
                return folder / f"{name}{packed}"
    raise CorpusError(f"{folder} has no {names[0]}", code="not-a-collection", folder=folder)
