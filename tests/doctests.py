"""Doctests run in a folder of their own, without a network, with what their examples name."""

import shutil
from pathlib import Path

import pytest

import ettin_cli
from ettin_cli.benchmark import peaks

DOCS = Path(__file__).parents[1] / "sample_corpora" / "island_station" / "visiting"


@pytest.fixture(scope="session")
def _example_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(autouse=True)
def _example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `docs`, a folder of documents, where a doctest runs, and name the package `ettin`."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    folder: Path = request.getfixturevalue("tmp_path")
    shutil.copytree(DOCS, folder / "docs")
    request.getfixturevalue("doctest_namespace")["ettin"] = ettin_cli
    # Smaller matrix products, as their speed does not matter here.
    monkeypatch.setattr(peaks, "CPU_SIZE", 128)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(request.getfixturevalue("_example_cache")))
    monkeypatch.setenv("ETTIN_OFFLINE", "1")
    monkeypatch.setenv("ETTIN_DEVICE", "cpu")
