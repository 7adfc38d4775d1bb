"""`ettin mine`: which passages become negatives, and which must not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ettin_cli.index.reader import Index
from ettin_cli.indexing.building import build_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.models.embedders import find_embedder, load_embedder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.records import Silence
from ettin_cli.text.chunking import Chunking
from ettin_cli.training.positives import rows_of_texts, squeezed
from tests.conftest import Ettin
from tests.indexes import Builder, jsonl

TEXTS = {
    "nine": "The ferry sails at nine.",
    "again": "The  ferry sails\nat nine.",
    "longer": "On Sundays the ferry sails. The ferry sails at nine. It is blue.",
    "part": "ferry sails at nine",
    "noon": "Another ferry sails at noon.",
    "fares": "A ferry ticket costs four coins.",
    "bread": "Knead the dough for ten minutes.",
}
OTHERS = ("noon", "fares", "bread")
QUERY = "when does the ferry sail"


@pytest.fixture(scope="module")
def boats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boats")
    source = jsonl(folder / "boats.jsonl", **TEXTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETTIN_CACHE_DIR", str(folder / "cache"))
        build_index(BuildRequest(folder / "index", [str(source)], offline=True), Silence())
    return folder / "index"


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


def scores(index: Path, query: str) -> dict[str, float]:
    """Return each document's inner product with the query, by exhaustive comparison."""
    files = find_embedder("auto", offline=True, reporter=Silence())
    embedder = load_embedder(files, EngineSettings(device="cpu"), Silence())
    opened = Index(index)
    values = opened.vectors @ embedder.embed_queries([query])[0]
    return dict(zip(opened.doc_ids(), np.asarray(values).tolist(), strict=True))


@pytest.fixture
def judged(tmp_path: Path) -> list[str]:
    write(tmp_path / "queries.jsonl", {"_id": "q 1", "text": QUERY}, {"_id": "2", "text": "x"})
    (tmp_path / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq 1\tnine\t2\nq 1\tgone\t1\nq 1\tnoon\t0\n2\tgone\t1\n"
    )
    return ["--queries", "queries.jsonl", "--qrels", "qrels.tsv"]


def test_negatives_are_the_best_hits_that_neither_hold_a_positive_nor_are_held_by_one(
    ettin: Ettin, boats: Path, judged: list[str], tmp_path: Path
) -> None:
    done = ettin("mine", "-i", str(boats), *judged, "-o", "mined.jsonl")
    assert (done.code, done.out) == (0, "")
    others = {doc_id: v for doc_id, v in scores(boats, QUERY).items() if doc_id in OTHERS}
    best = sorted(others, key=lambda doc_id: -others[doc_id])
    assert rows_in(tmp_path / "mined.jsonl") == [
        {
            "query_id": "q 1",
            "query": QUERY,
            "positive": [TEXTS["nine"]],
            "negatives": [TEXTS[doc_id] for doc_id in best],
            "negative_ids": best,
        }
    ]
    assert "1 query without a positive in the index, skipped\n" in done.err
    assert "1 query with fewer negatives than 5\n" in done.err
    assert "3 negatives for 1 of 2 queries\n" in done.err


def test_texts_find_what_judgements_name(
    ettin: Ettin, boats: Path, judged: list[str], tmp_path: Path
) -> None:
    write(tmp_path / "pairs.jsonl", {"query_id": "q 1", "query": QUERY, "positive": TEXTS["again"]})
    by_text = ettin("mine", "-i", str(boats), "--queries", "pairs.jsonl")
    assert (by_text.code, "without a positive" in by_text.err) == (0, False)
    by_judgements = json.loads(ettin("mine", "-i", str(boats), *judged).out)
    row = json.loads(by_text.out)
    assert squeezed(row.pop("positive")[0]) == squeezed(by_judgements.pop("positive")[0])
    assert row == by_judgements


def test_the_top_is_skipped_and_the_number_of_negatives_kept(
    ettin: Ettin, boats: Path, judged: list[str]
) -> None:
    words = ("mine", "-i", str(boats), *judged)
    every = json.loads(ettin(*words).out)["negative_ids"]
    skipped = json.loads(ettin(*words, "--skip-top", "1", "--negatives", "1").out)
    assert skipped["negative_ids"] == every[1:2]
    none = ettin(*words, "--skip-top", "3")
    assert (none.code, none.out) == (0, "")
    assert "1 query without a negative, skipped; raise -c to retrieve more\n" in none.err


