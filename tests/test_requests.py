"""Files of candidates are read as intended, in any order of rows."""

import gzip
import io
import json
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.corpus.records import RecordError
from ettin_cli.errors import CorpusError, InvalidArgumentError
from ettin_cli.files.requests.fields import RequestFields, listed, pair
from ettin_cli.files.requests.pairs import PairFile, adjacent_requests
from ettin_cli.files.requests.reading import open_requests
from ettin_cli.records import Rejection, Request
from ettin_cli.storage import Stream

USUAL = RequestFields()


def write_jsonl(path: Path, records: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def read(
    path: Path | Stream, fields: RequestFields = USUAL, **run: Any
) -> list[Request | Rejection]:
    with open_requests(path, fields, **run) as file:
        return list(file.items)


def requests(items: Iterable[Request | Rejection]) -> list[Request]:
    return [item for item in items if isinstance(item, Request)]


def rejections(items: Iterable[Request | Rejection]) -> list[Rejection]:
    return [item for item in items if isinstance(item, Rejection)]


def shape(request: Request) -> tuple[str, str, list[tuple[str, str]]]:
    found = [(one.passage.doc_id, one.passage.text) for one in request.candidates]
    return request.query.query_id, request.query.text, found


@contextmanager
def piped(content: bytes) -> Iterator[list[Request | Rejection]]:
    with open_requests(Stream(io.BytesIO(content)), USUAL) as file:
        yield list(file.items)


@pytest.mark.parametrize(
    "name", ["documents", "passages", "candidates", "ctxs", "docs", "contexts", "hits"]
)
def test_the_list_of_documents_goes_by_many_names(name: str) -> None:
    row = listed({"query": "q", name: ["one", {"id": 7, "text": "two"}]}, USUAL)
    assert [one.passage.doc_id for one in row.candidates] == ["0", "7"]
    assert [one.passage.text for one in row.candidates] == ["one", "two"]
    assert row.fields == {}


def test_own_fields_come_back_and_a_documents_go_to_its_metadata() -> None:
    row = listed(
        {
            "query_id": 3,
            "query": "q",
            "topic": {"deep": [1]},
            "documents": [{"doc_id": "d", "text": "t", "title": "T", "score": 1.5, "port": "west"}],
        },
        USUAL,
    )
    assert (row.query_id, row.fields) == ("3", {"topic": {"deep": [1]}})
    found = row.candidates[0]
    assert (found.passage.doc_id, found.passage.title) == ("d", "T")
    assert found.retrieval_score == 1.5
    assert found.passage.metadata == {"score": 1.5, "port": "west"}


def test_fields_can_be_named() -> None:
    fields = RequestFields(query="q", documents="found", text="says", id="key")
    row = listed({"q": "why", "found": [{"key": "k", "says": "so", "id": 1}]}, fields)
    assert (row.query, row.fields) == ("why", {"q": "why"})
    assert row.candidates[0].passage.doc_id == "k"
    assert row.candidates[0].passage.metadata == {"id": 1}


def test_the_text_of_a_document_is_taken_to_the_letter() -> None:
    text = "  two\r\nlines \u202e"
    assert listed({"query": "q", "documents": [text]}, USUAL).candidates[0].passage.text == text


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([1], "not a JSON object"),
        ({"documents": []}, 'no "query" field'),
        ({"query": " ", "documents": []}, '"query" is empty or not a string'),
        ({"query": 3, "documents": []}, '"query" is empty or not a string'),
        ({"query": "q", "documents": "d"}, 'no "documents" field'),
        ({"query": "q", "query_id": [], "documents": []}, '"query_id" is neither a string'),
    ],
)
def test_a_row_that_is_no_request_says_why(record: object, reason: str) -> None:
    with pytest.raises(RecordError, match=reason.replace("[", r"\[")):
        listed(record, USUAL)


