"""A file of queries gives each with its id, or names the line that is none."""

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ettin_cli.errors import CorpusError
from ettin_cli.queries import read_queries
from ettin_cli.records import Query

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
        ('{"_id": null, "text": "x"}', ":1: an id that is neither a string nor a number"),
        ('{"_id": true, "text": "x"}', ":1: an id that is neither"),
        ('{"_id": ["a"], "text": "x"}', ":1: an id that is neither"),
        ('{"_id": 123456789012345678901, "text": "x"}', ":1: an id that is too large a number"),
        ('{"_id": " ", "text": "x"}', ":1: empty id"),
        ("\tx", ":1: empty id"),
        ("a\tx\n \ty\n", ":2: empty id"),
        ('{"_id": "1", "text": ""}', ":1: empty query"),
        ('{"_id": "1", "text": 5}', ':1: no "text" of a query'),
        ("{not json} at all", ":1: broken JSON: "),
        ("a\tx\nb\ty\na\tz\n", ':3: a second query with the id "a"'),
        ('a query\n{"_id": 1, "text": "x"}\n', ':2: a second query with the id "1"'),
        (b"a\tx\nb\t\xff\n", ":2: not UTF-8"),
        ("a\tx\n".encode("utf-16"), ":1: not UTF-8"),
    ],
)
def test_a_line_that_is_no_query_is_named_with_what_one_looks_like(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    with pytest.raises(CorpusError, match=re.escape(f"{tmp_path / 'q'}{said}")) as refused:
        queries(tmp_path / "q", content)
    assert str(refused.value.hint).startswith("a line is ")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("q.jsonl", '{"text": "x"}\nwhen does it sail\n', "2: not a JSON object"),
        ("q.json", '[\n{"text": "x"}\n]\n', "1: not a JSON object"),
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


def test_queries_may_come_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\tx\n\tno\n")))
    found = read_queries(Path("-"))
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
