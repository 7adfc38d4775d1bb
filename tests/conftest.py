"""What tests of commands share: `ettin` as a user types it, without a network."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from ettin_cli.cli import main
from ettin_cli.pipeline import building
from tests.indexes import Builder, word_model


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str


class Ettin:
    """Runs a command line through `main` and returns what came of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd

    def __call__(self, *words: str) -> Outcome:
        self.monkeypatch.setattr("sys.argv", ["ettin", *words])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self.capfd.readouterr()
        assert "Traceback" not in err
        return Outcome(end.value.code if isinstance(end.value.code, int) else 0, out, err)


@pytest.fixture
def ettin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Ettin:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return Ettin(monkeypatch, capfd)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "ferry.md").write_text("# Timetable\n\nBoats.\n\nThe ferry sails at nine o'clock.\n")
    (docs / "bread.txt").write_text("Knead the dough for ten minutes.\n")
    (docs / "fares.txt").write_text("A ferry ticket costs four coins.\n")
    return docs


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """Return a function that builds an index, or brings one up to date."""
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    builder = Builder(word_model(tmp_path / "words"))
    monkeypatch.setattr(building, "load_embedder", builder.load)
    return builder
