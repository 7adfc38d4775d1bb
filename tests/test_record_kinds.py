"""Records are read as programs write them: delimiters, names of fields, envelopes, odd values."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pytest
from hypothesis import given, strategies as st

from ettin_cli.corpus.json_values import without_comments
from ettin_cli.corpus.records import Fields
from tests.reading import read, write
from tests.test_delimited import rows


def texts(path: Path, fields: Fields | None = None) -> list[tuple[str, str]]:
    documents, rejections, _ = read(path, fields=fields)
    assert rejections == []
    return [(document.doc_id, document.text) for document in documents]


# Delimited tables

WANTED = [("1", "Der Bohrer, rot."), ("2", "Die Zange; blau | grau.")]


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_delimiter_is_that_of_the_rows(
    tmp_path: Path, delimiter: str, name: str, encoding: str
) -> None:
    lines = [["id", "text"], *([one, f'"{text}"'] for one, text in WANTED)]
    content = "".join(delimiter.join(cells) + "\r\n" for cells in lines)
    assert texts(write(tmp_path / name, content.encode(encoding))) == WANTED


@pytest.mark.parametrize("stated", ["sep=;\n", '"sep=;"\r\n', "\ufeffSEP=;\n"])
def test_a_first_line_may_state_the_delimiter(tmp_path: Path, stated: str) -> None:
    path = write(tmp_path / "a.csv", stated + "id;text\n1;a, b\n2;c, d, e\n")
    documents, _, _ = read(path)
    assert [(document.text, list(document.lines)) for document in documents] == [
        ("a, b", [3]),
        ("c, d, e", [4]),
    ]


def test_a_table_of_commas_is_not_taken_for_another() -> None:
    text = "id,text\n1,a; b; c\n2,d|e\n3,f\n"
    assert [row for row, _ in rows(text)] == [
        {"id": "1", "text": "a; b; c"},
        {"id": "2", "text": "d|e"},
        {"id": "3", "text": "f"},
    ]


def test_columns_given_by_name_tell_the_delimiter_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "1;a, b\n2;c\n")
    assert texts(path, Fields(columns=("id", "text"))) == [("1", "a, b"), ("2", "c")]


def test_blanks_after_a_delimiter_are_not_text() -> None:
    quoted = 'id, title, text\n1, "Drill", "The drill, red, lies."\n2, "Saw", "It is blunt."\n'
    assert [row for row, _ in rows(quoted)] == [
        {"id": "1", "title": "Drill", "text": "The drill, red, lies."},
        {"id": "2", "title": "Saw", "text": "It is blunt."},
    ]
    assert [row for row, _ in rows('id,text\n1, "a"\n2, "b, c"\n')] == [
        {"id": "1", "text": "a"},
        {"id": "2", "text": "b, c"},
    ]
    assert [row for row, _ in rows("id,text\n1,  kept\n")] == [{"id": "1", "text": "  kept"}]


def test_a_quotation_mark_may_be_escaped_by_a_backslash() -> None:
    text = 'id,text\n1,"He said \\"now\\", twice"\n2,"ends \\""\n'
    text += '3,"C:\\\\x and \\"y\\"\nnext"\n4,"C:\\"\n'
    assert rows(text) == [
        ({"id": "1", "text": 'He said "now", twice'}, 2),
        ({"id": "2", "text": 'ends "'}, 3),
        ({"id": "3", "text": 'C:\\x and "y"\nnext'}, 4),
        ({"id": "4", "text": "C:\\"}, 6),
    ]


CELL = st.text(st.sampled_from("ab\", \n'é\\"), min_size=1, max_size=8)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8))
def test_cells_escaped_by_backslashes_lose_no_row_around_them(
    table: list[tuple[str, str]],
) -> None:
    def quoted(cell: str) -> str:
        return '"' + cell.replace("\\", "\\\\").replace('"', '\\"') + '"'

    # Rows that mean the same either way separate the others.
    text = "a,b\n" + "".join(
        f"x,y\n{quoted('p' + one + 'q')},{quoted('p' + other + 'q')}\n" for one, other in table
    )
    found = [row for row, _ in rows(text)]
    assert found.count({"a": "x", "b": "y"}) == len(table)


def test_empty_cells_at_the_end_of_a_row_are_no_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,title,text\n1,A,x,,\n2,B,y, ,\n3,C,z\n")
    assert texts(path) == [("1", "x"), ("2", "y"), ("3", "z")]
    path = write(tmp_path / "b.csv", "id,text,,\n1,x,,\n2,y,note,\n")
    documents, rejections, _ = read(path)
    assert [document.metadata for document in documents] == [{}, {"column 3": "note"}]
    assert rejections == []


def test_a_row_without_its_last_cells_is_read_if_it_has_a_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,text,note,day\n1,x\n2,y,n\n3\n4,z,n,d,more\n")
    documents, rejections, _ = read(path)
    assert [(d.doc_id, d.text, d.metadata) for d in documents] == [
        ("1", "x", {}),
        ("2", "y", {"note": "n"}),
    ]
    assert [(r.line, r.reason) for r in rejections] == [
        (4, "1 fields, but the header has 4"),
        (5, "5 fields, but the header has 4"),
    ]


# Names and values of fields


@pytest.mark.parametrize(
    "name",
    ["Text", "TEXT", "page_content", "pageContent", "Page Content", "Passage", "Contents", "chunk"],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_names_are_known_in_any_case_and_by_synonyms(
    tmp_path: Path, name: str, suffix: str
) -> None:
    table = f"ID,Title,{name}\n7,A,words\n"
    record = json.dumps({"ID": 7, "Title": "A", name: "words"})
    path = write(tmp_path / f"a.{suffix}", table if suffix == "csv" else record)
    (document,), rejections, _ = read(path)
    assert (document.doc_id, document.title, document.text) == ("7", "A", "words")
    assert (document.metadata, rejections) == ({}, [])


def test_the_exact_name_goes_before_another_case(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"TEXT": "loud", "text": "exact"}')
    assert texts(path)[0][1] == "exact"


def test_an_empty_field_gives_way_to_one_with_a_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "", "body": "words"}\n{"text": null, "body": "x"}')
    assert [text for _, text in texts(path)] == ["words", "x"]


def test_a_title_field_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "x", "title": "t", "meta": {"name": "N"}}')
    (document,), _, _ = read(path, fields=Fields(title="meta.name"))
    assert (document.title, document.metadata) == ("N", {"title": "t"})


@pytest.mark.parametrize(
    ("value", "title", "metadata"),
    [
        (1984, "1984", {}),
        (1.5, "1.5", {}),
        (["Nets", "Ropes"], "Nets, Ropes", {}),
        (None, "", {}),
        (True, "", {"title": True}),
        ({"en": "Nets"}, "", {"title": {"en": "Nets"}}),
    ],
)
def test_a_title_never_costs_its_record(
    tmp_path: Path, value: object, title: str, metadata: dict[str, Any]
) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"text": "x", "title": value}))
    (document,), rejections, _ = read(path)
    assert (document.title, document.metadata, rejections) == (title, metadata, [])


@pytest.mark.parametrize(
    ("value", "doc_id"),
    [
        ("null", "a.jsonl:1"),
        ('""', "a.jsonl:1"),
        ("NaN", "a.jsonl:1"),
        ('{"$oid": "65f0"}', "65f0"),
        ('{"$numberLong": "5"}', "5"),
    ],
)
def test_an_id_that_is_none_is_no_id(tmp_path: Path, value: str, doc_id: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"_id": {value}, "text": "x"}}')
    assert texts(path) == [(doc_id, "x")]


def test_numbers_that_json_does_not_have_are_null(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        '{"_id": 1, "text": "NaN", "a": NaN, "b": [Infinity, -Infinity, 1e999], "c": 2}\n'
        '{"_id": 12345678901234567890123, "text": "x", "a": NaN}\n',
    )
    (document,), (rejection,), _ = read(path)
    assert document.metadata == {"a": None, "b": [None, None, None], "c": 2}
    assert document.text == "NaN"
    assert rejection.reason == '"_id" is a number too large to be read exactly; make it a string'


def test_a_list_of_strings_is_joined(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": ["one", null, "two"]}\n{"text": ["a", 1]}\n')
    (document,), (rejection,), _ = read(path)
    assert document.text == "one\ntwo"
    assert (rejection.line, rejection.reason) == (2, '"text" is not a string')


def test_a_missing_field_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    names = [f"n{at}" for at in range(15)]
    path = write(tmp_path / "a.csv", ",".join(names) + "\n" + ",".join("1" * 15) + "\n")
    ((rejection,),) = ([*read(path)[1]],)
    named = ", ".join(f'"{name}"' for name in names[:12])
    assert rejection.reason == f'no "text" field; the fields are {named} and 3 more'


# JSON that is spread over lines


RECORDS = [{"_id": "a", "text": "one\n[x"}, {"_id": "b", "text": 'two "q"', "m": [1, {"k": 2}]}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json"])
def test_an_array_is_read_under_any_name(tmp_path: Path, name: str, indent: int | None) -> None:
    path = write(tmp_path / name, json.dumps(RECORDS, indent=indent))
    assert texts(path) == [("a", "one\n[x"), ("b", 'two "q"')]


def test_an_array_with_a_record_a_line_is_read(tmp_path: Path) -> None:
    lines = "[\n" + ",\n".join(json.dumps(record) for record in RECORDS) + "\n]\n"
    assert len(texts(write(tmp_path / "a.jsonl", lines))) == 2


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_indented_records_one_after_another_are_read(tmp_path: Path, name: str) -> None:
    content = "\n".join(json.dumps(record, indent=2) for record in RECORDS * 200)
    documents, rejections, _ = read(write(tmp_path / name, content))
    assert [document.doc_id for document in documents] == ["a", "b"] * 200
    assert rejections == []
    if name == "a.jsonl":
        line = content.split("\n").index('  "_id": "b",')
        assert documents[1].lines == (line,)


def test_indented_json_that_breaks_is_one_message(tmp_path: Path) -> None:
    good = json.dumps(RECORDS, indent=2)[:-2]
    broken = good + ',\n  {"_id": oops\n' + "  more\n" * 12_000 + "]"
    for name in ("a.jsonl", "a.json"):
        documents, (rejection,), _ = read(write(tmp_path / name, broken))
        assert [document.doc_id for document in documents] == ["a", "b"]
        assert rejection.reason.startswith("broken JSON: ")


def test_what_is_not_json_lines_is_one_message(tmp_path: Path) -> None:
    documents, (rejection,), _ = read(write(tmp_path / "a.jsonl", "id,text\n" * 12_000))
    assert documents == []
    assert rejection.reason.endswith("; none of the first 100 records can be read")


def test_a_broken_first_line_costs_itself_alone(tmp_path: Path) -> None:
    lines = '{"text": \n' + "".join(f'{{"text": "{n}"}}\n' for n in range(300))
    documents, (rejection,), _ = read(write(tmp_path / "a.jsonl", lines))
    assert (len(documents), rejection.line) == (300, 1)


def test_json_with_comments_is_read(tmp_path: Path) -> None:
    content = '// a list\n[{"text": "http://a.b /* x */, ]"}, /* one, */\n {"text": "y",},]\n'
    assert [text for _, text in texts(write(tmp_path / "a.json", content))] == [
        "http://a.b /* x */, ]",
        "y",
    ]
    config = write(tmp_path / "tsconfig.json", '{\n  // strict\n  "strict": true,\n}\n')
    assert read(config, in_folder=True) == ([], [], ["table without a text field"])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(st.sampled_from('/*",]}\\ a'), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(JSON)
def test_json_without_comments_stays_as_it_is(value: object) -> None:
    assert json.loads(without_comments(json.dumps(value, ensure_ascii=False))) == value


# Envelopes


@pytest.mark.parametrize(
    "content",
    [
        {"data": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]},
        {"status": "ok", "data": {"items": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]}},
        {"response": {"numFound": 2, "docs": [{"id": "a", "body": "x"}, {"id": "b", "body": "y"}]}},
        {
            "took": 3,
            "hits": {
                "total": {"value": 2},
                "hits": [
                    {"_index": "i", "_id": "a", "_score": 1.0, "_source": {"content": "x"}},
                    {"_index": "i", "_id": "b", "_score": 1.0, "_source": {"content": "y"}},
                ],
            },
        },
        {"a": {"title": "t", "text": "x"}, "b": {"title": "u", "text": "y"}},
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_records_are_found_in_what_holds_them(tmp_path: Path, name: str, content: object) -> None:
    path = write(tmp_path / name, json.dumps(content, indent=1))
    assert texts(path) == [("a", "x"), ("b", "y")]


def test_a_dump_of_elasticsearch_is_its_sources(tmp_path: Path) -> None:
    hits = [
        {"_index": "i", "_type": "_doc", "_id": "a", "_source": {"text": "x", "n": 1}},
        {"_index": "i", "_type": "_doc", "_id": "b", "_source": {"text": "y", "n": 2}},
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, hits)))
    documents, rejections, _ = read(path)
    assert [(d.doc_id, d.text, d.metadata) for d in documents] == [
        ("a", "x", {"n": 1}),
        ("b", "y", {"n": 2}),
    ]
    assert rejections == []


def test_a_bulk_request_is_its_documents(tmp_path: Path) -> None:
    lines = [
        {"index": {"_index": "i", "_id": "1"}},
        {"text": "x"},
        {"delete": {"_index": "i", "_id": "9"}},
        {"create": {}},
        {"text": "y", "_id": "own"},
        {"update": {"_id": "2"}},
        {"doc": {"text": "z"}},
    ]
    path = write(tmp_path / "bulk.ndjson", "\n".join(map(json.dumps, lines)) + "\n")
    assert texts(path) == [("1", "x"), ("own", "y"), ("2", "z")]


@pytest.mark.parametrize(
    "chat",
    [
        {
            "id": "c",
            "messages": [
                {"role": "user", "content": "When does it sail?"},
                {"role": "assistant", "content": [{"type": "text", "text": "At nine."}]},
            ],
        },
        {
            "id": "c",
            "conversations": [
                {"from": "user", "value": "When does it sail?"},
                {"from": "assistant", "value": "At nine."},
            ],
        },
        {
            "id": "c",
            "mapping": {
                "0": {"message": None},
                "1": {
                    "message": {
                        "author": {"role": "user"},
                        "content": {"parts": ["When does it sail?"]},
                    }
                },
                "2": {
                    "message": {"author": {"role": "assistant"}, "content": {"parts": ["At nine."]}}
                },
            },
        },
    ],
)
def test_a_chat_is_a_document_with_its_turns(tmp_path: Path, chat: dict[str, Any]) -> None:
    wanted = "user: When does it sail?\n\nassistant: At nine."
    for name, content in (("a.jsonl", chat), ("a.json", [chat])):
        assert texts(write(tmp_path / name, json.dumps(content))) == [("c", wanted)]


@pytest.mark.parametrize(
    "content",
    [
        {"body": {"a": 1}, "name": "x"},
        {"content": ["./src/**/*.html"], "theme": {}},
        {"content": 5},
        [{"body": {"a": 1}}, {"body": {"b": 2}}],
        {"data": [1, 2]},
        {"messages": {"required": "is needed"}},
    ],
)
def test_json_that_is_no_table_is_skipped_in_a_folder_and_refused_alone(
    tmp_path: Path, content: object
) -> None:
    path = write(tmp_path / "a.json", json.dumps(content))
    assert read(path, in_folder=True) == ([], [], ["table without a text field"])
    documents, rejections, _ = read(path)
    assert [document.text for document in documents] == (
        ["./src/**/*.html"] if "theme" in content else []  # type: ignore[operator]
    )
    assert bool(rejections) != bool(documents)


def test_sentences_in_a_list_are_prose_in_a_folder_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"text": ["It sails at nine.", "Bread is at noon."]}')
    (document,), _, _ = read(path, in_folder=True)
    assert document.text == "It sails at nine.\nBread is at noon."


# Arrow


TABLE = pa.table({"_id": [1, 2], "text": ["x", "y"], "tags": [["p"], None]})


def _stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.feather.write_feather(table, sink, compression="zstd")
    return sink.getvalue()


@pytest.mark.parametrize("name", ["a.feather", "a.arrow"])
@pytest.mark.parametrize("made", [_stream, _file])
def test_feather_and_arrow_are_read_as_parquet_is(tmp_path: Path, name: str, made: Any) -> None:
    documents, rejections, _ = read(write(tmp_path / name, made(TABLE)))
    assert [(d.doc_id, d.text, d.metadata) for d in documents] == [
        ("1", "x", {"tags": ["p"]}),
        ("2", "y", {"tags": None}),
    ]
    assert rejections == []


def test_all_rows_of_a_large_batch_are_read(tmp_path: Path) -> None:
    table = pa.table({"text": [f"row {n}" for n in range(5000)]})
    assert [text for _, text in texts(write(tmp_path / "a.arrow", _stream(table)))] == [
        f"row {n}" for n in range(5000)
    ]


@pytest.mark.parametrize("made", [_stream, _file])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_a_damaged_arrow_file_is_rejected(tmp_path: Path, made: Any, share: float) -> None:
    content = made(pa.table({"text": ["x" * 100] * 100}))
    path = write(tmp_path / "a.feather", content[: int(len(content) * share)])
    documents, (rejection,), _ = read(path)
    assert documents == []
    assert "Arrow" in rejection.reason or rejection.reason == "empty"


def test_version_1_of_feather_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.feather", b"FEA1" + bytes(50) + b"FEA1")
    assert read(path)[1][0].reason.startswith("Feather version 1")
