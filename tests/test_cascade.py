"""Cascades: the last reranker ranks what the earlier ones kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.records import Candidate, Passage, Scores
from ettin_cli.searching.cascade import Remaining, Step, narrowed, parse_cascade, work
from tests.conftest import Ettin, Outcome
from tests.fakes import OverlapReranker
from tests.models import ettin as ettin_model

FERRY = "When does the ferry sail?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(ettin_model(tmp_path_factory.mktemp("ettin"), hidden=64, layers=2, heads=2))


def answer(ran: Outcome) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


@pytest.mark.parametrize(
    ("text", "before", "last"),
    [
        ("32m", [], "32m"),
        ("C:\\models\\mine", [], "C:\\models\\mine"),
        ("C:\\models\\mine:50, 32m", [("C:\\models\\mine", 50)], "32m"),
        ("embedded:100,a/b:20,C:\\last", [("embedded", 100), ("a/b", 20)], "C:\\last"),
    ],
)
def test_names_are_told_from_numbers(text: str, before: list[Any], last: str) -> None:
    assert parse_cascade(text) == (before, last)


@pytest.mark.parametrize("name", ["a,b", "mine:50"])
def test_a_folder_stands_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    assert parse_cascade(name) == ([], name)
    Path("mine:50").mkdir(exist_ok=True)
    assert parse_cascade("embedded:9,mine:50") == ([("embedded", 9)], "mine:50")


@pytest.mark.parametrize(
    "text",
    [
        *("embedded:5", "embedded,32m", "embedded:0,32m", ":5,32m", "embedded:5,", "none:5,32m"),
        *("embedded:5,none", "embedded:5,32m:3", ",", "a:x,32m"),
    ],
)
def test_what_is_no_cascade_is_refused(ettin: Ettin, text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        parse_cascade(text)
    ran = ettin("rerank", "-", "-r", text)
    assert ran.code == 2
    assert "for example -r embedded:50,32m" in ran.err


def candidates(doc_ids: list[str]) -> list[Candidate]:
    return [Candidate(at, Passage(doc_id, "x"), None) for at, doc_id in enumerate(doc_ids)]


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 0.5, 1.0])), max_size=9),
        max_size=4,
    ),
    st.integers(1, 6),
)
def test_the_best_go_on_in_the_order_of_retrieval(
    queries: list[list[tuple[str, float]]], keep: int
) -> None:
    import numpy as np

    left = [Remaining(candidates([d for d, _ in one]), range(1, len(one) + 1)) for one in queries]
    values = np.array([score for one in queries for _, score in one], np.float32)
    scores = Scores(values, values > 0.7)
    found = list(narrowed(left, scores, Step(OverlapReranker(), keep), documents=0))
    for one, rest in zip(queries, found, strict=True):
        ranked = sorted(range(len(one)), key=lambda at: (-one[at][1], one[at][0], at))
        best = sorted(ranked[:keep])
        assert [candidate.passage_id for candidate in rest.candidates] == best
        assert rest.ranks == [at + 1 for at in best]
        (stage,) = rest.stages
        assert (stage.scored, stage.kept) == (len(one), len(best))
        assert stage.truncated == sum(score > 0.7 for _, score in one)
    steps = [Step(OverlapReranker(), keep)]
    counts = [len(one) for one in queries]
    assert work(counts, steps) == sum(counts) + sum(len(one.candidates) for one in found)


def test_more_documents_go_on_where_few_own_the_best() -> None:
    import numpy as np

    scores = Scores(np.array([5, 4, 3, 2, 1], np.float32), np.zeros(5, np.bool_))
    step = Step(OverlapReranker(), 3)
    (rest,) = narrowed([Remaining(candidates([*"aaabc"]))], scores, step, documents=2)
    assert [candidate.passage_id for candidate in rest.candidates] == [0, 1, 3]


def test_search_ranks_the_best_of_the_first_by_the_second(inside: Ettin, model: str) -> None:
    words = ("search", FERRY, "-k", "50", "--by", "passage", "-f", "json")
    first = answer(inside(*words, "-r", "embedded"))["hits"]
    second = answer(inside(*words, "-r", model))["hits"]
    best = {hit["passage_id"] for hit in first[:4]}
    ran = inside(*words, "-r", f"embedded:4,{model}")
    both = answer(ran)
    wanted = [hit for hit in second if hit["passage_id"] in best]
    assert len(first) > 4
    assert [hit | {"rank": 0} for hit in both["hits"]] == [hit | {"rank": 0} for hit in wanted]
    assert both["reranker"] == f"embedded:4,{model}"
    engine = both["engine"]
    stored = f"1-bit token vectors, {engine}"
    assert both["stages"] == [
        {"reranker": "embedded", "engine": stored, "scored": len(first), "truncated": 0, "kept": 4},
        {"reranker": model, "engine": engine, "scored": 4, "truncated": 0, "kept": 4},
    ]
    told = f"4 hits, reranked by embedded (4 of {len(first)} kept), then by {model}"
    assert told in ran.err


def test_three_in_a_row_and_several_queries(inside: Ettin, model: str, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text(f"{FERRY}\n{FERRY}\nHow long is the dough kneaded?\n")
    ran = inside("search", "--queries", str(queries), "-r", f"embedded:5,{model}:2,embedded")
    assert ran.code == 0, ran.err
    answers = [json.loads(line) for line in ran.out.splitlines()]
    assert [[stage["kept"] for stage in one["stages"]] for one in answers] == [[5, 2, 2]] * 3
    assert answers[0]["hits"] == answers[1]["hits"]
    assert "(15 of 24 kept)" in ran.err
    assert "(6 of 15 kept)" in ran.err


def test_rerank_takes_a_cascade(ettin: Ettin, model: str, tmp_path: Path) -> None:
    texts = ["The ferry sails at nine.", "Dough.", "A ferry.", "The ferry sails, and sails."]
    given = tmp_path / "in.jsonl"
    given.write_text(json.dumps({"query": FERRY, "documents": texts}) + "\n")
    first = answer(ettin("rerank", str(given), "-r", "embedded"))["hits"][:2]
    second = answer(ettin("rerank", str(given), "-r", model))["hits"]
    both = answer(ettin("rerank", str(given), "-r", f"embedded:2,{model}"))
    kept = {hit["doc_id"] for hit in first}
    assert [(hit["doc_id"], hit["score"], hit["retrieval_rank"]) for hit in both["hits"]] == [
        (hit["doc_id"], hit["score"], hit["retrieval_rank"])
        for hit in second
        if hit["doc_id"] in kept
    ]
    assert [stage["scored"] for stage in both["stages"]] == [4, 2]


def test_another_cut_is_another_run_to_resume() -> None:
    from ettin_cli.commands.rerank import _Job
    from ettin_cli.console.console import Console
    from ettin_cli.files.requests.fields import RequestFields
    from ettin_cli.models.engines.settings import EngineSettings
    from ettin_cli.searching.ranking import SearchOptions
    from ettin_cli.searching.session_models import Models

    def fingerprint(text: str) -> str:
        console = Console()
        models = Models(EngineSettings(), offline=True, reporter=console)
        found = models.find_rerankers(text)
        job = _Job(console, models, found, SearchOptions(), "truncate", text=True)
        return job.fingerprint(RequestFields(None, None, None, None), "jsonl")

    assert fingerprint("embedded:2,embedded") == fingerprint("embedded:2,embedded")
    assert len({fingerprint(f"{one}embedded") for one in ("", "embedded:1,", "embedded:2,")}) == 3


def test_probabilities_are_of_one_reranker(inside: Ettin) -> None:
    words = ("search", FERRY, "-r", "embedded:4,embedded", "--min-probability", "0.5")
    ran = inside(*words)
    assert ran.code == 2
    assert "a minimum probability needs a single reranker" in ran.err


def test_a_cascade_is_not_calibrated(ettin: Ettin, docs: Path) -> None:
    ran = ettin("eval", str(docs), "-r", "embedded:4,embedded", "--calibrate")
    assert ran.code == 2
    assert "cannot calibrate the cascade embedded:4,embedded" in ran.err
