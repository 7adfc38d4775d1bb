"""The Python API: exports, use in a notebook, and the same results as on the command line."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ettin_cli as ettin_api
from ettin_cli import Document, Query, Searcher, SearchOptions, Session, TextReranker
from ettin_cli.benchmark import peaks
from ettin_cli.corpus import EVERYDAY_ANSWERS, sample_corpus
from ettin_cli.errors import (
    CalibrationError,
    ClosedError,
    EttinError,
    IndexNotFoundError,
    InvalidArgumentError,
)
from ettin_cli.models.engines import EngineSettings
from tests import api_examples
from tests.conftest import Ettin
from tests.indexes import Notices
from tests.models import embedder, ettin as ettin_model
from tests.threads import THREADS, in_threads

CORPUS = sample_corpus(EVERYDAY_ANSWERS)
DOG = "can I bring my dog"
TEXTS = ["At nine.", "Bread is at noon.", ""]
EXPORTED = [
    *("Answer", "Document", "EngineSettings", "EttinError", "Hit", "Passage", "Query"),
    *("SearchOptions", "Searcher", "Session", "TextReranker", "__version__"),
    *("build", "embedder", "open", "reranker", "search"),
]


# Calls that commands share, and those that say all in a line.
INSIDE: dict[object, list[str]] = {
    Session: [
        *("build_from", "close", "collection", "evaluate_candidates", "find_rerankers"),
        *("index_of", "read_index_of", "searcher", "sources"),
    ],
    Searcher: ["close", "closing"],
    TextReranker: ["close"],
}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(EngineSettings(device="cpu"), offline=True) as session:
        yield session


@pytest.fixture(scope="module")
def folder(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "index"
    session.build(CORPUS, into=folder)
    return folder


def test_the_exported_names_are_these() -> None:
    assert sorted(ettin_api.__all__) == sorted(EXPORTED) == sorted(dir(ettin_api))
    assert all(getattr(ettin_api, name) is not None for name in EXPORTED)
    assert callable(ettin_api.search)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ettin_api.nothing  # noqa: B018


def test_the_import_loads_nothing_heavy() -> None:
    script = "import sys, ettin_cli; print(*[m for m in sys.modules if m.startswith('ettin_cli.')])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_an_answer_is_that_of_the_shell(
    session: Session, folder: Path, ettin: Ettin, tmp_path: Path
) -> None:
    done = ettin("search", DOG, "-i", str(folder), "-r", "embedded", "-k", "3", "-f", "json")
    expected = json.loads(done.out)
    with session.open(folder, reranker="embedded") as index:
        answer = index.search(DOG, top_k=3)
    found = json.loads(json.dumps(answer.to_dict()))
    assert found.keys() == expected.keys()
    for one in (found, expected):
        del one["seconds"]
    assert found == expected
    assert answer.hits[0].to_dict() == found["hits"][0]


def test_constraints_are_read_as_in_a_query_of_the_shell(
    session: Session, folder: Path, ettin: Ettin
) -> None:
    query = 'dog -"compost"'
    done = ettin("search", query, "-i", str(folder), "-r", "none", "-f", "jsonl")
    with session.open(folder, reranker="none") as index:
        answer = index.search(query)
        assert [hit.to_dict(rank) for rank, hit in enumerate(answer.hits, 1)] == json.loads(
            done.out
        )["hits"]
        assert answer.query.text == query
        plain = index.search(Query("q1", query))
        assert {hit.passage.doc_id for hit in plain.hits} != {
            hit.passage.doc_id for hit in answer.hits
        }


def test_hits_are_a_table_for_arrow_and_for_a_notebook(session: Session, folder: Path) -> None:
    import pyarrow as pa

    with session.open(folder, reranker="none") as index:
        answer = index.search(DOG, top_k=3)
    table = answer.to_arrow()
    assert isinstance(table, pa.Table)
    assert table.column("doc_id").to_pylist() == [hit.passage.doc_id for hit in answer.hits]
    assert table.column("rank").to_pylist() == [1, 2, 3]
    html = answer._repr_html_()
    assert html.count("<tr>") == 4
    assert repr(answer).startswith(f"<Answer to {DOG!r}: 3 hits by none, best Hit(doc_id=")
    assert "120 documents" in repr(index)
    report = session.update(folder)
    assert repr(report).startswith("<ettin build report: 120 documents, 1")
    assert repr(session) == "<ettin session: device cpu, dtype auto, offline>"
    assert repr(session.embedder()).startswith("<ettin embedder embedded on ")


def test_texts_in_a_table_of_a_notebook_are_escaped(session: Session) -> None:
    answer = session.reranker("embedded").rank("<b>", ["<script>alert(1)</script>"])
    assert "<script>" not in answer._repr_html_()


def test_ranked_texts_have_the_scores_of_the_shell(session: Session, ettin: Ettin) -> None:
    query = "when does the ferry sail"
    done = ettin("score", query, *TEXTS[:2], "-r", "embedded", "-f", "jsonl")
    rows = [json.loads(line) for line in done.out.splitlines()]
    reranker = session.reranker("embedded")
    answer = reranker.rank(query, TEXTS[:2])
    assert [(hit.passage.text, hit.score) for hit in answer.hits] == [
        (row["text"], row["score"]) for row in rows
    ]
    scores = session.score([(query, text) for text in TEXTS], reranker="embedded")
    assert scores.values.shape == (3,)
    assert scores.values.tolist()[2] == -1e9
    assert len(reranker.rank(query, TEXTS, top_k=1).hits) == 1
    assert reranker.rank(query, []).hits == []


def test_requests_are_answered_as_they_come(session: Session) -> None:
    taken = []

    def requests() -> Iterator[tuple[str, list[str]]]:
        for number in range(600):
            taken.append(number)
            yield f"query {number}", ["a", f"text {number}"]

    answers = session.rerank(requests(), reranker="embedded")
    first = next(answers)
    assert first.query.text == "query 0"
    assert len(taken) < 600
    assert sum(1 for _ in answers) == 599


def test_an_index_is_built_of_documents_and_brought_up_to_date(
    session: Session, tmp_path: Path
) -> None:
    documents: list[Document | dict[str, Any]] = [
        Document("a", "the ferry sails", "Ferry", {"year": 1}),
        {"_id": "b", "text": "tea"},
    ]
    report = session.build(documents=documents, into=tmp_path / "i")
    assert report.manifest is not None
    assert report.manifest.counts.documents == 2
    with session.open(tmp_path / "i", reranker="none") as index:
        [hit] = index.search("ferry year:1").hits
        assert (hit.passage.title, hit.passage.metadata) == ("Ferry", {"year": 1})
        assert not index.is_outdated()
        session.build(documents=[Document("c", "bread")], into=tmp_path / "i")
        assert index.is_outdated()
        assert index.search("ferry").hits[0].passage.doc_id == "a"
        with index.reopen() as newer:
            assert not newer.is_outdated()
            assert {hit.passage.doc_id for hit in newer.search("bread").hits} == {"c"}


def test_a_closed_index_says_so(session: Session, folder: Path) -> None:
    with session.open(folder, reranker="none") as index:
        assert index.search(DOG).hits
    with pytest.raises(ClosedError, match="index"):
        index.search(DOG)


def test_a_reopened_index_keeps_the_models_until_it_is_closed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETTIN_OFFLINE", "1")
    with ettin_api.open(folder, reranker="embedded") as index:
        expected = index.search(DOG, candidates=2).hits
        newer = index.reopen()
    with newer:
        assert newer.search(DOG, candidates=2).hits == expected
    with pytest.raises(ClosedError):
        newer.models.loaded.once("any", object)


Call = Callable[[Session, Path], object]
FAILING: list[tuple[Call, type[EttinError], str]] = [
    (lambda s, f: s.open(f / "none"), IndexNotFoundError, "index-not-found"),
    (lambda s, f: s.open(f, retriever="x"), InvalidArgumentError, "invalid-argument"),
    (lambda s, f: s.open(f, reranker="none", long="max"), InvalidArgumentError, "needs-reranker"),
    (lambda s, f: s.reranker("none"), InvalidArgumentError, "needs-reranker"),
    (lambda s, f: searched(s, f, "", "embedded"), InvalidArgumentError, "invalid-argument"),
    (lambda s, f: searched(s, f, "a", "none", blend=0.5), InvalidArgumentError, "needs-reranker"),
    (lambda s, f: searched(s, f, "a", "none", top_k=0), InvalidArgumentError, "invalid-argument"),
    (
        lambda s, f: searched(s, f, "a", "embedded", min_probability=0.5),
        CalibrationError,
        "not-calibrated",
    ),
    (lambda s, f: EngineSettings(device="tpu"), InvalidArgumentError, "invalid-argument"),
]
# Arguments of a type that would be taken for something else, or fail far away.
WRONG: dict[str, Callable[[Session, Path, Any], object]] = {
    "paths": lambda s, f, wrong: searched(s, f, "a", "none", paths=wrong("*.md")),
    "each of filters": lambda s, f, wrong: searched(s, f, "a", "none", filters=["ab", wrong("cd")]),
    "top_k": lambda s, f, wrong: searched(s, f, "a", "none", top_k=wrong("3")),
    "query": lambda s, f, wrong: searched(s, f, wrong(None), "none"),
    "texts": lambda s, f, wrong: s.reranker("embedded").rank("a", wrong("one text")),
    "each of texts": lambda s, f, wrong: s.reranker("embedded").rank("a", ["b", wrong(None)]),
    "pairs": lambda s, f, wrong: s.score(wrong("ab"), reranker="embedded"),
    "each of pairs": lambda s, f, wrong: s.score([wrong("cd")], reranker="embedded"),
    "each of requests": lambda s, f, wrong: list(s.rerank([wrong("ab")], reranker="embedded")),
    "documents": lambda s, f, wrong: s.build(documents=wrong({"text": "a"}), into=f / "no"),
    "include": lambda s, f, wrong: s.build(f, include=wrong("*.md"), into=f / "no"),
    "rerankers": lambda s, f, wrong: s.evaluate(f, [], {}, rerankers=wrong("embedded")),
    "queries": lambda s, f, wrong: s.mine(f, wrong("q"), {}),
    "steps": lambda s, f, wrong: s.train(base="embedded", output=f / "no", rows=[], steps=wrong(0)),
    "limit": lambda s, f, wrong: s.bench(["embedded"], limit=wrong(0)),
    "each of queries": lambda s, f, wrong: s.evaluate(f, wrong(["a"]), {}),
    "qrels": lambda s, f, wrong: s.evaluate(f, [], wrong([])),
    "rows": lambda s, f, wrong: s.train(base="embedded", output=f / "no", rows=wrong({})),
}


def as_it_is(value: object) -> object:
    return value


def searched(session: Session, folder: Path, query: str, reranker: str, **options: Any) -> object:
    with session.open(folder, reranker=reranker) as index:
        return index.search(query, **options)


@pytest.mark.parametrize(("call", "kind", "code"), FAILING)
def test_failures_are_errors_with_a_code(
    session: Session, folder: Path, call: Call, kind: type[EttinError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        call(session, folder)
    assert caught.value.code == code


@pytest.mark.parametrize("argument", WRONG)
def test_an_argument_of_the_wrong_type_is_named(
    session: Session, folder: Path, argument: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{argument} must be "):
        WRONG[argument](session, folder, as_it_is)


def test_iterators_are_taken_where_lists_are(session: Session) -> None:
    reranker = session.reranker("embedded")
    assert len(reranker.rank("a", (text for text in TEXTS)).hits) == len(TEXTS)  # type: ignore[arg-type]
    assert reranker.score(zip("ab", "cd", strict=True)).values.shape == (2,)  # type: ignore[arg-type]
    assert session.embed(iter(["a", "b"])).shape == (2, 384)  # type: ignore[arg-type]


def test_records_of_a_program_may_hold_numbers_of_numpy(session: Session, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"_id": "a", "text": "tea", "score": np.float32(0.5)},
        {"_id": "b", "text": "half \ud800 of a pair"},
    ]
    report = session.build(documents=records, into=tmp_path / "i")
    assert report.manifest is not None
    assert report.manifest.counts.documents == 1
    assert "surrogate" in report.rejections[0].reason
    with pytest.raises(InvalidArgumentError, match="cannot be written as JSON"):
        session.build(documents=[{"text": "tea", "x": object()}], into=tmp_path / "j")


def test_a_closed_reranker_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETTIN_OFFLINE", "1")
    with ettin_api.reranker("embedded") as reranker:
        assert len(reranker.rank("a", ["b"]).hits) == 1
    with pytest.raises(ClosedError, match="reranker"):
        reranker.rank("a", ["b"])


def test_filters_are_a_mapping_or_pairs(session: Session, tmp_path: Path) -> None:
    documents = [{"_id": "a", "text": "tea", "at": "x"}, {"_id": "b", "text": "tea", "at": "y"}]
    session.build(documents=documents, into=tmp_path / "i")
    with session.open(tmp_path / "i", reranker="none") as index:
        for filters in ({"at": "y"}, [("at", "y")]):
            [hit] = index.search("tea", filters=filters).hits
            assert hit.passage.doc_id == "b"


def test_the_retrieved_hits_come_before_the_reranked_ones(session: Session, folder: Path) -> None:
    told: list[ettin_api.Answer] = []
    with session.open(folder, reranker="embedded") as index:
        reranked = index.search(f"{DOG} -ferry", top_k=3, min_score=100.0, retrieved=told.append)
    with session.open(folder, reranker="none") as index:
        alone = index.search(f"{DOG} -ferry", top_k=3)
    [first] = told
    assert (first.query, first.reranker, reranked.hits) == (alone.query, "none", [])
    assert [hit.passage_id for hit in first.hits] == [hit.passage_id for hit in alone.hits]


def test_one_of_several_values_must_match(session: Session, tmp_path: Path) -> None:
    records = [{"text": f"pier {n}", "port": port} for n, port in enumerate("abc")]
    session.build(documents=records, into=tmp_path / "piers")
    with session.open(tmp_path / "piers", reranker="none") as index:
        hits = index.search("pier", filters={"port": ["a", "c"]}).hits
        same = index.search("pier", filters=[("port", ("a", "c"))]).hits
    assert {hit.passage.metadata["port"] for hit in hits} == {"a", "c"}
    assert hits == same


def test_an_evaluation_is_that_of_the_shell(session: Session, folder: Path, ettin: Ettin) -> None:
    from ettin_cli.files import read_qrels, read_queries

    queries, qrels = CORPUS / "queries.jsonl", CORPUS / "qrels.tsv"
    done = ettin(
        *("eval", "-i", str(folder), "--queries", str(queries), "--qrels", str(qrels)),
        *("-r", "embedded", "-c", "5", "-f", "json"),
    )
    found = session.evaluate(
        folder,
        list(read_queries(queries)),
        read_qrels(qrels),
        rerankers=["embedded"],
        candidates=[5],
    )
    rows = json.loads(done.out)["systems"]
    assert [row["nDCG@10"] for row in rows] == [one.mean("nDCG@10") for one in found.measured]


@pytest.mark.parametrize(
    "example",
    [
        api_examples.shortcuts,
        api_examples.sessions,
        api_examples.maintenance,
        api_examples.measuring,
    ],
)
def test_the_examples_do_what_they_say(
    example: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETTIN_OFFLINE", "1")
    monkeypatch.setenv("ETTIN_DEVICE", "cpu")
    monkeypatch.setattr(peaks, "CPU_SIZE", 128)
    example(tmp_path)


@pytest.mark.parametrize(
    "owner", [ettin_api, Session, Searcher, TextReranker], ids=lambda one: one.__name__
)
def test_every_public_call_has_an_example(owner: object) -> None:
    calls = {name: call for name in dir(owner) if callable(call := getattr(owner, name))}
    without = [
        name
        for name, call in calls.items()
        if not name.startswith("_")
        and not isinstance(call, type)
        and ">>> " not in str(call.__doc__)
    ]
    assert without == INSIDE.get(owner, [])


def test_nothing_is_printed(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    session.update(folder)
    session.search(DOG, str(CORPUS / "corpus.jsonl"), reranker="embedded", top_k=2)
    session.embed(["a"], queries=True)
    assert (out.getvalue(), err.getvalue()) == ("", "")


def test_a_search_of_files_reports_what_could_not_be_read_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.txt").write_bytes("Grüße aus Wien\nund noch ".encode() + b"\xff mehr Text")
    (docs / "b.pdf").write_text("no PDF")
    notices = Notices()
    with Session(EngineSettings(device="cpu"), offline=True, reporter=notices) as session:
        session.read_index_of([docs])
    assert [message.split(": ")[0].rpartition("/")[2] for message in notices.said] == [
        "b.pdf",
        "a.txt",
    ]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Session, Path]]:
    """Make models with few weights, and an index built with one of them."""
    folder = tmp_path_factory.mktemp("small")
    for name in ("reranker", "embedder"):
        (folder / name).mkdir()
    ettin_model(folder / "reranker", hidden=32, layers=2, heads=2)
    embedder(folder / "embedder")
    texts = [f"{word} and {other}" for word in WORDS for other in WORDS]
    documents = [{"_id": str(at), "text": text} for at, text in enumerate(texts)]
    with Session(EngineSettings(device="cpu", threads=1), offline=True) as session:
        session.build(documents=documents, into=folder / "index", embedder=str(folder / "embedder"))
        yield session, folder


WORDS = ("ferry", "bread", "dog", "bicycle", "harbour")
FEW = SearchOptions(candidates=3)


def call(session: Session, index: Searcher, folder: Path, number: int) -> object:
    """Make a random call; one in ten fails, and one in ten stops halfway."""
    query, reranker = WORDS[number % len(WORDS)], str(folder / "reranker")
    match number % 10:
        case 0 | 1 | 2:
            return index.search(query, candidates=3).to_arrow().drop(["stale"]).to_pylist()
        case 3 | 4:
            return session.score(
                [(query, query), (query, "tea")], reranker=reranker
            ).values.tobytes()
        case 5 | 6:
            return session.embed([query], embedder=str(folder / "embedder")).tobytes()
        case 7:
            answers = session.rerank([(query, TEXTS)], reranker=reranker)
            return [hit.score for answer in answers for hit in answer.hits]
        case 8:
            with pytest.raises(EttinError):
                index.search(query, top_k=0)
        case _:
            answers = index.search_many([Query("1", query), Query("2", "tea")], FEW)
            next(answers)
            answers.close()  # type: ignore[attr-defined]
    return None


def test_threads_get_the_answers_of_one_thread_while_others_fail(
    small: tuple[Session, Path],
) -> None:
    session, folder = small
    with session.open(folder / "index", reranker=str(folder / "reranker")) as index:
        expected = [call(session, index, folder, number) for number in range(50)]

        def work(thread: int) -> bool:
            numbers = range(thread, 1000, THREADS)
            return all(call(session, index, folder, n) == expected[n % 50] for n in numbers)

        assert in_threads(work, THREADS) == [True] * THREADS


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux alone")
@pytest.mark.parametrize("calls", [1500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_stays_as_it_is_over_many_calls(small: tuple[Session, Path], calls: int) -> None:
    session, folder = small

    def after(calls: int) -> int:
        for number in range(calls):
            call(session, index, folder, number)
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with session.open(folder / "index", reranker=str(folder / "reranker")) as index:
        before = after(300)
        grown = (after(calls) - before) / 2**20
    assert grown < 16, f"{grown:.1f} MiB more"