def test_a_broken_document_is_left_out_and_named_and_the_others_stay() -> None:
    documents = ["a", 5, {"id": 1}, {"text": 2}, {"text": "b", "score": 1e999}, {"text": "c"}]
    row = listed({"query": "q", "documents": documents}, USUAL)
    assert [one.passage.text for one in row.candidates] == ["a", "c"]
    assert [one.passage_id for one in row.candidates] == [0, 5]
    assert [*map(str, row.reasons)] == [
        "documents[1]: neither a string nor an object",
        'documents[2]: no "text" field; the fields are "id"',
        'documents[3]: "text" is not a string',
        'documents[4]: "score" is not a finite number',
    ]


def test_a_score_that_is_text_is_no_score_unless_it_is_a_number() -> None:
    texts = [{"text": "a", "score": "high"}, {"text": "b", "score": "2.5"}, {"text": "c"}]
    found = listed({"query": "q", "documents": texts}, USUAL).candidates
    assert [one.retrieval_score for one in found] == [None, 2.5, None]


def test_a_pair_keeps_its_other_fields_with_the_document() -> None:
    found = pair(
        {"query_id": 1, "query": "q", "document": "d", "doc_id": "x", "score": 2, "lang": "en"},
        USUAL,
    )
    assert (found.query_id, found.query, found.key) == ("1", "q", "id 1")
    assert found.candidate.passage.metadata == {"score": 2, "lang": "en"}
    assert found.candidate.retrieval_score == 2.0


def test_a_file_of_lists_numbers_queries_without_an_id(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(
        '{"query": "a", "documents": ["x"]}\n\n{"query": "b\n'
        '{"qid": "Q", "query": "c", "docs": []}\n'
        '{"query": "d", "documents": []}\n',
        encoding="utf-8",
    )
    items = read(path)
    assert [shape(request) for request in requests(items)] == [
        ("1", "a", [("0", "x")]),
        ("Q", "c", []),
        ("4", "d", []),
    ]
    assert [(one.line, one.reason.split(":")[0]) for one in rejections(items)] == [
        (3, "broken JSON")
    ]


PAIRS = [
    {"query_id": "q1", "query": "first", "doc_id": "a", "document": "one", "lang": "en"},
    {"query_id": "q2", "query": "second", "doc_id": "b", "document": "two", "lang": "en"},
    {"query_id": "q1", "query": "first", "doc_id": "c", "document": "three", "lang": "de"},
]
GROUPED = [
    ("q1", "first", [("a", "one"), ("c", "three")]),
    ("q2", "second", [("b", "two")]),
]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet", "json", "jsonl.gz", "csv.gz"])
def test_pairs_of_a_query_are_gathered_wherever_they_stand(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pairs.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(PAIRS), path)
    else:
        content = _table(suffix.removesuffix(".gz"))
        path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    items = requests(read(path))
    assert [shape(request) for request in items] == GROUPED
    assert [one.passage_id for one in items[0].candidates] == [0, 1]
    assert [one.passage.metadata for one in items[0].candidates] == [{"lang": "en"}, {"lang": "de"}]


def _table(kind: str) -> bytes:
    if kind == "json":
        return json.dumps(PAIRS).encode()
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in PAIRS).encode()
    comma = "," if kind == "csv" else "\t"
    rows = [list(PAIRS[0]), *(list(row.values()) for row in PAIRS)]
    return "".join(comma.join(row) + "\n" for row in rows).encode()


def test_a_cell_may_hold_line_breaks_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text('query,text\nb,"x"\na,"two\nlines, ""quoted"""\nb,y\n', encoding="utf-8")
    assert [shape(request) for request in requests(read(path))] == [
        ("1", "b", [("0", "x"), ("1", "y")]),
        ("2", "a", [("0", 'two\nlines, "quoted"')]),
    ]


def test_a_query_id_that_stands_for_two_queries_is_refused_by_line(tmp_path: Path) -> None:
    rows = [*PAIRS, {"query_id": "q2", "query": "other", "document": "d"}]
    items = read(write_jsonl(tmp_path / "p.jsonl", rows))
    assert [shape(request) for request in requests(items)] == GROUPED
    assert [(one.line, one.reason) for one in rejections(items)] == [
        (4, 'query_id "q2" already has another query')
    ]


