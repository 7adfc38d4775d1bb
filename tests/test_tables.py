"""Records of JSONL, JSON, CSV, TSV and Parquet become documents; broken ones are named."""

import gzip
import io
import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ettin_cli.corpus import Fields, SourceFile, read_file
from ettin_cli.records import Document, Rejection
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
        ('{"title": "t"}', 'no "text" field; name it with --text-field'),
        ('{"text": "", "title": " "}', "empty text"),
        ('{"text": "x", "id": true}', '"id" is neither a string nor a number'),
        ('{"text": "x", "id": " "}', '"id" is empty'),
        ('{"text": "x", "title": ["a"]}', '"title" is not a string'),
    ],
)
def test_a_record_that_is_no_document_says_why(tmp_path: Path, row: str, reason: str) -> None:
    assert rejected(write(tmp_path / "a.jsonl", row)) == [(1, reason)]


def test_a_field_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "x"}')
    assert rejected(path, Fields(text="abstract")) == [(1, 'no "abstract" field')]
    assert rejected(path, Fields(id="key")) == [(1, 'no "key" field')]


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
        (3, "1 fields where the header has 2"),
        (4, "3 fields where the header has 2"),
    ]


def test_a_table_without_a_text_column_says_it_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n" + "1,2\n" * 50)
    assert rejected(path) == [(2, 'no "text" field; name it with --text-field')]


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
    assert reason.startswith("not a whole Parquet file")


def test_a_packed_table_is_read_as_a_stream(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": n, "text": f"row {n}"}) + "\n" for n in range(2000))
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(rows.encode()))
    assert [document.doc_id for document in read(path)[0]] == [str(n) for n in range(2000)]


def test_a_packed_table_that_ends_early_keeps_what_was_whole(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": n, "text": f"row {n * 7919}"}) + "\n" for n in range(50_000))
    packed = gzip.compress(rows.encode())
    documents, (rejection,), _ = read(write(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2]))
    assert len(documents) > 1000
    assert rejection.reason.startswith("compressed data is damaged or cut short")


def test_standard_input_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(b'{"_id": "a", "text": "x"}\nbroken\n'))
    monkeypatch.setattr("sys.stdin", stream)
    rejections: list[Rejection] = []
    found = read_file(SourceFile(None, "-", False), Fields(), rejections.append, lambda _: None)
    assert [document.doc_id for document in found] == ["a"]
    assert [str(rejection).split(" at ")[0] for rejection in rejections] == [
        "-:2: broken JSON: unexpected character, expected a JSON value"
    ]


def test_an_empty_table_is_rejected_by_name_and_skipped_in_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "\n\n")
    assert rejected(path) == [(None, "empty")]
    assert read(path, in_folder=True)[2] == ["empty"]
