"""Records of JSONL, JSON, CSV, TSV and Parquet become documents; invalid ones are reported."""

import gzip
import io
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, strategies as st

from ettin_cli.corpus.formats import read_file
from ettin_cli.corpus.records import Fields
from ettin_cli.corpus.sources import list_files, open_source
from ettin_cli.records import Document, Rejection
from ettin_cli.storage import Stream
from tests.reading import read, write


def rejected(path: Path, fields: Fields | None = None) -> list[tuple[int | None, str]]:
    return [(r.line, r.reason) for r in read(path, fields=fields)[1]]


def test_a_record_has_its_id_title_text_and_the_rest_as_metadata(tmp_path: Path) -> None:
    row = {"docno": 7, "title": " A \n title ", "body": "words", "year": 1999, "tags": ["x"]}
    (document,), _, _ = read(write(tmp_path / "a.jsonl", json.dumps(row)))
    expected = Document("7", "words", "A title", {"year": 1999, "tags": ["x"]}, lines=(1,))
    assert document == expected


@pytest.mark.parametrize("id_field", ["_id", "id", "doc_id", "docno"])
@pytest.mark.parametrize("text_field", ["text", "body", "content", "contents"])
def test_the_usual_names_of_fields_are_known(
    tmp_path: Path, id_field: str, text_field: str
) -> None:
    row = {id_field: "a", text_field: "words"}
    (document,), _, _ = read(write(tmp_path / "a.jsonl", json.dumps(row)))
    assert (document.doc_id, document.text, document.metadata) == ("a", "words", {})


def test_other_names_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"key": "a", "abstract": "words", "text": "kept"}')
    (document,), _, _ = read(path, fields=Fields(id="key", text="abstract"))
    assert (document.doc_id, document.text) == ("a", "words")
    assert document.metadata == {"text": "kept"}


def test_a_record_without_an_id_is_named_by_its_line(tmp_path: Path) -> None:
    documents, _, _ = read(write(tmp_path / "a.jsonl", '{"text": "x"}\n\n{"text": "y"}\n'))
    assert [document.doc_id for document in documents] == ["a.jsonl:1", "a.jsonl:3"]


def test_a_broken_line_in_the_middle_loses_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "x"}\n{"text": \n[1]\n{"text": 5}\n{"text": "y"}')
    documents, rejections, _ = read(path)
    assert [document.text for document in documents] == ["x", "y"]
    assert [(r.line, r.reason.split(" at ")[0]) for r in rejections] == [
        (2, "broken JSON: unexpected end of data"),
        (3, "not a JSON object"),
        (4, '"text" is not a string'),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"title": "t"}', 'no "text" field; the fields are "title"'),
        ('{"text": "", "title": " "}', "empty text"),
        ('{"text": "x", "id": true}', '"id" is neither a string nor a number'),
        ('{"text": "x", "id": " "}', '"id" is empty'),
    ],
)
def test_a_record_that_is_no_document_says_why(tmp_path: Path, row: str, reason: str) -> None:
    assert rejected(write(tmp_path / "a.jsonl", row)) == [(1, reason)]


def test_a_field_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "x"}')
    assert rejected(path, Fields(text="abstract")) == [
        (1, 'no "abstract" field; the fields are "text"')
    ]
    assert rejected(path, Fields(id="key")) == [(1, 'no "key" field; the fields are "text"')]


def test_json_is_an_array_or_one_record(tmp_path: Path) -> None:
    documents, _, _ = read(write(tmp_path / "a.json", '[{"id": 1, "text": "x"}, {"text": "y"}]'))
    assert [(d.doc_id, d.text) for d in documents] == [("1", "x"), ("a.json:2", "y")]
    (single,), _, _ = read(write(tmp_path / "b.json", '{"id": 1, "text": "x"}'))
    assert single.text == "x"
    assert rejected(write(tmp_path / "c.json", '[{"text": "x"'))[0][1].startswith("broken JSON")


def test_a_cell_may_hold_line_breaks_and_keeps_its_first_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '\ufeffid,text,note\n1,"a\nb",x\n2,c,"y, z"\n')
    documents, _, _ = read(path)
    assert [(d.doc_id, d.text, list(d.lines)) for d in documents] == [
        ("1", "a\nb", [2]),
        ("2", "c", [4]),
    ]
    assert documents[1].metadata == {"note": "y, z"}


