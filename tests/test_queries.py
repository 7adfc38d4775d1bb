"""A query file yields each query with its id, or an error with the invalid line."""

import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import CorpusError
from ettin_cli.files.beir import QUERIES, beir_file
from ettin_cli.files.queries import read_queries
from ettin_cli.records import Query
from ettin_cli.storage import Stream

ID = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), min_size=1
).filter(str.strip)
LINE = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1
).filter(str.strip)


def queries(path: Path, content: str | bytes) -> list[Query]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_queries(path))


@given(st.dictionaries(ID, LINE, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_json_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, str], end: str
) -> None:
    rows = [json.dumps({"_id": query_id, "text": text}) for query_id, text in wanted.items()]
    path = tmp_path_factory.getbasetemp() / "queries.jsonl"
    assert queries(path, end.join(rows)) == [Query(*query) for query in wanted.items()]


@given(st.dictionaries(ID.filter(lambda one: not one.lstrip().startswith("{")), LINE, max_size=6))
def test_tabs_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, str]
) -> None:
    content = "".join(f"{query_id}\t{text}\n" for query_id, text in wanted.items())
    path = tmp_path_factory.getbasetemp() / "queries.tsv"
    assert queries(path, content) == [Query(*query) for query in wanted.items()]


def test_lines_are_queries_and_their_numbers_are_the_ids(tmp_path: Path) -> None:
    found = queries(tmp_path / "q", "when does the ferry sail\n\n  \nwhat does it cost\n")
    assert found == [Query("1", "when does the ferry sail"), Query("4", "what does it cost")]


@pytest.mark.parametrize(
    ("record", "query_id"),
    [
        ({"_id": 3}, "3"),
        ({"qid": "a b"}, "a b"),
        ({"id": 0}, "0"),
        ({"query_id": "x", "id": "y"}, "y"),
        ({}, "1"),
    ],
)
def test_an_id_is_found_under_its_usual_names(
    tmp_path: Path, record: dict[str, object], query_id: str
) -> None:
    assert queries(tmp_path / "q", json.dumps(record | {"question": "why"}))[0].query_id == query_id


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"_id": null, "text": "x"}', ":1: the id is neither a string nor a number"),
        ('{"_id": true, "text": "x"}', ":1: the id is neither"),
        ('{"_id": ["a"], "text": "x"}', ":1: the id is neither"),
        ('{"_id": 123456789012345678901, "text": "x"}', ":1: the id is too large a number"),
        ('{"_id": " ", "text": "x"}', ":1: empty id"),
        ("\tx", ":1: empty id"),
        ("a\tx\n \ty\n", ":2: empty id"),
        ('{"_id": "1", "text": ""}', ":1: empty query"),
        ('{"_id": "1", "text": 5}', ':1: no "text" of a query'),
        ("{not json} at all", ":1: broken JSON: "),
        ("a\tx\nb\ty\na\tz\n", ':3: duplicate query id "a"'),
        ('a query\n{"_id": 1, "text": "x"}\n', ':2: duplicate query id "1"'),
        (b"a\tx\nb\t\xff\n", ":2: not UTF-8"),
        ("a\tx\n".encode("utf-16")[:-1], ": not utf-16, contrary to its byte order mark"),
    ],
)
def test_a_line_that_is_no_query_is_named_with_what_one_looks_like(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    with pytest.raises(CorpusError, match=re.escape(f"{tmp_path / 'q'}{said}")) as refused:
        queries(tmp_path / "q", content)
    assert str(hint_of(refused.value)).startswith("a line is ")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("q.jsonl", '{"text": "x"}\nwhen does it sail\n', "2: not a JSON object"),
        ("q.json", '[\n{"text": "x"}\n', "2: broken JSON: "),
        ("q.tsv", "a\tx\n2\n", "2: no tab between an id and a query"),
    ],
)
def test_a_file_named_as_jsonl_or_tsv_holds_no_bare_lines(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    with pytest.raises(CorpusError, match=f"{name}:{said}"):
        queries(tmp_path / name, content)


def test_queries_before_a_broken_line_are_given(tmp_path: Path) -> None:
    (tmp_path / "q").write_text('a\tx\n{"text": \n')
    found = read_queries(tmp_path / "q")
    assert next(found) == Query("a", "x")
    with pytest.raises(CorpusError, match=":2: broken JSON"):
        next(found)


def test_queries_may_come_from_a_stream() -> None:
    found = read_queries(Stream(io.BytesIO(b"a\tx\n\tno\n")))
    assert next(found) == Query("a", "x")
    with pytest.raises(CorpusError, match="-:2: empty id"):
        next(found)


def test_a_folder_is_no_file_of_queries(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot read the queries in .*Is a directory"):
        list(read_queries(tmp_path))


def test_a_query_may_have_several_forms(tmp_path: Path) -> None:
    (tmp_path / "q").write_text('{"_id": "1", "text": ["ferry times", "when does it sail"]}\n')
    [query] = read_queries(tmp_path / "q")
    assert (query.text, query.forms) == ("ferry times", ("when does it sail",))


@pytest.mark.parametrize("text", ["[]", '["a", ""]', '["a", 1]', "{}"])
def test_forms_that_are_no_texts_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "q").write_text(f'{{"_id": "1", "text": {text}}}\n')
    with pytest.raises(CorpusError, match=":1: "):
        list(read_queries(tmp_path / "q"))


# Tables and topics


WANTED = [Query("q1", "when does the ferry sail"), Query("q2", "bread, baked")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.csv", 'id,query\nq1,when does the ferry sail\nq2,"bread, baked"\n'),
        ("q.csv", '"Text","lang","QID"\n\nwhen does the ferry sail,en,q1\n"bread, baked",en,q2\n'),
        ("q.tsv", "qid\tquery\nq1\twhen does the ferry sail\nq2\tbread, baked\n"),
        ("q.tsv", "lang\ttext\t_id\nen\twhen does the ferry sail\tq1\nen\tbread, baked\tq2\n"),
        ("q.tsv", "\ufeffquery-id\tquestion\r\nq1\twhen does the ferry sail\r\nq2\tbread, baked"),
        ("q.csv", "id;query\nq1;when does the ferry sail\nq2;bread, baked\n"),
        ("q.csv", "sep=|\nid|query\nq1|when does the ferry sail\nq2|bread, baked\n"),
        ("q.txt", "ID;Query\nq1;when does the ferry sail\nq2;bread, baked\n"),
        ("q.csv", 'id, query,,\nq1, when does the ferry sail,,\nq2, "bread, baked",,\n'),
        ("q.txt", "id\ttext\nq1\twhen does the ferry sail\nq2\tbread, baked\n"),
        ("q.txt", 'id,text\nq1,when does the ferry sail\nq2,"bread, baked"\n'),
        ("q.tsv", "q1\twhen does the ferry sail\nq2\tbread, baked\n"),
    ],
)
def test_a_table_is_read_by_the_names_of_its_columns(
    tmp_path: Path, name: str, content: str
) -> None:
    assert queries(tmp_path / name, content) == WANTED


