"""`ettin rerank` reads files of other tools, and keeps all of their fields."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ettin_cli.files.requests.fields import RequestFields, listed, pair
from tests.conftest import Ettin

USUAL = RequestFields()
TEXTS = {"d1": "The ferry sails at nine.", "d2": "Bread is baked at dawn.", "d3": "Dogs sleep."}
FERRY = "when does the ferry sail"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_of(text: str) -> list[tuple[str, str]]:
    return [(row.split()[0], row.split()[2]) for row in text.splitlines()]


# Ids


@pytest.mark.parametrize(
    "name",
    ["_id", "id", "doc_id", "docno", "docid", "pid", "passage_id", "document_id", "corpus_id"],
)
def test_a_documents_id_goes_by_many_names_in_lists_and_in_pairs(name: str) -> None:
    [found] = listed({"query": "q", "documents": [{name: "D", "text": "t"}]}, USUAL).candidates
    assert (found.passage.doc_id, found.passage.metadata) == ("D", {})
    alone = pair({"query": "q", "text": "t", name: "D"}, USUAL)
    assert (alone.candidate.passage.doc_id, alone.candidate.passage.metadata) == ("D", {})


@pytest.mark.parametrize("name", ["query_id", "qid", "query-id", "queryid"])
def test_a_querys_id_goes_by_many_names(name: str) -> None:
    assert listed({"query": "q", name: 7, "documents": []}, USUAL).query_id == "7"
    assert pair({"query": "q", name: "Q", "id": "D", "text": "t"}, USUAL).query_id == "Q"


def test_a_rows_own_id_is_the_documents_where_it_has_no_better_one() -> None:
    row = {"query": "q", "text": "t", "id": "row", "docid": "D", "passage_id": 3}
    found = pair(row, USUAL).candidate.passage
    assert (found.doc_id, found.metadata) == ("D", {"id": "row", "passage_id": 3})


def test_an_id_that_is_empty_gives_way_to_the_next_name() -> None:
    document = {"_id": None, "id": "", "docid": "D", "text": "t"}
    [found] = listed({"query": "q", "documents": [document]}, USUAL).candidates
    assert found.passage.doc_id == "D"


def test_numbers_that_json_cannot_tell_apart_are_no_ids(ettin: Ettin, tmp_path: Path) -> None:
    ids = (2**64 + 1, 2**64 + 2, 2**64 - 1)
    documents = ", ".join(f'{{"id": {one}, "text": "a"}}' for one in ids)
    (tmp_path / "in.jsonl").write_text(f'{{"query": "q", "documents": [{documents}]}}\n')
    done = ettin("rerank", "in.jsonl", "-r", "embedded", "-f", "trec")
    assert (done.code, run_of(done.out)) == (3, [("1", str(2**64 - 1))])
    assert 'documents[1]: "id" is a number too large to be read exactly' in done.err


def test_a_trec_run_has_the_ids_of_the_input(ettin: Ettin, tmp_path: Path) -> None:
    rows = [{"qid": "q7", "query": FERRY, "docid": key, "text": TEXTS[key]} for key in TEXTS]
    write(tmp_path / "in.jsonl", *rows)
    done = ettin("rerank", "in.jsonl", "-r", "embedded", "-f", "trec")
    assert sorted(run_of(done.out)) == [("q7", "d1"), ("q7", "d2"), ("q7", "d3")]
    assert run_of(done.out)[0] == ("q7", "d1")
    assert "without an id" not in done.err


def test_positions_that_stand_for_ids_are_said(ettin: Ettin, tmp_path: Path) -> None:
    documents = [TEXTS["d2"], {"id": "d1", "text": TEXTS["d1"]}, {"key": "d3", "text": "Dogs."}]
    write(tmp_path / "in.jsonl", {"query": FERRY, "documents": documents})
    said = "ettin: 2 documents without an id: positions from 0 are used as ids"
    for format in ("jsonl", "trec"):
        done = ettin("rerank", "in.jsonl", "-r", "embedded", "-f", format, "-q")
        assert done.code == 0
        assert said in done.err
        assert ("a document has no id" in done.err) == (format == "trec")
    named = ettin("rerank", "in.jsonl", "-r", "embedded", "-f", "trec", "--id-field", "key")
    assert sorted(run_of(named.out)) == [("1", "0"), ("1", "1"), ("1", "d3")]


# All fields are kept


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_tables_hold_the_query_and_its_other_fields(
    ettin: Ettin, tmp_path: Path, suffix: str
) -> None:
    own = {"topic": "boats", "rank": 3, "deep": {"a": [1, "é"]}}
    documents = [{"id": key, "text": text, "shelf": 4} for key, text in TEXTS.items()]
    asked = {"query_id": "a", "query": 'say "ferry",\tplease', **own, "documents": documents}
    plain = {"query_id": "b", "query": "bread", "documents": documents[:1]}
    write(tmp_path / "in.jsonl", asked, plain)
    assert ettin("rerank", "in.jsonl", "-r", "embedded", "-o", f"out.{suffix}").code == 0
    if suffix == "parquet":
        rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    else:
        with (tmp_path / f"out.{suffix}").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="," if suffix == "csv" else "\t"))
    assert [row["query"] for row in rows] == [asked["query"]] * 3 + ["bread"]
    assert [json.loads(row["query_fields"]) for row in rows[:3]] == [own] * 3
    assert not rows[3]["query_fields"]
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 1]
    assert {row["metadata"] for row in rows} == {'{"shelf":4}'}


def test_a_table_of_a_search_can_be_reranked(ettin: Ettin, docs: Path, tmp_path: Path) -> None:
    ettin("search", FERRY, str(docs), "-r", "none", "-o", "found.csv")
    done = ettin("rerank", "found.csv", "-r", "embedded")
    assert done.code == 0
    [answer] = lines(done.out)
    with (tmp_path / "found.csv").open(newline="", encoding="utf-8") as file:
        found = {row["doc_id"]: row["text"] for row in csv.DictReader(file)}
    assert answer["query"] == FERRY
    assert {hit["doc_id"]: hit["text"] for hit in answer["hits"]} == found


# Requests of other tools


RANKLLM = {
    "query": {"text": FERRY, "qid": 264014, "lang": "en"},
    "candidates": [
        {"docid": "d2", "score": 9.5, "doc": {"contents": TEXTS["d2"], "url": "u"}},
        {"docid": "d1", "score": 8, "doc": {"id": "raw", "title": "T", "segment": TEXTS["d1"]}},
        {"docid": 3, "score": 7, "doc": {"title": TEXTS["d3"]}},
        {"docid": "d4", "score": 6, "doc": "A text by itself."},
    ],
}


@pytest.mark.parametrize("name", ["in.json", "in.jsonl"])
def test_requests_of_rankllm_are_read(ettin: Ettin, tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, RANKLLM)
    if name == "in.json":
        path.write_text(json.dumps([RANKLLM], indent=1))
    done = ettin("rerank", name, "-r", "embedded", "-f", "jsonl")
    assert done.code == 0, done.err
    [answer] = lines(done.out)
    assert (answer["query_id"], answer["query"], answer["lang"]) == ("264014", FERRY, "en")
    found = {hit["doc_id"]: hit for hit in answer["hits"]}
    assert {key: hit["text"] for key, hit in found.items()} == {
        "d2": TEXTS["d2"],
        "d1": TEXTS["d1"],
        "3": TEXTS["d3"],
        "d4": "A text by itself.",
    }
    assert found["d1"]["title"] == "T"
    assert {key: hit["retrieval_score"] for key, hit in found.items()} == {
        "d2": 9.5,
        "d1": 8.0,
        "3": 7.0,
        "d4": 6.0,
    }
    assert found["d2"]["metadata"] == {"score": 9.5, "url": "u"}
    assert answer["hits"][0]["doc_id"] == "d1"


def test_a_candidate_whose_document_has_no_text_is_named() -> None:
    row = listed({"query": {"text": "q"}, "candidates": [{"docid": 1, "doc": {"url": "u"}}]}, USUAL)
    assert [*map(str, row.reasons)] == [
        'candidates[0]: no "text" field; the fields are "url", "docid"'
    ]
    row = listed({"query": "q", "candidates": [{"docid": 1, "doc": 5}]}, USUAL)
    assert [*map(str, row.reasons)] == ['candidates[0]: "doc" is neither a string nor an object']


def test_fields_can_be_dotted_paths(ettin: Ettin, tmp_path: Path) -> None:
    nodes = [
        {"node": {"text": text, "lang": "en", "metadata": {"source": key}}, "score": 1.5}
        for key, text in TEXTS.items()
    ]
    write(tmp_path / "in.jsonl", {"ask": {"words": FERRY, "by": "x"}, "found": {"nodes": nodes}})
    done = ettin(
        *("rerank", "in.jsonl", "-r", "embedded", "--query-field", "ask.words"),
        *("--documents-field", "found.nodes", "--text-field", "node.text"),
        *("--id-field", "node.metadata.source"),
    )
    [answer] = lines(done.out)
    assert answer["query"] == FERRY
    assert {hit["doc_id"]: hit["text"] for hit in answer["hits"]} == TEXTS
    assert answer["hits"][0]["metadata"] == {"node": {"lang": "en"}, "score": 1.5}
    assert "found" not in answer


def test_a_named_list_that_is_not_there_is_what_is_said(ettin: Ettin, tmp_path: Path) -> None:
    row = {"query": FERRY, "text": "Boats.", "found": [{"text": TEXTS["d1"]}]}
    write(tmp_path / "in.jsonl", row)
    words = ("rerank", "in.jsonl", "-r", "embedded", "--documents-field")
    done = ettin(*words, "found.nodes")
    assert (done.code, done.out) == (1, "")
    assert 'a pair: no "found.nodes" field' in done.err
    write(tmp_path / "in.jsonl", {"query": FERRY, "text": "Boats."}, row)
    done = ettin(*words, "found")
    assert (done.code, len(lines(done.out))) == (3, 1)
    assert 'in.jsonl:1: no "found" field' in done.err


def test_a_corpus_is_read_by_dotted_paths_too(ettin: Ettin, tmp_path: Path) -> None:
    rows = [{"node": None, "n": 1}]
    rows += [{"node": {"text": text, "id": key}, "port": key} for key, text in TEXTS.items()]  # type: ignore[dict-item]
    write(tmp_path / "corpus.jsonl", *rows)
    paths = ("--text-field", "node.text", "--id-field", "node.id")
    made = ettin("index", "corpus.jsonl", "-i", "made", *paths)
    assert made.code == 3
    assert 'corpus.jsonl:1: no "node.text" field' in made.err
    done = ettin("search", FERRY, "-i", "made", "-r", "none", "-f", "jsonl")
    [answer] = lines(done.out)
    assert {hit["doc_id"]: hit["text"] for hit in answer["hits"]} == TEXTS
    assert {hit["doc_id"]: hit["metadata"] for hit in answer["hits"]} == {
        key: {"port": key} for key in TEXTS
    }


def test_parquet_may_hold_lists_of_structs(ettin: Ettin, tmp_path: Path) -> None:
    documents = [{"id": key, "text": text} for key, text in TEXTS.items()]
    kind = pa.list_(pa.struct([("id", pa.string()), ("text", pa.string())]))
    table = pa.table({"qid": ["a"], "query": [FERRY], "documents": pa.array([documents], kind)})
    pq.write_table(table, tmp_path / "in.parquet")
    done = ettin("rerank", "in.parquet", "-r", "embedded", "-f", "trec")
    assert sorted(run_of(done.out)) == [("a", "d1"), ("a", "d2"), ("a", "d3")]
    assert run_of(done.out)[0] == ("a", "d1")


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_training_data_is_reranked_as_positives_and_negatives(
    ettin: Ettin, tmp_path: Path, suffix: str
) -> None:
    row = {"query": FERRY, "positive": TEXTS["d1"], "negative": TEXTS["d2"], "source": "s"}
    path = write(tmp_path / f"in.{suffix}", row)
    if suffix == "csv":
        path.write_text("\n".join([",".join(row), ",".join(row.values())]) + "\n")
    [answer] = lines(ettin("rerank", path.name, "-r", "embedded").out)
    assert answer["source"] == "s"
    assert [(hit["text"], hit["metadata"]["label"]) for hit in answer["hits"]] == [
        (TEXTS["d1"], 1),
        (TEXTS["d2"], 0),
    ]
    assert not {"positive", "negative"} & answer.keys()


def test_the_query_of_training_data_may_have_any_name(ettin: Ettin, tmp_path: Path) -> None:
    row = {"anchor": FERRY, "positive": TEXTS["d1"], "negative": TEXTS["d2"]}
    write(tmp_path / "triplets.jsonl", row)
    done = ettin("rerank", "triplets.jsonl", "-r", "embedded", "--query-field", "anchor")
    assert done.code == 0
    [answer] = lines(done.out)
    assert answer["query"] == FERRY
    assert [hit["text"] for hit in answer["hits"]] == [TEXTS["d1"], TEXTS["d2"]]


def test_mined_negatives_keep_their_ids() -> None:
    mined = {"query": "q", "positive": ["p"], "negatives": ["m", "n"], "negative_ids": ["a", "b"]}
    found = listed(mined, USUAL)
    assert [one.passage.doc_id for one in found.candidates] == ["0", "a", "b"]
    assert (found.unnamed, found.fields) == (1, {})


# Tables without a header


TOP = f'q1\td1\t{FERRY}\t"{TEXTS["d1"]}" he said\nq1\td2\t{FERRY}\t{TEXTS["d2"]}\n'


@pytest.mark.parametrize("header", ["", "qid\tpid\tquery\tpassage\n"])
def test_columns_can_be_named(ettin: Ettin, tmp_path: Path, header: str) -> None:
    (tmp_path / "top.tsv").write_text(header + TOP)
    words = ("rerank", "top.tsv", "-r", "embedded", "--fields", "qid, pid,query,passage")
    [answer] = lines(ettin(*words).out)
    assert (answer["query_id"], answer["query"]) == ("q1", FERRY)
    assert {hit["doc_id"]: hit["text"] for hit in answer["hits"]} == {
        "d1": f'"{TEXTS["d1"]}" he said',
        "d2": TEXTS["d2"],
    }


def test_a_row_with_another_number_of_columns_is_named(ettin: Ettin, tmp_path: Path) -> None:
    (tmp_path / "top.tsv").write_text(TOP + "q1\td3\n")
    done = ettin("rerank", "top.tsv", "-r", "embedded", "--fields", "qid,pid,query,passage")
    assert done.code == 3
    assert "rejected top.tsv:3: 2 fields, but 4 column names" in done.err
    assert len(lines(done.out)[0]["hits"]) == 2


def test_pairs_to_score_and_the_corpus_of_a_run_may_lack_a_header_too(
    ettin: Ettin, tmp_path: Path
) -> None:
    (tmp_path / "top.tsv").write_text(TOP)
    named = ("-r", "embedded", "--fields", "qid,pid,query,passage")
    rows = lines(ettin("score", "--pairs", "top.tsv", *named).out)
    assert [(row["qid"], row["pid"], row["query"]) for row in rows] == [
        ("q1", "d1", FERRY),
        ("q1", "d2", FERRY),
    ]
    assert rows[0]["score"] > rows[1]["score"]
    (tmp_path / "collection.tsv").write_text("".join(f"{k}\t{v}\n" for k, v in TEXTS.items()))
    (tmp_path / "queries.tsv").write_text(f"q1\t{FERRY}\n")
    (tmp_path / "run.trec").write_text("q1 Q0 d2 1 2 x\nq1 Q0 d1 2 1 x\n")
    done = ettin(
        *("rerank", "run.trec", "--queries", "queries.tsv", "--corpus", "collection.tsv"),
        *("--fields", "id,text", "-r", "embedded", "-f", "trec"),
    )
    assert (done.code, run_of(done.out)) == (0, [("q1", "d1"), ("q1", "d2")])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rerank", "in.jsonl", "--fields", "qid,query"), "column names need a CSV or TSV"),
        (("rerank", "-", "--fields", "qid,query"), "column names need a CSV or TSV"),
        (("rerank", "in.jsonl", "--fields", "qid,,query"), "an empty or duplicate name"),
        (("rerank", "in.jsonl", "--fields", "a,b,a"), "an empty or duplicate name"),
        (("score", "q", "t", "--fields", "a,b"), "--fields needs --pairs"),
        (("score", "q", "t", "--resume"), "--resume needs --pairs"),
        (("score", "--pairs", "in.jsonl", "--resume"), "--resume needs an output file"),
    ],
)
def test_columns_that_make_no_sense_are_one_line(
    ettin: Ettin, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    write(tmp_path / "in.jsonl", {"query": "q", "documents": ["d"]})
    done = ettin(*words, "-r", "embedded")
    assert (done.code, done.out) == (2, "")
    assert said in done.err


# The name of a run


def test_a_run_can_be_given_a_name(ettin: Ettin, docs: Path, tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", {"query": FERRY, "documents": [{"id": "d", "text": "t"}]})
    (tmp_path / "q.tsv").write_text(f"1\t{FERRY}\n")
    for words in (
        ("rerank", "in.jsonl", "-r", "embedded"),
        ("search", FERRY, str(docs), "-r", "none"),
        ("search", "--queries", "q.tsv", str(docs), "-r", "none"),
    ):
        for tag in ("mine-1", None):
            more = ("--tag", tag) if tag else ()
            shown = ettin(*words, *more, "-f", "trec").out
            assert {row.split()[5] for row in shown.splitlines()} == {tag or "ettin"}
            assert ettin(*words, *more, "-o", "run.trec").code == 0
            assert (tmp_path / "run.trec").read_text() == shown


@pytest.mark.parametrize(
    ("tag", "format", "said"),
    [
        ("a b", "trec", "contains white space"),
        ("a\u00a0b", "trec", "contains white space"),
        ("", "trec", "is empty"),
        ("a", "jsonl", "--tag needs TREC output"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    ettin: Ettin, tmp_path: Path, tag: str, format: str, said: str
) -> None:
    write(tmp_path / "in.jsonl", {"query": FERRY, "documents": ["d"]})
    done = ettin("rerank", "in.jsonl", "-r", "embedded", "--tag", tag, "-f", format)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_position_that_stands_in_for_an_id_is_no_id_of_another_document(
    ettin: Ettin, tmp_path: Path
) -> None:
    documents = ["The ferry.", {"id": "0", "text": "A boat."}, {"id": "#0", "text": "Bread."}]
    row = {"query": "ferry", "documents": documents}
    (tmp_path / "in.jsonl").write_text(json.dumps(row))
    done = ettin("rerank", "in.jsonl", "-r", "embedded", "-f", "trec")
    assert {line.split()[2] for line in done.out.splitlines()} == {"0", "#0", "##0"}
    assert "repeat" not in done.err