@pytest.mark.parametrize("model", [None, "embedded"])
def test_a_negative_scores_at_most_that_share_of_the_positive(
    ettin: Ettin, boats: Path, judged: list[str], model: str | None, tmp_path: Path
) -> None:
    values = scores(boats, QUERY)
    if model:
        pairs = [{"query": QUERY, "document": TEXTS[i], "id": i} for i in TEXTS]
        write(tmp_path / "pairs.jsonl", *pairs)
        scored = ettin("score", "--pairs", "pairs.jsonl", "-r", model).out.splitlines()
        values = {row["id"]: row["score"] for row in map(json.loads, scored)}
    second = sorted(values[doc_id] for doc_id in OTHERS)[-2]
    ratio = second / values["nine"] + 1e-4
    margin = ["--max-score-ratio", f"{ratio:.6f}", *(["-r", model] if model else [])]
    done = ettin("mine", "-i", str(boats), *judged, *margin)
    row = json.loads(done.out)
    assert set(row["negative_ids"]) == {i for i in OTHERS if values[i] <= ratio * values["nine"]}
    assert len(row["negative_ids"]) == 2
    assert "1 dropped by --max-score-ratio\n" in done.err


def test_the_margin_is_from_the_lowest_positive(ettin: Ettin, boats: Path, tmp_path: Path) -> None:
    lowest = min(scores(boats, QUERY), key=scores(boats, QUERY).__getitem__)
    assert lowest == "bread"
    row = {"query": QUERY, "positive": [TEXTS["nine"], TEXTS["bread"]]}
    write(tmp_path / "pairs.jsonl", row)
    words = ("mine", "-i", str(boats), "--queries", "pairs.jsonl", "--max-score-ratio", "1")
    done = ettin(*words)
    assert (done.code, done.out) == (0, "")
    assert "2 dropped by --max-score-ratio" in done.err


def test_what_answers_a_query_in_one_row_is_no_negative_of_another(
    ettin: Ettin, boats: Path, tmp_path: Path
) -> None:
    one, other = ({"query": QUERY, "positive": TEXTS[i]} for i in ("nine", "noon"))
    write(tmp_path / "pairs.jsonl", one, {"query": "bread", "positive": TEXTS["bread"]}, other, one)
    first, second = map(
        json.loads, ettin("mine", "-i", str(boats), "--queries", "pairs.jsonl").out.splitlines()
    )
    assert (first["query_id"], second["query_id"]) == ("1", "2")
    assert first["positive"] == [TEXTS["nine"], TEXTS["noon"]]
    assert set(first["negative_ids"]) == {"fares", "bread"}


def test_a_positive_that_is_nowhere_has_the_score_of_its_text(
    ettin: Ettin, boats: Path, tmp_path: Path
) -> None:
    write(tmp_path / "pairs.jsonl", {"query": QUERY, "positive": "The blue whale is a mammal."})
    words = ("mine", "-i", str(boats), "--queries", "pairs.jsonl", "--negatives", "9")
    plain, strict = ettin(*words), ettin(*words, "--max-score-ratio", "1")
    assert "1 query without a positive in the index, mined by text alone\n" in plain.err
    # "again" is the same text as "nine".
    assert len(json.loads(plain.out)["negatives"]) == len(TEXTS) - 1
    kept = json.loads(strict.out)["negative_ids"] if strict.out else []
    assert set(kept) <= {"bread"}


def test_candidates_are_those_of_the_retriever_that_is_named(
    ettin: Ettin, boats: Path, tmp_path: Path
) -> None:
    write(tmp_path / "queries.jsonl", {"_id": "1", "text": "ferry ticket"})
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\tnine\t1\n")
    words = ("mine", "-i", str(boats), "--queries", "queries.jsonl", "--qrels", "qrels.tsv")
    mined = {
        name: json.loads(ettin(*words, "--retriever", name).out)["negative_ids"]
        for name in ("auto", "hybrid", "bm25", "dense")
    }
    assert mined["auto"] == mined["hybrid"]
    # Only two of the other texts contain a word of the query.
    assert mined["bm25"] == ["fares", "noon"]
    assert set(mined["dense"]) == set(mined["hybrid"]) == set(OTHERS)
    assert ettin(*words, "--retriever", "none").code == 2


@pytest.mark.parametrize("name", ["bm25", "hybrid"])
def test_a_margin_compares_retrieval_scores_of_the_same_retriever(
    ettin: Ettin, boats: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "queries.tsv").write_text(f"1\t{QUERY}\n")
    searched = ettin(
        *("search", "--queries", "queries.tsv", "-i", str(boats), "-r", "none", "-f", "jsonl"),
        *("--retriever", name),
    )
    hits = json.loads(searched.out)["hits"]
    values = {hit["doc_id"]: hit["score"] for hit in hits}
    for doc_id in ("nine", "noon"):
        write(tmp_path / "pairs.jsonl", {"query": QUERY, "positive": TEXTS[doc_id]})
        done = ettin(
            *("mine", "-i", str(boats), "--queries", "pairs.jsonl", "--retriever", name),
            *("--max-score-ratio", "0.9"),
        )
        mined = json.loads(done.out)["negative_ids"] if done.out else []
        below = {i for i in values if values[i] <= 0.9 * values[doc_id] and i != doc_id}
        assert {*mined} & {*OTHERS} == below & {*OTHERS}


