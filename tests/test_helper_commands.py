"""`ettin models`, `ettin cache`, `ettin demo`, `--open` and completion on the command line."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ettin_cli.corpus import EVERYDAY_ANSWERS, ISLAND_STATION, sample_corpus, samples
from ettin_cli.settings import ETTIN_MODELS
from tests.conftest import Ettin

FERRY = "When does the ferry sail?"


def test_models_lists_every_ettin_and_says_what_is_here(ettin: Ettin) -> None:
    ran = ettin("models")
    assert ran.code == 0
    for model in ETTIN_MODELS.values():
        line = next(line for line in ran.out.splitlines() if line.startswith(f"{model.alias} "))
        assert f"{model.ndcg10:.4f}" in line
        assert " no " in line
    embedded = next(line for line in ran.out.splitlines() if line.startswith("embedded"))
    assert " built-in " in embedded
    assert embedded.endswith("yes")


def test_models_show_tells_the_pinned_revision(ettin: Ettin) -> None:
    ran = ettin("models", "show", "32m")
    assert ETTIN_MODELS["32m"].revision in ran.out
    assert "32,031,745" in ran.out
    assert "ettin models pull 32m" in ran.out


def test_the_stand_in_says_plainly_what_it_is(ettin: Ettin) -> None:
    ran = ettin("models", "show", "embedded")
    assert "`embedded` is not an Ettin model" in ran.out
    assert "idf(t) * max_j cos(q_t, d_j)" in ran.out


@pytest.mark.parametrize("name", ["somebody/else", "/a/folder"])
def test_a_model_that_nobody_knows_is_said(ettin: Ettin, name: str) -> None:
    ran = ettin("models", "show", name)
    assert ran.code == 1
    assert f"unknown model {name!r}" in ran.err


def test_pull_names_every_model_that_it_could_not_fetch(ettin: Ettin) -> None:
    ran = ettin("models", "pull", "embedded", "17m", "32m")
    assert ran.code == 1
    assert ran.out.startswith("embedded  ")
    assert "ettin-reranker-17m-v1 is not on this machine" in ran.err
    assert "ettin-reranker-32m-v1 is not on this machine" in ran.err


def test_cache_lists_and_clears_the_indexes_of_searched_folders(ettin: Ettin, docs: Path) -> None:
    ettin("search", FERRY, str(docs), "-r", "none")
    (entry,) = (line.split()[0] for line in ettin("cache").out.splitlines()[1:])
    assert entry.startswith("indexes/docs-")
    assert "0 entries removed" in ettin("cache", "clear", entry, "--older-than", "1").err
    assert ettin("cache", "clear", entry).code == 0
    assert ettin("cache").out == ""
    again = ettin("search", FERRY, str(docs), "-r", "none")
    assert "3 passages embedded" in again.err


def test_an_unknown_cache_entry_is_refused_and_nothing_is_cleared(
    ettin: Ettin, docs: Path, tmp_path: Path
) -> None:
    ettin("search", FERRY, str(docs), "-r", "none")
    ran = ettin("cache", "clear", "indexes/other")
    assert ran.code == 2
    assert list((tmp_path / "cache" / "indexes").iterdir())


def test_the_demo_runs_twice_and_prints_commands_that_give_what_it_shows(
    ettin: Ettin, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A part of the corpus; a block of README.md indexes and searches all of it.
    def part(name: str) -> Path:
        assert name == ISLAND_STATION
        return sample_corpus(name) / "visiting"

    monkeypatch.setattr("ettin_cli.commands.demo.sample_corpus", part)
    first, ran = ettin("demo"), ettin("demo")
    assert (first.code, ran.code) == (0, 0)
    assert ran.out.replace(" --rebuild", "") == first.out
    commands = [line for line in ran.out.splitlines() if line.startswith("$ ettin ")]
    assert len(commands) == 4
    words = shlex.split(commands[2])[2:]
    alone = ettin(*words, "-f", "table").out.strip()
    assert alone
    assert alone in ran.out


def test_the_sample_corpora_are_copied_and_nothing_is_overwritten(
    ettin: Ettin, tmp_path: Path
) -> None:
    first = ettin("demo", "--copy", "samples")
    station = sample_corpus(ISLAND_STATION)
    files = [path.relative_to(station) for path in station.rglob("*") if path.is_file()]
    copies = {file: (tmp_path / "samples" / ISLAND_STATION / file).read_bytes() for file in files}
    assert all((station / file).read_bytes() == copy for file, copy in copies.items())
    total = len(files) + 3
    assert (first.code, first.err) == (0, f"ettin: samples: {total} files copied\n")
    changed, gone = (Path("samples", ISLAND_STATION, file) for file in sorted(files)[:2])
    changed.write_text("mine")
    gone.unlink()
    again = ettin("demo", "--copy", "samples")
    assert again.code == 0
    assert again.err.splitlines() == [
        f"ettin: samples: 1 file copied, {total - 2} already there",
        f"ettin: {changed} is kept, since it has other content than the sample",
    ]
    assert changed.read_text() == "mine"


def test_what_pip_compiled_is_not_copied(
    ettin: Ettin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpora = tmp_path / "package"
    for name in (ISLAND_STATION, EVERYDAY_ANSWERS):
        (corpora / name / "__pycache__").mkdir(parents=True)
        (corpora / name / "__pycache__" / "tides.cpython-311.pyc").write_bytes(b"")
        (corpora / name / "tides.py").write_text("tide = 1\n")
    monkeypatch.setattr(samples, "sample_corpus", corpora.joinpath)
    assert ettin("demo", "--copy", "mine").err == "ettin: mine: 2 files copied\n"
    assert {path.suffix for path in Path("mine").rglob("*") if path.is_file()} == {".py"}


def test_an_interrupted_copy_leaves_no_part_of_a_file(
    ettin: Ettin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Path, draft: Path) -> None:
        draft.write_bytes(b"# Fer")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    assert ettin("demo", "--copy", "samples").code == 130
    assert not [path for path in (tmp_path / "samples").rglob("*") if path.is_file()]


def test_sample_corpora_are_not_copied_into_a_file(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    ran = ettin("demo", "--copy", "taken")
    assert ran.code == 1
    assert ran.err.startswith("ettin: error: cannot write taken/")
    assert (tmp_path / "taken").read_text() == "mine"


def test_open_starts_the_editor_at_the_first_hit(
    ettin: Ettin, docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor.py"
    editor.write_text("import pathlib, sys\npathlib.Path('opened').write_text(' '.join(sys.argv))")
    monkeypatch.setenv("VISUAL", f"{sys.executable} {editor}")
    assert ettin("search", "dough", str(docs), "-r", "none", "--open").code == 0
    assert (tmp_path / "opened").read_text().endswith("+1 docs/bread.txt")


def test_completion_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import os, sys; sys.argv = ['ettin']\n"
        "os.environ.update(COMP_WORDS='ettin sea', COMP_CWORD='1')\n"
        "os.environ['_ETTIN_COMPLETE'] = 'complete_bash'\n"
        "from ettin_cli.cli import app\n"
        "try: app(prog_name='ettin')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'faiss', 'pyarrow', 'transformers'} & set(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["search"]
