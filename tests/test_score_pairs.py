"""`ettin score --pairs` puts a score beside each pair and keeps the rest."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Ettin

PAIRS = [
    {"query": "when does the ferry sail", "document": "The ferry sails at nine.", "label": 1},
    {"query": "when does the ferry sail", "document": "Knead the dough.", "label": 0},
    {"query": "how to make bread", "document": "Knead the dough.", "label": 1},
]


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return path


def test_rows_keep_their_order_and_fields_and_get_the_score_of_their_text(
    ettin: Ettin, pairs: Path
) -> None:
    done = ettin("score", "--pairs", "pairs.jsonl", "-r", "embedded")
    assert done.code == 0
    rows = parsed(done.out)
    assert [{k: v for k, v in row.items() if k != "score"} for row in rows] == PAIRS
    for row in rows:
        alone = ettin("score", row["query"], row["document"], "-r", "embedded")
        assert float(alone.out) == pytest.approx(row["score"], abs=1e-4)
    assert rows[0]["score"] > rows[1]["score"]
    assert "3 pairs scored by embedded" in done.err


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_tables_of_pairs_are_scored_alike(ettin: Ettin, pairs: Path, suffix: str) -> None:
    table = pairs.with_suffix(f".{suffix}")
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(PAIRS), table)
    else:
        comma = "," if suffix == "csv" else "\t"
        rows = [list(PAIRS[0]), *([str(cell) for cell in row.values()] for row in PAIRS)]
        table.write_text("".join(comma.join(row) + "\n" for row in rows))
    words = ("score", "-r", "embedded", "--pairs")
    scores = [
        [row["score"] for row in parsed(ettin(*words, path.name).out)] for path in (pairs, table)
    ]
    assert scores[0] == scores[1]


def test_a_file_of_scores_is_whole_and_bad_rows_are_named(
    ettin: Ettin, pairs: Path, tmp_path: Path
) -> None:
    with pairs.open("a") as file:
        file.write('{"query": "q"}\nbroken\n')
    words = ("score", "--pairs", "pairs.jsonl", "-r", "embedded", "-o", "scored.jsonl")
    done = ettin(*words)
    assert done.code == 3
    assert len(parsed((tmp_path / "scored.jsonl").read_text())) == 3
    assert 'rejected pairs.jsonl:4: no "document" field\n' in done.err
    assert "rejected pairs.jsonl:5: broken JSON" in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--pairs", "none.jsonl"], 1, "there is no file none.jsonl"),
        (["--pairs", "pairs.txt"], 2, "no format that holds pairs"),
        (["a query", "--pairs", "pairs.jsonl"], 2, "there is no QUERY here"),
        (["a query"], 2, "no TEXT"),
        ([], 2, "no QUERY"),
        (["q", "t", "-o", "out.jsonl"], 2, "-o goes with --pairs"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    ettin: Ettin, pairs: Path, words: list[str], code: int, message: str
) -> None:
    pairs.with_suffix(".txt").write_text("x")
    done = ettin("score", "-r", "embedded", *words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
