"""Every command that reads a file also reads "-" as stdin, with the same result."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Ettin, Outcome

DOCUMENTS = {"d1": "the ferry sails at nine", "d2": "knead the dough", "d3": "a ferry ticket"}
FILES = {
    "corpus.jsonl": "".join(
        json.dumps({"_id": name, "text": text}) + "\n" for name, text in DOCUMENTS.items()
    ),
    "queries.tsv": "q1\twhen does the ferry sail\nq2\thow to make dough\n",
    "qrels.txt": "q1 0 d1 1\nq2 0 d2 1\n",
    "run.trec": "q1 Q0 d3 1 2.5 x\nq1 Q0 d1 2 1.5 x\nq2 Q0 d2 1 1.0 x\n",
    "pairs.jsonl": '{"query": "ferry", "document": "the ferry sails"}\n{"document": "x"}\n',
    "mine.jsonl": '{"query": "ferry", "positive": "the ferry sails at nine"}\n',
}
RUN = "eval --run run.trec --qrels qrels.txt -f json"
RERANK = "rerank run.trec -r embedded -f trec --queries queries.tsv --corpus corpus.jsonl"


@pytest.fixture
def files(ettin: Ettin, tmp_path: Path) -> Iterator[Ettin]:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    assert ettin("index", "corpus.jsonl", "-i", "i", "--embedder", "embedded").code == 0
    yield ettin


def fed(ettin: Ettin, content: str, *words: str) -> Outcome:
    """Run a command with this standard input."""
    with io.TextIOWrapper(io.BytesIO(content.encode())) as stdin:
        ettin.monkeypatch.setattr("sys.stdin", stdin)
        return ettin(*words)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (RUN, "run.trec"),
        (RUN, "qrels.txt"),
        (f"{RUN} --queries queries.tsv", "queries.tsv"),
        (RERANK, "queries.tsv"),
        (RERANK, "corpus.jsonl"),
        ("rerank pairs.jsonl -r embedded -f trec", "pairs.jsonl"),
        ("score -r embedded --pairs pairs.jsonl", "pairs.jsonl"),
        ("search --queries queries.tsv -r none -i i -f trec", "queries.tsv"),
        ("search ferry corpus.jsonl -r none -f trec", "corpus.jsonl"),
        ("mine -i i --queries mine.jsonl", "mine.jsonl"),
        ("mine -i i --queries queries.tsv --qrels qrels.txt", "queries.tsv"),
        ("mine -i i --queries queries.tsv --qrels qrels.txt", "qrels.txt"),
    ],
)
def test_a_dash_is_stdin(files: Ettin, command: str, name: str) -> None:
    words = command.split()
    expected = files(*words)
    assert expected.out, expected.err
    found = fed(files, FILES[name], *("-" if word == name else word for word in words))
    # An output may contain the name of the input file.
    assert found.out.replace('"-"', f'"{name}"') == expected.out
    assert found.code == expected.code


def test_a_process_without_stdin_says_so(files: Ettin) -> None:
    files.monkeypatch.setattr("sys.stdin", None)
    for words in (["index", "-"], ["score", "-r", "embedded", "--pairs", "-"], ["score", "q", "-"]):
        done = files(*words)
        assert (done.code, done.err) == (2, "ettin: error: stdin is not available\n")


def test_a_rejection_of_an_earlier_run_names_the_option_too(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"_id": "a", "contents_": "x"}\n')
    first = ettin("index", "rows.jsonl", "-i", "i", "--embedder", "embedded")
    again = ettin("index", "-i", "i")
    line = (
        f'rejected {tmp_path / "rows.jsonl"}:1: no "text" field; the fields are "_id", "contents_"'
        "; set it with --text-field"
    )
    assert line in first.err.replace("ettin: ", "").splitlines()
    assert line in again.err.replace("ettin: ", "").splitlines()