def test_a_cell_may_hold_a_line_break_and_a_column_alone_is_numbered(tmp_path: Path) -> None:
    assert queries(tmp_path / "q.csv", 'query\n"two\nlines"\n\nthree\n') == [
        Query("2", "two\nlines"),
        Query("5", "three"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("q.csv", "q1,when does it sail\nq2,bread\n", "2: the header has no column text,"),
        ("q.csv", "number,query\n1,x\n", "2: the header has no column _id, id,"),
        ("q.tsv", "number\tquery\n1\tx\n", "2: the header has no column _id, id,"),
        ("q.csv", "id,text\n1,x,y\n", "2: 3 fields, but the header has 2"),
        ("q.csv", "id,text\n1,x\n2, \n", "3: empty query"),
        ("q.csv", "id,text\n1,x\n\n1,y\n", '4: duplicate query id "1"'),
        ("q.csv", "id,id,text\n1,1,x\n", '1: 2 columns are named "id"'),
        ("q.csv", "\nq1,when does it sail\n", "2: the header has no column text,"),
        ("q.csv", "when does it sail", "1: the header has no column text,"),
        ("q.csv", "lang,text\n\n", "1: the header has no column _id, id,"),
    ],
)
def test_a_table_that_holds_no_queries_is_one_line(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    with pytest.raises(CorpusError, match=re.escape(f"{tmp_path / name}:{said}")):
        queries(tmp_path / name, content)


@pytest.mark.parametrize("content", ["id,text\n", '"ID","a ""B""","text"', "query\n\n"])
def test_a_header_alone_holds_no_queries(tmp_path: Path, content: str) -> None:
    assert queries(tmp_path / "q.csv", content) == []


def test_a_query_may_be_a_name_of_a_column(tmp_path: Path) -> None:
    assert queries(tmp_path / "q.tsv", "17\tquery\n18\ttext\n") == [
        Query("17", "query"),
        Query("18", "text"),
    ]
    assert queries(tmp_path / "q.txt", "text\nwhat is text, really\n") == [
        Query("1", "text"),
        Query("2", "what is text, really"),
    ]


TOPICS = """
<top>
<num> Number: 301 </num>
<title> International
   Organized Crime

<desc> Description:
Identify organizations & <b>groups</b>.
</top>

<TOP>
<num>302
<title>Topic: Poliomyelitis</title>
<narr> Narrative: none </TOP>
"""


@pytest.mark.parametrize("name", ["topics.trec", "topics.txt", "topics"])
def test_trec_topics_are_their_numbers_and_titles(tmp_path: Path, name: str) -> None:
    assert queries(tmp_path / name, TOPICS) == [
        Query("301", "International Organized Crime"),
        Query("302", "Poliomyelitis"),
    ]


def test_a_title_may_hold_a_less_than_sign(tmp_path: Path) -> None:
    content = "<top>\n<num> 1\n<title> cost < 5 & <3\n<desc> x\n</top>\n"
    assert queries(tmp_path / "q.trec", content) == [Query("1", "cost < 5 & <3")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<top>\n<num> 1\n<title> x\n", "1: a topic without </top>"),
        ("<top>\n<num> 1\n<desc> x\n</top>\n", "1: a topic without a <title>"),
        ("<top>\n<title> x\n</top>\n", "1: a topic without a <num>"),
        ("<top>\n<num>1<title>x\n</top>\nx\n", "4: expected <top> at the start of a topic"),
        ("<top><num>1<title>x</top>\n<top><num>1<title>y</top>", "2: duplicate query id"),
        ('<?xml version="1.0"?>\n<topics>\n', "2: broken XML: "),
        ("<queries>\n</queries>\n", "1: XML that is not a list of TREC topics (<top>, <topic>)"),
        ('<topics task="x">\n<topic number="1">\n</topic></topics>', " topic 1 without a title"),
        ("<topics>\n<topic><title>x</title>\n</topic></topics>", " topic 1 without a number"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>\n<topics/>', "1: XML with a document type declaration"),
    ],
)
def test_topics_that_cannot_be_read_are_one_line(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(CorpusError, match=re.escape(f"{tmp_path / 'q.trec'}:{said}")):
        queries(tmp_path / "q.trec", content)


@pytest.mark.parametrize(
    "content",
    [
        """<?xml version="1.0" encoding="UTF-8"?>
<topics task="COVIDSearch">
  <topic number="301"><query>International <i>Organized</i>
    Crime</query><question>What is it?</question></topic>
  <topic number="302"><title>Poliomyelitis &amp; more</title><query>x</query></topic>
</topics>""",
        """<topic><num>301</num><title>International Organized Crime</title></topic>
<topic><num>302</num><title>Poliomyelitis &amp; more</title></topic>""",
        """<topics>\n<topic id="301">International Organized\nCrime</topic>
<topic id="302">Poliomyelitis &amp; more</topic></topics>""",
    ],
)
def test_topics_in_xml_are_their_numbers_and_titles(tmp_path: Path, content: str) -> None:
    assert queries(tmp_path / "q.xml", content) == [
        Query("301", "International Organized Crime"),
        Query("302", "Poliomyelitis & more"),
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_queries_are_read_by_their_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    content = "id\tquery\r\nq1\tüber die Fähre\r\n".encode(encoding)
    assert queries(tmp_path / "q.csv", content) == [Query("q1", "über die Fähre")]
    assert queries(tmp_path / "q.txt", content) == [Query("q1", "über die Fähre")]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_compressed_queries_are_read_by_the_suffix_before(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    packed = ".gz" if pack is gzip.compress else ".ZST"
    for name, content in {
        "q.jsonl": '{"_id": "q1", "text": "x"}\n',
        "q.csv": "text;id\nx;q1\n",
        "topics": "<top>\n<num> Number: q1\n<title> x\n</top>\n",
    }.items():
        assert queries(tmp_path / f"{name}{packed}", pack(content.encode())) == [Query("q1", "x")]
    broken = pack(b'{"_id": "q1", "text": "x"}\nq2\tplain\n')
    with pytest.raises(CorpusError, match=f"q.jsonl{packed}:2: not a JSON object"):
        queries(tmp_path / f"q.jsonl{packed}", broken)
    with pytest.raises(CorpusError, match="compressed data is damaged or truncated"):
        queries(tmp_path / f"q.jsonl{packed}", pack(b"q" * 99)[:-9])


def test_an_array_of_queries_is_read(tmp_path: Path) -> None:
    content = '[\n  {"_id": "q1", "text": "x"},\n  {"query": ["y", "z"]}\n]\n'
    assert queries(tmp_path / "q.json", content) == [Query("q1", "x"), Query("2", "y", ("z",))]
    with pytest.raises(CorpusError, match="query 2: not a JSON object"):
        queries(tmp_path / "q.json", '[{"text": "x"}, 5]')


def test_files_of_a_beir_folder_may_be_compressed(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl.gz").touch()
    assert beir_file(tmp_path, QUERIES).name == "queries.jsonl.gz"
    (tmp_path / "queries.jsonl").touch()
    assert beir_file(tmp_path, QUERIES).name == "queries.jsonl"
