"""`ettin score --pairs` puts a score beside each pair and keeps the rest."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ettin_cli.searching.ranking import standardised
from tests.conftest import Ettin
from tests.models import ettin as write_model

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
    assert 'rejected pairs.jsonl:4: no "document" field; the fields are "query"\n' in done.err
    assert "rejected pairs.jsonl:5: broken JSON" in done.err


# Several rerankers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("several") / "model"
    folder.mkdir()
    return str(write_model(folder, hidden=32, layers=2, heads=2))


def test_several_rerankers_write_their_scores_by_name(
    ettin: Ettin, pairs: Path, model: str
) -> None:
    words = ("score", "--pairs", "pairs.jsonl", "--device", "cpu")
    alone = [parsed(ettin(*words, "-r", name).out) for name in ("embedded", model)]
    done = ettin(*words, "-r", "embedded", "-r", model)
    assert done.code == 0
    assert parsed(done.out) == [
        {**row, "scores": {"embedded": one["score"], model: other["score"]}}
        for row, one, other in zip(PAIRS, *alone, strict=True)
    ]
    assert f"3 pairs scored by embedded and {model}\n" in done.err


def test_the_average_is_of_scores_standardised_over_the_whole_file(
    ettin: Ettin, pairs: Path, model: str
) -> None:
    ettin.monkeypatch.setattr("ettin_cli.commands.score_pairs.WINDOW", 2)
    words = ("score", "--pairs", "pairs.jsonl", "--device", "cpu", "-r", "embedded", "-r", model)
    done = ettin(*words, "--average")
    rows = parsed(done.out)
    assert [{k: v for k, v in row.items() if "score" not in k} for row in rows] == PAIRS
    one, other = (standardised([r["scores"][name] for r in rows]) for name in ("embedded", model))
    expected = [(a + b) / 2 for a, b in zip(one, other, strict=True)]
    assert [row["score"] for row in rows] == pytest.approx(expected, abs=1e-9)
    assert sum(expected) == pytest.approx(0, abs=1e-9)
    for row, plain in zip(rows, parsed(ettin(*words).out), strict=True):
        assert row["scores"] == pytest.approx(plain["scores"], abs=1e-5)


def test_pairs_that_all_score_alike_have_an_average_of_nothing(
    ettin: Ettin, tmp_path: Path, model: str
) -> None:
    (tmp_path / "same.jsonl").write_text(json.dumps(PAIRS[0]) + "\n" + json.dumps(PAIRS[0]) + "\n")
    (tmp_path / "empty.jsonl").write_text("")
    words = ("score", "-r", "embedded", "-r", model, "--average", "--device", "cpu", "--pairs")
    assert [row["score"] for row in parsed(ettin(*words, "same.jsonl").out)] == [0, 0]
    empty = ettin(*words, "empty.jsonl")
    assert (empty.code, empty.out) == (0, "")


def test_a_reranker_that_is_named_twice_is_refused(ettin: Ettin, pairs: Path) -> None:
    done = ettin("score", "--pairs", "pairs.jsonl", "-r", "embedded", "-r", "embedded")
    assert (done.code, done.out) == (2, "")
    assert "embedded is given twice" in done.err


# Rows of training data


def test_a_query_with_its_positives_and_negatives_becomes_a_row_a_text(
    ettin: Ettin, tmp_path: Path
) -> None:
    mined = {
        "query_id": "7",
        "query": "when does the ferry sail",
        "positive": "The ferry sails at nine.",
        "negatives": ["Knead the dough.", "A ferry ticket costs four coins."],
        "negative_ids": ["a", "b"],
    }
    alone = {"query": "how to make bread", "positive": ["Knead the dough."]}
    (tmp_path / "mined.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (mined, alone)))
    done = ettin("score", "--pairs", "mined.jsonl", "-r", "embedded")
    rows = parsed(done.out)
    assert [(row.get("query_id"), row["document"], row["label"]) for row in rows] == [
        ("7", "The ferry sails at nine.", 1),
        ("7", "Knead the dough.", 0),
        ("7", "A ferry ticket costs four coins.", 0),
        (None, "Knead the dough.", 1),
    ]
    assert {key for row in rows for key in row} == {
        *("query_id", "query", "document", "label", "score")
    }
    pairs = [{"query": row["query"], "document": row["document"]} for row in rows]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    again = parsed(ettin("score", "--pairs", "pairs.jsonl", "-r", "embedded").out)
    assert [row["score"] for row in again] == [row["score"] for row in rows]


def test_rows_of_training_data_that_are_none_are_named(ettin: Ettin, tmp_path: Path) -> None:
    rows = [
        {"query": "q", "positive": []},
        {"query": "q", "positive": 3},
        {"query": "q", "positive": "p", "negatives": ["n", 3]},
        {"positive": "p"},
    ]
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = ettin("score", "--pairs", "bad.jsonl", "-r", "embedded")
    assert (done.code, done.out) == (3, "")
    for line, reason in enumerate(
        [
            '"positive" is empty',
            '"positive" is neither a text nor a list of texts',
            '"negatives" is neither a text nor a list of texts',
            'no "query" field; the fields are "positive"',
        ],
        start=1,
    ):
        assert f"rejected bad.jsonl:{line}: {reason}\n" in done.err


# Usage errors


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-r", "32m", "q", "t"], 2, "several rerankers need --pairs"),
        (["--pairs", "pairs.jsonl", "--average"], 2, "--average needs several rerankers"),
        (["--pairs", "pairs.jsonl", "-o", "a.csv"], 2, "the format is JSONL"),
        (["--pairs", "pairs.jsonl", "-o", "a.jsonl.gz"], 2, "the format is JSONL"),
        (["--pairs", "pairs.jsonl", "-o", "no/a.jsonl"], 1, "no such folder: no"),
        (["--pairs", "none.jsonl"], 1, "no such file: none.jsonl"),
        (["--pairs", "pairs.txt"], 2, "not in a format that holds pairs"),
        (["a query", "--pairs", "pairs.jsonl"], 2, "QUERY cannot be combined with --pairs"),
        (["a query"], 2, "missing TEXT"),
        ([], 2, "missing QUERY"),
        (["q", "t", "-o", "out.jsonl"], 2, "-o needs --pairs"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    ettin: Ettin, pairs: Path, words: list[str], code: int, message: str
) -> None:
    pairs.with_suffix(".txt").write_text("x")
    done = ettin("score", "-r", "embedded", *words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


TRIPLETS: list[dict[str, Any]] = [
    {"query": "when does it sail", "positive": "It sails at nine.", "negative": "Knead it."},
    {"query": "bread", "positive": "Knead it.", "negative_1": "Boats.", "negative_2": "Dogs."},
    {"query": "dogs", "positive": ["Dogs.", "A dog."], "negatives": ["Boats."], "negative": "Sea."},
    {"query": "boats", "positive": "Boats.", "hard_negative_1": "Dogs.", "negative_2": None},
]
LABELLED = [
    [("It sails at nine.", 1), ("Knead it.", 0)],
    [("Knead it.", 1), ("Boats.", 0), ("Dogs.", 0)],
    [("Dogs.", 1), ("A dog.", 1), ("Boats.", 0), ("Sea.", 0)],
    [("Boats.", 1), ("Dogs.", 0)],
]


def test_negatives_are_scored_by_whatever_name(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TRIPLETS))
    rows = parsed(ettin("score", "--pairs", "t.jsonl", "-r", "embedded").out)
    expected = [
        {"query": row["query"], "document": text, "label": label}
        for row, texts in zip(TRIPLETS, LABELLED, strict=True)
        for text, label in texts
    ]
    assert [{k: v for k, v in row.items() if k != "score"} for row in rows] == expected
    for row in rows:
        alone = ettin("score", row["query"], row["document"], "-r", "embedded")
        assert row["score"] == pytest.approx(float(alone.out), abs=1e-4)


def test_empty_cells_of_a_table_are_no_negatives(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "query,positive,negative_1,negative_2\nbread,Knead it.,Boats.,Dogs.\nboats,Boats.,Dogs.,\n"
    )
    rows = parsed(ettin("score", "--pairs", "t.csv", "-r", "embedded").out)
    assert [(row["document"], row["label"]) for row in rows] == LABELLED[1] + LABELLED[3]


def test_training_and_mining_know_the_same_names() -> None:
    from ettin_cli.files.requests.examples import example
    from ettin_cli.training.rows import example_of

    for row, texts in zip(TRIPLETS, LABELLED, strict=True):
        learnt, mined = example_of(row), example(row)
        assert list(zip(learnt.texts, learnt.targets, strict=True)) == texts
        assert [(text, 1) for text in mined.positives] == [one for one in texts if one[1]]
        assert [(text, 0) for text in mined.negatives] == [one for one in texts if not one[1]]


def test_a_row_that_is_a_pair_and_training_data_is_refused(ettin: Ettin, tmp_path: Path) -> None:
    rows = [
        {"query": "bread", "document": "Knead it.", "negative": "Boats."},
        {"query": "bread", "positive": "Knead it.", "text": "Dogs.", "negatives": ["Boats."]},
        {"Query": "bread", "Document": "Knead it.", "negative": ""},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = ettin("score", "--pairs", "p.jsonl", "-r", "embedded")
    assert done.code == 3
    assert 'p.jsonl:1: both "document" and "negative"; leave out one of them\n' in done.err
    assert 'p.jsonl:2: both "text" and "positive"; leave out one of them\n' in done.err
    assert [row["Document"] for row in parsed(done.out)] == ["Knead it."]