def test_a_broken_pair_is_named_and_the_rest_is_taken(tmp_path: Path) -> None:
    rows = [PAIRS[0], {"query": "first"}, {"query": "", "text": "t"}, PAIRS[2]]
    items = read(write_jsonl(tmp_path / "p.jsonl", rows))
    assert [shape(request) for request in requests(items)] == GROUPED[:1]
    assert [(one.line, one.reason) for one in rejections(items)] == [
        (2, 'no "document" field; the fields are "query"'),
        (3, '"query" is empty or not a string'),
    ]


@given(st.lists(st.tuples(st.integers(0, 6), st.text("ab", max_size=3)), max_size=40))
def test_gathering_loses_and_invents_nothing(drawn: list[tuple[int, str]]) -> None:
    rows = [
        ({"query": f"q{query}", "text": text}, at, at) for at, (query, text) in enumerate(drawn)
    ]
    file = PairFile("-", lambda: iter(rows), lambda record: pair(record, USUAL))
    expected: dict[str, list[str]] = {}
    for query, text in drawn:
        expected.setdefault(f"q{query}", []).append(text)
    found = requests(file.items())
    assert {one.query.text: [c.passage.text for c in one.candidates] for one in found} == expected
    assert [one.query.text for one in found] == list(expected)
    assert file.share() == (1.0 if drawn else None)


def test_a_stream_of_pairs_takes_adjacent_rows_and_names_a_query_that_comes_again() -> None:
    queries = ["a", "a", "b", "a", "c"]
    rows = [({"query": q, "text": f"t{at}"}, at, at) for at, q in enumerate(queries, start=1)]
    items = list(adjacent_requests("-", rows, lambda record: pair(record, USUAL)))
    assert [len(request.candidates) for request in requests(items)] == [2, 1, 1]
    assert [(one.line, one.reason.split(";")[0]) for one in rejections(items)] == [
        (4, "the query appeared before")
    ]


def pair_rows(*keys: tuple[str, str, str]) -> list[tuple[object, int, int]]:
    """Return rows of (query_id, query, text)."""
    return [
        ({"query_id": query_id, "query": query, "text": text}, at, at)
        for at, (query_id, query, text) in enumerate(keys, start=1)
    ]


@pytest.mark.parametrize(
    "rows",
    [
        pair_rows(("1", "A", "a1"), ("1", "B", "bad"), ("1", "A", "a2")),
        pair_rows(
            *[("1", "A", "a1"), ("2", "C", "c1"), ("1", "B", "bad"), ("1", "A", "a2")],
            ("2", "C", "c2"),
        ),
    ],
)
def test_a_rejected_pair_is_in_no_request(rows: list[tuple[object, int, int]]) -> None:
    file = PairFile("-", lambda: iter(rows), lambda record: pair(record, USUAL))
    items = list(file.items())
    assert len(rejections(items)) == 1
    found = {one.query.text: [c.passage.text for c in one.candidates] for one in requests(items)}
    assert found["A"] == ["a1", "a2"]
    assert found.get("C", ["c1", "c2"]) == ["c1", "c2"]


def test_a_stream_of_pairs_rejects_and_numbers_as_a_file_does() -> None:
    rows = pair_rows(("1", "A", "a1"), ("1", "B", "bad"), ("1", "A", "a2"))
    bare = [({"query": q, "text": q}, at, at) for at, q in enumerate("xy", start=4)]
    items = list(adjacent_requests("-", [*rows, *bare], lambda record: pair(record, USUAL)))
    assert [(one.query.query_id, one.query.text) for one in requests(items)] == [
        ("1", "A"),
        ("2", "x"),
        ("3", "y"),
    ]
    assert [c.passage.text for c in requests(items)[0].candidates] == ["a1", "a2"]
    assert [one.line for one in rejections(items)] == [2]


