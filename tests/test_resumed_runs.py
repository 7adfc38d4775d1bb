"""Output files never overwrite an input, and a resumed run gives the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ettin

# Runs `ettin`, and sends it a signal once it has recorded this many windows.
STRUCK = """
import signal, sys
from ettin_cli.cli import main
from ettin_cli.commands import score_pairs
from ettin_cli.files.resuming import ResumableFile

number, noted = int(sys.argv.pop(1)), int(sys.argv.pop(1))
score_pairs.WINDOW = 5
note, calls = ResumableFile._note, iter(range(1, 1000))

def struck(self):
    note(self)
    if next(calls) == noted:
        signal.raise_signal(number)

ResumableFile._note = struck
main()
"""
KILLED, TERMINATED = 9, 15
CODES = {KILLED: -9, TERMINATED: 143}


def struck(folder: Path, signal: int, noted: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STRUCK, str(signal), str(noted), *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def pairs(ettin: Ettin, tmp_path: Path) -> Path:
    ettin.monkeypatch.setattr("ettin_cli.commands.score_pairs.WINDOW", 5)
    rows: list[dict[str, Any]] = [
        {"query": f"thing {n}", "document": f"Boats and {n % 7} things.", "n": n} for n in range(17)
    ]
    rows[3] = {"query": "no document"}
    rows[8] = {"query": "q", "positive": "A boat.", "negatives": ["Bread.", "Dogs.", "Sea."]}
    rows[14] = {"query": "no document either"}
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.models import ettin as write_model

    folder = tmp_path_factory.mktemp("several") / "model"
    folder.mkdir()
    return str(write_model(folder, hidden=32, layers=2, heads=2))


@pytest.mark.parametrize(
    ("signal", "noted", "average"),
    [(KILLED, 1, False), (TERMINATED, 3, False), (KILLED, 5, False), (KILLED, 2, True)],
)
def test_scoring_pairs_resumes_to_the_same_bytes(
    ettin: Ettin, pairs: Path, tmp_path: Path, model: str, signal: int, noted: int, average: bool
) -> None:
    words = ["score", "--pairs", pairs.name, "-r", "embedded", "--device", "cpu"]
    words += ["-r", model, "--average"] if average else []
    whole = ettin(*words, "-o", "whole.jsonl")
    assert whole.code == 3
    ended = struck(tmp_path, signal, noted, *words, "-o", "out.jsonl")
    assert ended.returncode == CODES[signal], ended.stderr
    # After the fifth record only the renaming is left.
    assert not (tmp_path / "out.jsonl").exists()
    left = {path.name for path in tmp_path.glob("out*")} - {"out.jsonl.partial.lock"}
    suffixes = ("partial", "partial.json", "rejects.jsonl.partial")
    assert left == {f"out.jsonl.{suffix}" for suffix in suffixes}
    assert not list(tmp_path.glob(".out*"))
    assert ettin(*words, "-o", "out.jsonl").code == 1
    done = ettin(*words, "-o", "out.jsonl", "--resume")
    assert done.code == 3
    # With five items per window, one of the first and one of the last are rejected.
    assert f"resuming after {({1: 4, 2: 9, 3: 14, 5: 18})[noted]} pairs" in done.err
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    rejects = [(tmp_path / f"{name}.jsonl.rejects.jsonl").read_text() for name in ("out", "whole")]
    assert rejects[0] == rejects[1]
    assert [json.loads(row)["line"] for row in rejects[0].splitlines()] == [4, 15]
    names = {path.name for path in tmp_path.glob("out*")}
    assert names == {"out.jsonl", "out.jsonl.rejects.jsonl"}


def test_scores_in_a_file_are_those_of_the_pairs(ettin: Ettin, pairs: Path, tmp_path: Path) -> None:
    words = ("score", "--pairs", pairs.name, "-r", "embedded")
    shown = ettin(*words).out
    assert ettin(*words, "-o", "out.jsonl").code == 3
    assert (tmp_path / "out.jsonl").read_text() == shown
    assert [json.loads(row).get("n") for row in shown.splitlines()] == [
        *(0, 1, 2, 4, 5, 6, 7, None, None, None, None),
        *(9, 10, 11, 12, 13, 15, 16),
    ]


@pytest.mark.parametrize("name", ["out.jsonl.rejects.jsonl", "out.jsonl.partial"])
def test_the_files_beside_an_output_take_no_inputs_place(
    ettin: Ettin, pairs: Path, tmp_path: Path, name: str
) -> None:
    original = pairs.read_bytes()
    pairs.rename(tmp_path / name)
    (tmp_path / "in.jsonl").symlink_to(name)
    for words in (("rerank", "in.jsonl"), ("score", "--pairs", "in.jsonl")):
        done = ettin(*words, "-r", "embedded", "-o", "out.jsonl", "--resume")
        assert done.code == 2
        assert f"{name} is the same file as the input in.jsonl" in done.err
    assert (tmp_path / name).read_bytes() == original


def test_rejected_rows_fill_a_window_like_others(ettin: Ettin, tmp_path: Path) -> None:
    rows = [{"query": "no document"}] * 12 + [{"query": "q", "document": "d"}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["score", "--pairs", "pairs.jsonl", "-r", "embedded", "-o", "out.jsonl"]
    ended = struck(tmp_path, KILLED, 2, *words)
    assert ended.returncode == CODES[KILLED], ended.stderr
    mark = json.loads((tmp_path / "out.jsonl.partial.json").read_text())
    assert (mark["items"], mark["rejects"], mark["answers"]) == (10, 10, 0)


def test_another_input_or_reranker_does_not_go_on(
    ettin: Ettin, pairs: Path, tmp_path: Path, model: str
) -> None:
    words = ["score", "--pairs", pairs.name, "-r", "embedded", "-o", "out.jsonl"]
    assert struck(tmp_path, KILLED, 2, *words).returncode == -9
    other = ettin(*words, "-r", model, "--resume")
    assert (other.code, "a different input, model or options" in other.err) == (1, True)
    original = pairs.read_text()
    pairs.write_text(original.replace("Boats and 1 things", "Boats and 8 things"))
    other = ettin(*words, "--resume")
    assert (other.code, "a different input" in other.err) == (1, True)
    pairs.write_text(original)
    assert ettin(*words, "--resume").code == 3


@pytest.fixture
def asked(docs: Path, tmp_path: Path) -> Path:
    path = tmp_path / "queries.tsv"
    path.write_text("".join(f"q{n}\tferry {n} and bread {n % 5}\n" for n in range(150)))
    return path


def untimed(content: bytes) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in content.splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.parametrize(
    ("suffix", "signal", "noted"),
    [("trec", TERMINATED, 2), ("parquet", KILLED, 4)],
)
def test_searching_resumes_to_the_same_bytes(
    ettin: Ettin, docs: Path, asked: Path, tmp_path: Path, suffix: str, signal: int, noted: int
) -> None:
    words = ["search", "--queries", asked.name, "docs", "-r", "embedded", "--threads", "1"]
    assert ettin(*words, "-o", f"whole.{suffix}").code == 0
    ended = struck(tmp_path, signal, noted, *words, "-o", f"out.{suffix}")
    assert ended.returncode == CODES[signal], ended.stderr
    assert ("run the same command with --resume" in ended.stderr) == (signal == TERMINATED)
    assert not (tmp_path / f"out.{suffix}").exists()
    again = ettin(*words, "-o", f"out.{suffix}")
    assert (again.code, "left over from an unfinished run" in again.err) == (1, True)
    done = ettin(*words, "-o", f"out.{suffix}", "--resume")
    assert done.code == 0
    assert f"resuming after {min(64 * noted, 150)} queries" in done.err
    out, whole = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("out", "whole"))
    if suffix == "jsonl":
        # Times differ between runs.
        assert untimed(out) == untimed(whole)
        assert len(untimed(out)) == 150
    else:
        assert out == whole
    assert [path.name for path in tmp_path.glob("out*")] == [f"out.{suffix}"]
    assert not list(tmp_path.glob(".*tmp"))


def test_other_queries_or_another_index_do_not_go_on(
    ettin: Ettin, docs: Path, asked: Path, tmp_path: Path
) -> None:
    words = ["search", "--queries", asked.name, "docs", "-r", "none", "-o", "out.trec"]
    assert struck(tmp_path, KILLED, 1, *words).returncode == -9
    original = asked.read_text()
    asked.write_text(original.replace("ferry 3 ", "boat 3 "))
    other = ettin(*words, "--resume")
    assert (other.code, "a different input" in other.err) == (1, True)
    asked.write_text(original)
    (docs / "more.txt").write_text("Another ferry.\n")
    other = ettin(*words, "--resume")
    assert (other.code, "a different input, model or options" in other.err) == (1, True)


def test_a_run_that_fails_at_once_leaves_nothing(ettin: Ettin, docs: Path, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("q1\tferry\nq1\tbread\n")
    done = ettin("search", "--queries", "q.tsv", "docs", "-r", "none", "-o", "out.trec")
    assert (done.code, "duplicate query id" in done.err) == (1, True)
    (tmp_path / "in.jsonl").write_text('{"query": "q", "documents": ["a"]}\n')

    def full(*_: object) -> None:
        raise KeyboardInterrupt

    with ettin.monkeypatch.context() as patch:
        patch.setattr("ettin_cli.searching.session_models.load_single", full)
        assert ettin("rerank", "in.jsonl", "-r", "embedded", "-o", "out.jsonl").code == 130
    assert not list(tmp_path.glob("out*"))
    assert ettin("rerank", "in.jsonl", "-r", "embedded", "-o", "out.jsonl").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--queries", "queries.tsv", "--resume"), "--resume needs an output file"),
        (("ferry", "-o", "out.jsonl", "--resume"), "--resume needs --queries"),
        (
            ("--queries", "queries.tsv", "-o", "o.trec", "--resume", "-e"),
            "-e cannot be combined with --resume",
        ),
    ],
)
def test_what_cannot_go_on_is_one_line(
    ettin: Ettin, docs: Path, asked: Path, words: tuple[str, ...], said: str
) -> None:
    done = ettin("search", *words, "docs", "-r", "none")
    assert (done.code, done.out) == (2, "")
    assert said in done.err


# An output in place of an input


@pytest.mark.parametrize("way", ["itself", "./", "symlink", "hard link", "linked folder"])
def test_no_command_replaces_its_input(ettin: Ettin, docs: Path, tmp_path: Path, way: str) -> None:
    row = {"query": "ferry", "documents": ["a", "b"]}
    contents = {
        "in.jsonl": json.dumps(row) + "\n",
        "pairs.jsonl": json.dumps({"query": "q", "text": "t"}) + "\n",
        "mine.jsonl": json.dumps({"query": "q", "positive": "t"}) + "\n",
        "q.jsonl": json.dumps({"_id": "1", "text": "ferry"}) + "\n",
        "run.trec": "1 Q0 ferry.md 1 1 x\n",
        "corpus.jsonl": json.dumps({"_id": "ferry.md", "text": "It sails."}) + "\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)

    def target(name: str) -> str:
        other = tmp_path / f"other-{name}"
        other.unlink(missing_ok=True)
        if way == "symlink":
            other.symlink_to(name)
        elif way == "hard link":
            other.hardlink_to(tmp_path / name)
        elif way == "linked folder":
            (tmp_path / "there").unlink(missing_ok=True)
            (tmp_path / "there").symlink_to(tmp_path)
            return f"there/{name}"
        return {"itself": name, "./": f"./docs/../{name}"}.get(way, other.name)

    run = ("rerank", "run.trec", "--queries", "q.jsonl", "--corpus", "corpus.jsonl")
    for name, words in (
        ("in.jsonl", ("rerank", "in.jsonl")),
        ("in.jsonl", ("rerank", "in.jsonl", "--resume")),
        ("run.trec", run),
        ("q.jsonl", run),
        ("corpus.jsonl", run),
        ("pairs.jsonl", ("score", "--pairs", "pairs.jsonl")),
        ("q.jsonl", ("search", "--queries", "q.jsonl", "docs")),
        ("corpus.jsonl", ("search", "ferry", "corpus.jsonl")),
        ("mine.jsonl", ("mine", "-i", "none", "--queries", "mine.jsonl")),
        ("in.jsonl", ("bench", "--pairs", "in.jsonl")),
    ):
        reranker = () if words[0] == "mine" else ("-r", "embedded")
        done = ettin(*words, *reranker, "-o", target(name))
        assert (done.code, done.out) == (2, ""), words
        assert f"is the same file as the input {name}" in done.err
    assert {name: (tmp_path / name).read_text() for name in contents} == contents
    assert not [*tmp_path.glob("*.partial*"), *tmp_path.glob(".*")]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("redirected", ["< in.jsonl -o in.jsonl", "in.jsonl >> in.jsonl"])
def test_a_redirection_does_not_hide_it(ettin: Ettin, tmp_path: Path, redirected: str) -> None:
    content = json.dumps({"query": "ferry", "documents": ["a", "b"]}) + "\n"
    (tmp_path / "in.jsonl").write_text(content)
    given = "- " if redirected.startswith("<") else ""
    script = f"{sys.executable} -m ettin_cli rerank -r embedded {given}{redirected}"
    root = str(Path(__file__).parents[1])
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 2
    assert "is the same file as the input" in ran.stderr
    assert (tmp_path / "in.jsonl").read_text() == content