def test_a_row_of_another_width_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "id\ttext\n1\ta\n2\n3\tc\td\n4\te\n")
    documents, rejections, _ = read(path)
    assert [document.doc_id for document in documents] == ["1", "4"]
    assert [(r.line, r.reason) for r in rejections] == [
        (3, "1 fields, but the header has 2"),
        (4, "3 fields, but the header has 2"),
    ]


def test_a_table_without_a_text_column_says_it_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 50)
    assert rejected(path) == [(2, 'no "text" field; the fields are "a", "b"')]


def test_a_table_in_a_folder_without_text_is_skipped_with_its_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "package.json", '{"name": "x"}')
    assert read(path, in_folder=True) == ([], [], ["table without a text field"])


def test_records_of_a_table_in_a_folder_are_named_by_file_and_id(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"_id": "x", "text": "words"}')
    (document,), _, _ = read(path, in_folder=True)
    assert document.doc_id == "a.jsonl#x"


def test_parquet_gives_plain_values(tmp_path: Path) -> None:
    table = pa.table(
        {"_id": [1, 2], "text": ["x", "y"], "day": [date(2024, 1, 2), None], "n": [[1], [2, 3]]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    documents, rejections, _ = read(tmp_path / "a.parquet")
    assert rejections == []
    assert documents[0].metadata == {"day": "2024-01-02", "n": [1]}
    assert documents[1].metadata == {"day": None, "n": [2, 3]}


def test_a_cut_parquet_file_is_rejected(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x" * 1000]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    ((line, reason),) = rejected(write(tmp_path / "b.parquet", content[:-20]))
    assert line is None
    assert reason.startswith("not a valid Parquet file")


def test_a_packed_table_is_read_as_a_stream(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": n, "text": f"row {n}"}) + "\n" for n in range(2000))
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(rows.encode(), mtime=0))
    assert [document.doc_id for document in read(path)[0]] == [str(n) for n in range(2000)]


def test_a_packed_table_that_ends_early_keeps_what_was_whole(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": n, "text": f"row {n * 7919}"}) + "\n" for n in range(50_000))
    packed = gzip.compress(rows.encode(), mtime=0)
    documents, (rejection,), _ = read(write(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2]))
    assert len(documents) > 1000
    assert rejection.reason.startswith("compressed data is damaged or truncated")


def test_a_stream_is_json_lines() -> None:
    stream = Stream(io.BytesIO(b'{"_id": "a", "text": "x"}\nbroken\n'))
    rejections: list[Rejection] = []
    (file,) = list_files(open_source(stream)).files
    found = read_file(file, Fields(), rejections.append, lambda _: None)
    assert [document.doc_id for document in found] == ["a"]
    assert [str(rejection).split(" at ")[0] for rejection in rejections] == [
        "-:2: broken JSON: unexpected character, expected a JSON value"
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"text": "x", "id": 123456789012345678901}', '"id" is a number too large'),
        ('{"text": "x", "m": ' + "[" * 150 + "]" * 150 + "}", '"m" is nested more than 100 deep'),
        ('{"text": "x", "m": ' + '{"a":' * 150 + "1" + "}" * 151, '"m" is nested more than'),
        ("[" * 5000 + "]" * 5000, "broken JSON: depth limit"),
        ('{"text": "\\ud800"}', "lone surrogate, which is not a valid character"),
        ('{"text": NaN}', "empty text"),
        ("null", "not a JSON object"),
    ],
)
def test_a_record_that_could_not_be_stored_as_it_is_says_why(
    tmp_path: Path, row: str, reason: str
) -> None:
    documents, (rejection,), _ = read(write(tmp_path / "a.jsonl", f'{row}\n{{"text": "y"}}\n'))
    assert [document.text for document in documents] == ["y"]
    assert (rejection.line, rejection.reason.startswith(reason)) == (1, True)


@pytest.mark.parametrize(
    ("given", "doc_id"),
    [
        ("7", "7"),
        ("18446744073709551615", "18446744073709551615"),
        ("-0.5", "-0.5"),
        ('"a b\\nc"', "a b\nc"),
        ('" 7 "', " 7 "),
        ('"日本"', "日本"),
    ],
)
def test_an_id_is_kept_as_it_was_given(tmp_path: Path, given: str, doc_id: str) -> None:
    (document,), _, _ = read(write(tmp_path / "a.jsonl", f'{{"id": {given}, "text": "x"}}'))
    assert document.doc_id == doc_id


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"_id": st.text(min_size=1), "text": st.text()}, optional={"m": JSON}
        ),
        max_size=6,
    )
)
def test_records_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, object]]
) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    path = write(tmp_path_factory.getbasetemp() / "records.jsonl", lines)
    kept = [
        (number, record)
        for number, record in enumerate(records, start=1)
        if str(record["_id"]).strip() and str(record["text"]).strip()
    ]
    documents, rejections, _ = read(path)
    assert [(list(d.lines), d.doc_id, d.metadata) for d in documents] == [
        ([number], record["_id"], {name: value for name, value in record.items() if name == "m"})
        for number, record in kept
    ]
    assert [d.text for d in documents] == [
        str(record["text"]).replace("\r\n", "\n").replace("\r", "\n") for _, record in kept
    ]
    assert len(rejections) == max(1, len(records)) - len(kept)