def test_a_first_row_that_is_neither_kind_costs_itself_alone(tmp_path: Path) -> None:
    rows = [{"query": "A", "documents": None}, {}, {"query": "B", "documents": ["x"]}]
    items = read(write_jsonl(tmp_path / "in.jsonl", rows))
    assert [request.query.text for request in requests(items)] == ["B"]
    assert [one.line for one in rejections(items)] == [1, 2]


def test_a_field_that_is_nested_too_deep_is_rejected(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    rows = [
        {"query": "A", "documents": ["x"], "deep": deep},
        {"query": "B", "documents": ["y", {"text": "z", "deep": deep}]},
    ]
    items = read(write_jsonl(tmp_path / "in.jsonl", rows))
    assert [len(request.candidates) for request in requests(items)] == [1]
    assert [one.reason.split(":")[0] for one in rejections(items)] == [
        '"deep" is nested more than 100 deep',
        "documents[1]",
    ]


def test_lists_in_utf_16_are_read(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"query": "A", "documents": ["x"]}\n', encoding="utf-16")
    assert [shape(request) for request in requests(read(path))] == [("1", "A", [("0", "x")])]


def test_a_run_may_begin_with_a_byte_order_mark_and_queries_keep_their_ids(tmp_path: Path) -> None:
    run = tmp_path / "r.trec"
    run.write_text("q%201 Q0 d 1 1.0 x\n", encoding="utf-8-sig")
    (tmp_path / "q.tsv").write_text("q 1\tferry\n")
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"_id": "d", "text": "t"}])
    [request] = requests(read(run, queries=tmp_path / "q.tsv", corpus=str(corpus)))
    assert request.query.query_id == "q 1"
    with pytest.raises(InvalidArgumentError, match="read twice"):
        read(Stream(io.BytesIO()), queries=tmp_path / "q.tsv", corpus=str(corpus))


def test_a_stream_yields_a_request_before_it_ends() -> None:
    def rows() -> Iterator[tuple[object, int, int]]:
        yield {"query": "a", "text": "1"}, 1, 1
        yield {"query": "b", "text": "2"}, 2, 2
        raise AssertionError("asked for more than was needed")

    first = next(adjacent_requests("-", rows(), lambda record: pair(record, USUAL)))
    assert isinstance(first, Request)
    assert first.query.text == "a"


def test_a_stream_takes_either_kind() -> None:
    lists = b'\xef\xbb\xbfnot json\n{"query": "a", "documents": ["x", "y"]}\n'
    with piped(lists) as items:
        assert [shape(request) for request in requests(items)] == [
            ("2", "a", [("0", "x"), ("1", "y")])
        ]
        assert [one.line for one in rejections(items)] == [1]
    with piped(b"".join(json.dumps(row).encode() + b"\n" for row in PAIRS)) as items:
        assert len(requests(items)) == 2
        assert [one.line for one in rejections(items)] == [3]
    with piped(b"") as items:
        assert items == []


def test_a_file_that_holds_neither_kind_is_refused_at_once(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "in.jsonl", [{"a": 1}])
    with pytest.raises(CorpusError, match=r"in\.jsonl:1: neither a query with a list") as error:
        read(path)
    assert str(hint_of(error.value)) is not None
    assert "--documents-field" in str(hint_of(error.value))


def test_a_file_of_no_known_format_says_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("x")
    with pytest.raises(InvalidArgumentError, match="not in a format that holds candidates"):
        read(path)
    with pytest.raises(InvalidArgumentError, match="a TREC run needs queries and a corpus"):
        read(path, queries=path)


def test_a_file_that_is_cut_short_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    rows = b'{"query": "a", "documents": ["x"]}\n' * 5000
    path.write_bytes(gzip.compress(rows)[:-20])
    with pytest.raises(CorpusError, match="truncated"):
        read(path)


