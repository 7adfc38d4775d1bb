"""Doctests run in a folder of their own, without a network, with what their examples name."""

import shutil
from pathlib import Path

import pytest

import ettin_cli

DOCS = Path(__file__).parents[1] / "sample_corpora" / "island_station" / "visiting"


@pytest.fixture(autouse=True)
def _example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `docs`, a folder of documents, where a doctest runs, and name the package `ettin`."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    folder: Path = request.getfixturevalue("tmp_path")
    shutil.copytree(DOCS, folder / "docs")
    request.getfixturevalue("doctest_namespace")["ettin"] = ettin_cli
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("ETTIN_OFFLINE", "1")
    monkeypatch.setenv("ETTIN_DEVICE", "cpu")
