"""Empty texts are accepted, rank last and affect no other; half a character costs one text."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.corpus.records import LONE
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.long_texts import LongReranker
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker, reranker_of
from ettin_cli.models.rerankers.score_cache import CachedReranker
from ettin_cli.records import Candidate, Passage, Reranker, Scores, Silence
from ettin_cli.searching.ranking import SearchOptions, rank
from ettin_cli.training.student import Student
from tests.conftest import Ettin, Outcome
from tests.models import ettin as ettin_model
from tests.multi_vectors import multi_vector

LAST = -1_000_000_000.0
QUERY = "which oil for a chain"
TEXTS = ["", "Bread is baked daily.", " \n\t\u3000", "Use thin oil on a chain."]
CPU = EngineSettings("cpu")


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def lines(ran: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "ettin").mkdir()
    return {
        "ettin": ettin_model(folder / "ettin", hidden=64, layers=2, heads=2),
        "late": multi_vector(folder / "late"),
    }


def reranker(kind: str, folders: dict[str, Path]) -> Reranker:
    name = str(folders.get(kind, "embedded"))
    files = find_reranker(name, offline=True, reporter=Silence())
    return load_reranker(files, CPU, Silence())


@pytest.mark.parametrize("kind", ["embedded", "ettin", "late"])
def test_an_empty_text_scores_below_all_and_changes_no_other_score(
    folders: dict[str, Path], kind: str
) -> None:
    model = reranker(kind, folders)
    scores = model.score([(QUERY, text) for text in TEXTS])
    alone = model.score([(QUERY, TEXTS[1]), (QUERY, TEXTS[3])])
    assert scores.values.tolist() == [LAST, alone.values[0], LAST, alone.values[1]]
    assert not scores.truncated.any()
    assert model.score([(QUERY, "")]).values.tolist() == [LAST]


def test_an_empty_text_ranks_last_through_windows_the_cache_and_in_training(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path))
    files = ModelFiles("ettin", folders["ettin"])
    found = reranker_of(files)
    plain = reranker("ettin", folders)
    pairs = [(QUERY, text) for text in TEXTS]
    expected = plain.score(pairs).values.tolist()
    assert LongReranker(plain, found, Silence()).score(pairs).values.tolist() == expected
    for _ in range(2):
        cached = CachedReranker(found, CPU, lambda: plain, Silence())
        scores, seconds = cached.timed(pairs)
        assert scores.values.tolist() == expected
        assert [took > 0 for took in seconds] == [False, True, False, True]
    student = Student(files, CPU, Silence(), seed=1)
    assert [value == LAST for value in student.score(pairs).values] == [True, False, True, False]


def candidates(*texts: str) -> list[Candidate]:
    retrieval = [0.9, 0.1, 0.8, 0.5, 0.3]
    return [Candidate(at, Passage(f"d{at}", text), retrieval[at]) for at, text in enumerate(texts)]


def test_a_blend_ranks_empty_texts_last_and_the_others_as_without_them() -> None:
    import numpy as np

    def verdict(*values: float) -> Scores:
        return Scores(np.array(values, np.float32), np.zeros(len(values), np.bool_))

    options = SearchOptions(blend=0.25, top_k=9)
    hits = rank(candidates("", "b", " ", "d", "e"), verdict(LAST, 2, LAST, 1, 4), options)
    assert [hit.passage.doc_id for hit in hits[3:]] == ["d0", "d2"]
    assert [hit.score for hit in hits[3:]] == [LAST, LAST]

    def standard(values: list[float]) -> list[float]:
        mean, deviation = statistics.fmean(values), statistics.pstdev(values)
        return [(value - mean) / deviation for value in values]

    both = zip(standard([0.1, 0.5, 0.3]), standard([2, 1, 4]), strict=True)
    expected = {
        f"d{at}": 0.25 * one + 0.75 * two for at, (one, two) in zip((1, 3, 4), both, strict=True)
    }
    found = {hit.passage.doc_id: hit.score for hit in hits[:3]}
    assert found == pytest.approx(expected)
    assert [hit.passage.doc_id for hit in hits[:3]] == sorted(
        expected, key=lambda one: -expected[one]
    )


def test_ettin_score_accepts_empty_texts(ettin: Ettin) -> None:
    ran = ettin("score", QUERY, *TEXTS, "-r", "embedded", "-f", "jsonl")
    assert ran.code == 0
    assert [row["index"] for row in lines(ran)] == [3, 1, 0, 2]
    assert [row["score"] for row in lines(ran)[2:]] == [LAST, LAST]
    assert ettin("score", QUERY, "", "-r", "embedded").out == "-1e+09\n"


@pytest.mark.parametrize("blend", ["0", "0.3"])
def test_ettin_rerank_accepts_empty_texts(ettin: Ettin, tmp_path: Path, blend: str) -> None:
    titled = {"id": "titled", "title": "Chain oil", "text": ""}
    path = write(tmp_path / "a.jsonl", {"query": QUERY, "documents": [*TEXTS, titled]})
    ran = ettin("rerank", path, "-r", "embedded", "--blend", blend)
    assert ran.code == 0
    hits = lines(ran)[0]["hits"]
    assert [hit["doc_id"] for hit in hits[3:]] == ["0", "2"]
    assert [hit["score"] for hit in hits[3:]] == [LAST, LAST]
    assert all(abs(hit["score"]) < 10 for hit in hits[:3])


def test_ettin_score_pairs_accepts_empty_texts_and_averages_the_others(
    ettin: Ettin, tmp_path: Path, folders: dict[str, Path]
) -> None:
    row = {"query": QUERY, "positive": TEXTS[3], "negatives": TEXTS[:3]}
    path = write(tmp_path / "a.jsonl", row)
    others = write(tmp_path / "b.jsonl", {**row, "negatives": TEXTS[1:2]})
    models = ("-r", "embedded", "-r", str(folders["ettin"]), "--average")
    ran = ettin("score", "--pairs", path, *models)
    assert ran.code == 0
    scores = [found["score"] for found in lines(ran)]
    rest = [found["score"] for found in lines(ettin("score", "--pairs", others, *models))]
    assert scores == [rest[0], LAST, rest[1], LAST]


def test_a_run_may_name_an_empty_document_and_need_not(ettin: Ettin, tmp_path: Path) -> None:
    corpus = write(
        tmp_path / "corpus.jsonl",
        *({"_id": "full", "text": TEXTS[3]}, {"_id": "bare", "text": ""}),
        {"_id": "unnamed", "text": " ", "title": ""},
    )
    queries = write(tmp_path / "queries.jsonl", {"_id": "q", "text": QUERY})
    (tmp_path / "run.trec").write_text("q Q0 bare 1 9 x\nq Q0 full 2 1 x\n")
    ran = ettin("rerank", "run.trec", "--queries", queries, "--corpus", corpus, "-r", "embedded")
    assert ran.code == 0 and "rejected" not in ran.err
    assert [hit["doc_id"] for hit in lines(ran)[0]["hits"]] == ["full", "bare"]
    assert lines(ran)[0]["hits"][1]["score"] == LAST


def test_an_empty_file_of_a_folder_may_be_named_by_a_run(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "full.txt").write_text(TEXTS[3])
    (tmp_path / "docs" / "bare.txt").write_text("")
    queries = write(tmp_path / "queries.jsonl", {"_id": "q", "text": QUERY})
    (tmp_path / "run.trec").write_text("q Q0 bare.txt 1 9 x\nq Q0 full.txt 2 1 x\n")
    ran = ettin("rerank", "run.trec", "--queries", queries, "--corpus", "docs", "-r", "embedded")
    assert ran.code == 0
    assert [hit["doc_id"] for hit in lines(ran)[0]["hits"]] == ["full.txt", "bare.txt"]


def test_training_learns_nothing_from_the_score_of_an_empty_text(
    ettin: Ettin, tmp_path: Path, folders: dict[str, Path]
) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"query": QUERY, "document": TEXTS[3], "score": 2.5},
        {"query": QUERY, "document": "", "score": LAST},
        {"query": QUERY, "positive": TEXTS[3], "negatives": [TEXTS[1], ""]},
    )
    ran = ettin("train", path, "--base", str(folders["ettin"]), "-o", "student", "--steps", "1")
    assert ran.code == 3
    assert 'a.jsonl:2: "score" -1e+09 marks an empty text' in ran.err
    assert ran.err.count("rejected") == 2  # The row, and the number of rows.


def test_a_bench_measures_no_empty_texts(tmp_path: Path) -> None:
    from ettin_cli.benchmark.pairs import read_pairs

    path = Path(write(tmp_path / "a.jsonl", {"query": QUERY, "documents": TEXTS}))
    found = read_pairs(path, None)
    assert found.pairs == [(QUERY, TEXTS[1]), (QUERY, TEXTS[3])]
    assert [str(one) for one in found.rejections] == [f'{path}: query "1": 2 empty texts, skipped']


HALF = "half \ud83d"
WHOLE = "whole \U0001f600"


def test_half_a_character_rejects_one_document_of_a_query(ettin: Ettin, tmp_path: Path) -> None:
    first = {
        "query": QUERY,
        "documents": [HALF, TEXTS[3], {"id": "x", "text": "a", "note": [HALF]}, WHOLE],
        "note": HALF,
        "tags": ["a", HALF],
        "kept": {"large": 2**70, "small": 2**60, "float": 1.5, "none": None},
    }
    path = write(tmp_path / "a.jsonl", first, {"query": QUERY, "documents": ["b"]})
    ran = ettin("rerank", path, "-r", "embedded")
    assert ran.code == 3
    found = lines(ran)
    assert sorted(hit["doc_id"] for hit in found[0]["hits"]) == ["1", "3"]
    assert {hit["text"] for hit in found[0]["hits"]} == {TEXTS[3], WHOLE}
    assert found[0]["kept"] == {"large": 2.0**70, "small": 2**60, "float": 1.5, "none": None}
    assert not found[0].keys() & {"note", "tags"}
    assert len(found) == 2
    for what in ("documents[0]", "documents[2]", "field 'note'", "field 'tags'"):
        assert f"rejected {path}:1: {what}" in ran.err
    assert "rejected 4 rows or documents" in ran.err


def test_half_a_character_in_a_query_rejects_the_query_alone(ettin: Ettin, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"query": HALF, "documents": ["a"]},
        {"query": QUERY, "documents": ["b"]},
    )
    ran = ettin("rerank", path, "-r", "embedded")
    assert ran.code == 3
    assert [answer["query"] for answer in lines(ran)] == [QUERY]
    assert f"rejected {path}:1: {LONE}" in ran.err


def test_half_a_character_within_a_field_that_is_a_path_is_the_reason_that_is_given(
    ettin: Ettin, tmp_path: Path
) -> None:
    rows = [{"query": QUERY, "node": {"docs": [text]}} for text in (HALF, WHOLE)]
    path = write(tmp_path / "a.jsonl", *rows)
    ran = ettin("rerank", path, "-r", "embedded", "--documents-field", "node.docs")
    assert ran.code == 3
    assert len(lines(ran)) == 1
    assert f"rejected {path}:1: {LONE}" in ran.err


def test_half_a_character_costs_one_text_of_a_row_to_learn_from(
    ettin: Ettin, tmp_path: Path, folders: dict[str, Path]
) -> None:
    row = {"query": QUERY, "positive": [TEXTS[3], HALF], "negatives": [TEXTS[1], HALF, "b"]}
    path = write(tmp_path / "a.jsonl", row)
    ran = ettin("score", "--pairs", path, "-r", "embedded")
    assert ran.code == 3
    assert [(found["document"], found["label"]) for found in lines(ran)] == [
        *((TEXTS[3], 1), (TEXTS[1], 0), ("b", 0))
    ]
    for place in ("positive[1]", "negatives[1]"):
        assert f"rejected {path}:1: {place}: lone surrogate" in ran.err
    ran = ettin("train", path, "--base", str(folders["ettin"]), "-o", "student", "--steps", "1")
    assert ran.code == 3
    assert ran.err.count(": lone surrogate") == 2
    assert (tmp_path / "student" / "model.safetensors").exists()


def test_half_a_character_rejects_one_record_of_a_json_array(ettin: Ettin, tmp_path: Path) -> None:
    records = [
        {"_id": "a", "text": TEXTS[3]},
        {"_id": "b", "text": HALF},
        {"_id": "c", "text": "c"},
    ]
    (tmp_path / "a.json").write_text(json.dumps(records))
    ran = ettin("index", "a.json", "-i", "made")
    assert ran.code == 3
    assert "lone surrogate, which is not a valid character (record 2)" in ran.err
    assert "2 documents" in ran.err


@pytest.mark.parametrize("text", ['{"a": x, "b": "\\ud800"}', '{"a": "\\ud800"', '"\\ud83d\\ude00'])
def test_json_that_is_broken_elsewhere_too_stays_broken(text: str) -> None:
    from ettin_cli.corpus.records import LoneSurrogateError, RecordError
    from ettin_cli.corpus.tables import jsonl

    lines = [b'{"text": "a"}', text.encode()]
    _, (found, _, _) = jsonl(lines)
    assert isinstance(found, RecordError) and not isinstance(found, LoneSurrogateError)