@pytest.fixture
def run_files(tmp_path: Path) -> tuple[Path, Path, Path]:
    run = tmp_path / "bm25.trec"
    run.write_text(
        "q1 Q0 d1 1 3.0 bm25\nq2 Q0 d3 1 9 bm25\nq1 Q0 a%20b 2 5.5 bm25\nq9 Q0 d1 1 1 bm25\n"
        "q1 Q0 lost 3 1 bm25\nbroken line\nq2 Q0 d1 2 nan bm25\n",
        encoding="utf-8",
    )
    queries = tmp_path / "queries.tsv"
    queries.write_text("q1\tthe first\nq2\tthe second\n", encoding="utf-8")
    corpus = write_jsonl(
        tmp_path / "corpus.jsonl",
        [
            {"_id": "d1", "title": "One", "text": "text one", "year": 1999},
            {"_id": "a b", "text": "text two"},
            {"_id": "d3", "text": "text three"},
            {"_id": "d4", "text": "never asked for"},
        ],
    )
    return run, queries, corpus


def test_a_trec_run_finds_its_texts_and_is_ordered_by_its_scores(
    run_files: tuple[Path, Path, Path],
) -> None:
    run, queries, corpus = run_files
    items = read(run, queries=queries, corpus=str(corpus))
    assert [shape(request) for request in requests(items)] == [
        ("q1", "the first", [("a b", "text two"), ("d1", "text one")]),
        ("q2", "the second", [("d3", "text three")]),
    ]
    first = requests(items)[0]
    assert [one.retrieval_score for one in first.candidates] == [5.5, 3.0]
    assert [one.passage_id for one in first.candidates] == [0, 1]
    assert first.candidates[1].passage.metadata == {"year": 1999}
    assert [(one.line, one.reason) for one in rejections(items)] == [
        (4, f'query "q9" is not in {queries}'),
        (5, f'document "lost" is not in {corpus}'),
        (6, "2 fields instead of 6"),
        (7, "score 'nan' is not a number"),
    ]


def test_a_runs_corpus_may_be_a_folder(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "to do.md").write_text("# Plan\n\nSail at nine.\n", encoding="utf-8")
    (tmp_path / "q.txt").write_text("when do we sail\n", encoding="utf-8")
    run = tmp_path / "r.run"
    run.write_text("1 Q0 to%20do.md 1 1.0 x\n", encoding="utf-8")
    [request] = requests(read(run, queries=tmp_path / "q.txt", corpus=str(docs)))
    passage = request.candidates[0].passage
    assert (passage.doc_id, passage.title) == ("to do.md", "Plan")
    assert passage.path == str(docs / "to do.md")


def test_share_tells_how_much_of_a_file_of_lists_was_read(tmp_path: Path) -> None:
    records = [{"query": f"q{n}", "documents": ["x" * 500]} for n in range(200)]
    with open_requests(write_jsonl(tmp_path / "in.jsonl", records), USUAL) as file:
        assert file.share() == 0.0
        for _ in zip(range(100), file.items, strict=False):
            pass
        assert 0.45 < (file.share() or 0) < 0.6
        list(file.items)
        assert file.share() == 1.0


def test_shuffled_pairs_give_the_same_candidates(tmp_path: Path) -> None:
    rows = [{"query": f"q{n % 50}", "doc_id": str(n), "document": f"text {n}"} for n in range(1000)]
    expected = {
        r.query.text: {c.passage.doc_id for c in r.candidates}
        for r in requests(
            read(write_jsonl(tmp_path / "a.jsonl", sorted(rows, key=lambda row: row["query"])))
        )
    }
    random.Random(4).shuffle(rows)
    found = requests(read(write_jsonl(tmp_path / "b.jsonl", rows)))
    assert {r.query.text: {c.passage.doc_id for c in r.candidates} for r in found} == expected
    first = found[0]
    assert [c.passage.doc_id for c in first.candidates] == [
        row["doc_id"] for row in rows if row["query"] == first.query.text
    ]