def test_lines_of_json_are_known_under_the_name_of_json(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"id": 1, "text": "x"}\n{"id": 2\n{"id": 3, "text": "y"}\n')
    documents, (rejection,), _ = read(path)
    assert [(d.doc_id, list(d.lines)) for d in documents] == [("1", [1]), ("3", [3])]
    assert rejection.line == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_lines_of_json_are_read_by_their_mark(tmp_path: Path, encoding: str) -> None:
    rows = '{"id": 1, "text": "é"}\r\n{"id": 2\r\n{"id": 3, "text": "日"}'
    documents, (rejection,), _ = read(write(tmp_path / "a.jsonl", rows.encode(encoding)))
    assert [(d.doc_id, d.text) for d in documents] == [("1", "é"), ("3", "日")]
    assert rejection.line == 2


def test_a_line_that_is_not_utf8_costs_itself_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"text": "\xe9t\xe9 \xe0 Vall\xe9e"}\n{"text": "y"}\n')
    assert rejected(path) == [(1, "not UTF-8")]
    assert [document.text for document in read(path)[0]] == ["y"]
    documents = read(path, fields=Fields(encoding="latin-1"))[0]
    assert [document.text for document in documents] == ["été à Vallée", "y"]


@pytest.mark.parametrize("bad", [b"\xff", b"\0"])
def test_a_broken_byte_in_a_record_is_replaced_and_counted_once_for_the_table(
    tmp_path: Path, bad: bytes
) -> None:
    rows = (
        b'{"text": "naive"}\n{"text": "ca'
        + bad
        + b'fe"}\n{"text": "ca'
        + bad
        + b'fe"}\n{"text": "x"}'
    )
    documents, rejections, _ = read(write(tmp_path / "a.jsonl", rows))
    assert [document.text for document in documents] == ["naive", "ca\ufffdfe", "ca\ufffdfe", "x"]
    notice = "2 invalid byte sequences replaced by U+FFFD, first in line 2"
    assert [list(document.notices) for document in documents] == [[], [], [], [notice]]
    assert not rejections
    table = "id,text\n1,naïve\n".encode() + b"2,ca" + bad + b"fe\n" + b"3,thin\n" * 300
    first, second, *_, last = read(write(tmp_path / "a.csv", table))[0]
    assert [first.text, second.text, last.text] == ["naïve", "ca\ufffdfe", "thin"]
    assert list(last.notices) == ["1 invalid byte sequence replaced by U+FFFD, first in line 3"]


def test_a_table_whose_later_records_have_a_text_is_one_of_documents(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"n": 1}\n' * 50 + '{"text": "x"}\n')
    documents, rejections, skipped = read(path, in_folder=True)
    assert [document.text for document in documents] == ["x"]
    assert (len(rejections), skipped) == (50, [])


def test_a_table_of_no_documents_is_told_once_and_read_no_further(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"n": 1}\n' * 100 + "broken\n" * 9)
    assert rejected(path) == [(1, 'no "text" field; the fields are "n"')]
    assert read(path, in_folder=True) == ([], [], ["table without a text field"])