def test_rows_that_are_none_are_named_and_the_rest_is_mined(
    ettin: Ettin, boats: Path, tmp_path: Path
) -> None:
    good = {"query": QUERY, "positive": TEXTS["nine"]}
    write(tmp_path / "pairs.jsonl", {"query": "x"}, good, {"query": "x", "positive": 1})
    done = ettin("mine", "-i", str(boats), "--queries", "pairs.jsonl", "-o", "mined.jsonl")
    assert done.code == 3
    assert 'rejected pairs.jsonl:1: no "positive" field; the fields are "query"\n' in done.err
    assert "rejected pairs.jsonl:3: " in done.err
    assert len(rows_in(tmp_path / "mined.jsonl")) == 1


def test_mined_rows_are_scored_as_they_are(
    ettin: Ettin, boats: Path, judged: list[str], tmp_path: Path
) -> None:
    ettin("mine", "-i", str(boats), *judged, "-o", "mined.jsonl")
    scored = ettin("score", "--pairs", "mined.jsonl", "-r", "embedded").out.splitlines()
    rows = [json.loads(line) for line in scored]
    assert [(row["query_id"], row["label"]) for row in rows] == [("q 1", n) for n in (1, 0, 0, 0)]


def test_a_document_is_known_by_the_text_of_all_its_passages(
    build: Builder, tmp_path: Path
) -> None:
    long = "One two three. Four five six. Seven eight nine."
    source = jsonl(tmp_path / "long.jsonl", a="Something else.", b=long, c="Four five six.")
    build(tmp_path / "index", source, chunking=Chunking(3, 0))
    index = Index(tmp_path / "index")
    at = [row for row, doc_id in enumerate(index.doc_ids()) if doc_id == "b"]
    assert len(at) == 3
    wanted = {key(long): at, key("Four five six."): [at[1], at[-1] + 1], key("Nowhere."): []}
    found = rows_of_texts(index, set(wanted), Silence())
    assert {name: list(found.get(name, [])) for name in wanted} == wanted


def key(text: str) -> int:
    import xxhash

    return xxhash.xxh3_64_intdigest(squeezed(text).encode())


def test_a_positive_comes_with_its_title_as_negatives_do(ettin: Ettin, tmp_path: Path) -> None:
    titled = [
        {"_id": "a", "title": "Boats", "text": TEXTS["nine"]},
        {"_id": "b", "title": "Baking", "text": TEXTS["bread"]},
    ]
    write(tmp_path / "titled.jsonl", *titled)
    write(tmp_path / "pairs.jsonl", {"query": QUERY, "positive": TEXTS["again"]})
    assert ettin("index", "titled.jsonl", "-i", "titled").code == 0
    row = json.loads(ettin("mine", "-i", "titled", "--queries", "pairs.jsonl").out)
    assert row["positive"] == [f"Boats {TEXTS['nine']}"]
    assert row["negatives"] == [f"Baking {TEXTS['bread']}"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "missing --queries"),
        (["--queries", "none.jsonl"], 1, "no such file: none.jsonl"),
        (["--queries", "q.jsonl"], 1, 'q.jsonl:1: no "positive" field'),
        (["--queries", "empty.jsonl"], 1, "empty.jsonl has no queries"),
        (["--queries", "q.jsonl", "--qrels", "none"], 1, "no such file: none"),
        (["--queries", "-", "--qrels", "-"], 2, "stdin can be read only once"),
        (["--queries", "q.jsonl", "-r", "embedded"], 2, "a reranker needs a maximum score ratio"),
        (["--queries", "asked.jsonl"], 1, 'asked.jsonl:1: no "query" field; the fields are '),
        (
            ["--queries", "q.jsonl", "-r", "embedded:5,32m", "--max-score-ratio", "0.9"],
            2,
            'expected a single reranker, got "embedded:5,32m"',
        ),
        (["--queries", "q.jsonl", "-o", "a.csv"], 2, "the format is JSONL"),
        (["--queries", "q.txt"], 2, "not in a format that holds queries and their positives"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    ettin: Ettin, boats: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    write(tmp_path / "q.jsonl", *[{"query": "x"}] * 200)
    write(tmp_path / "q.txt", {"query": "x"})
    write(tmp_path / "asked.jsonl", {"_id": "1", "text": "x"})
    (tmp_path / "empty.jsonl").write_text("")
    done = ettin("mine", "-i", str(boats), *words)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert len(done.err.splitlines()) <= 2