@pytest.mark.parametrize("content", ["[1, 2]", '"words"', '["a", "b"]', "[[]]", "null"])
def test_json_that_is_no_record_is_told_or_passed_over(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "a.json", content)
    assert read(path, in_folder=True) == ([], [], ["table without a text field"])
    assert rejected(path)[0] == (None, "not a JSON object (record 1)")
    lines = write(tmp_path / "a.jsonl", f'{content}\n{{"text": "x"}}\n')
    assert rejected(lines) == [(1, "not a JSON object")]


@pytest.mark.parametrize(
    "table",
    ["dtype,input\nnp.float32\n1,2\n", "569,30\n1,2,3\n4,5,6\n", "0,0,0,1\n1,2,3,4\n", 'a\n"b\n'],
)
def test_a_table_of_numbers_in_a_folder_is_passed_over_by_its_header(
    tmp_path: Path, table: str
) -> None:
    path = write(tmp_path / "a.csv", table)
    assert read(path, in_folder=True) == ([], [], ["table without a text field"])
    assert len(read(path)[1]) == 1


def test_a_short_packed_table_that_ends_early_keeps_what_was_whole(tmp_path: Path) -> None:
    first, second = ('{"id": 1, "text": "one"}\n', '{"id": 2, "text": "two"}\n')
    for name, pack in (("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)):
        packed = pack(first.encode()) + pack(second.encode())[:-4]
        documents, rejections, _ = read(write(tmp_path / name, packed))
        assert documents[0].text == "one"
        assert rejections[-1].reason.startswith("compressed data is damaged or truncated")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_rows_that_end_early_are_kept_as_far_as_they_go(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    rows = "".join(f"{n},row {n * 7919}\n" for n in range(5_000))
    packed = pack(b"id,text\n") + pack(rows.encode()) + pack(b"x,y\n")[:-4]
    name = "a.csv.gz" if pack is gzip.compress else "a.csv.zst"
    documents, rejections, _ = read(write(tmp_path / name, packed))
    assert [document.doc_id for document in documents][:5_000] == [str(n) for n in range(5_000)]
    assert rejections[-1].reason.startswith("compressed data is damaged or truncated")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pa.array([1234567890123456789], pa.timestamp("ns")), "2009-02-13 23:31:30.123456789"),
        (pa.array([1700000000], pa.timestamp("s")), "2023-11-14 22:13:20"),
        (pa.array([2**30], pa.date32()), "<value out of range: 1073741824>"),
        (pa.array([b"words"], pa.binary()), "words"),
        (pa.array([b"\xff\0\xfe"], pa.binary()), {"bytes": 3}),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), [["k", 1]]),
        (pa.array([{"a": [b"x", None]}]), {"a": ["x", None]}),
        (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([True]), True),
    ],
)
def test_what_parquet_holds_becomes_json(tmp_path: Path, column: pa.Array, value: object) -> None:
    pq.write_table(pa.table({"text": ["x"], "value": column}), tmp_path / "a.parquet")
    (document,), rejections, _ = read(tmp_path / "a.parquet")
    assert (document.metadata, rejections) == ({"value": value}, [])
    assert json.loads(json.dumps(document.metadata)) == document.metadata


def test_text_stored_as_bytes_is_text_where_it_is_utf8(tmp_path: Path) -> None:
    words = pa.array(["café".encode(), b"caf\xe9", b"tea"], pa.binary())
    pq.write_table(pa.table({"text": words}), tmp_path / "a.parquet")
    documents, rejections, _ = read(tmp_path / "a.parquet")
    assert [document.text for document in documents] == ["café", "tea"]
    assert [str(r).rpartition(": ")[2] for r in rejections] == ['"text" is not a string (record 2)']


def test_two_columns_of_one_name_are_refused_in_parquet_too(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert rejected(tmp_path / "a.parquet") == [(None, '2 columns are named "text"')]


def test_an_empty_table_is_rejected_by_name_and_skipped_in_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "\n\n")
    assert rejected(path) == [(None, "empty")]
    assert read(path, in_folder=True)[2] == ["empty"]
