"""`ettin search --retriever`, query constraints and folding on the command line."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.index.lexicon import LEXICAL
from ettin_cli.index.manifest import read_manifest, write_manifest
from tests.conftest import Ettin, Outcome
from tests.indexes import jsonl

TEXTS = {
    "fare": "a ferry ticket costs four coins",
    "port": "call readFile on localhost:8080 of the ferry",
    "bread": "knead the dough and bake the bread",
    "again": "a ferry ticket costs four coins",
}


@pytest.fixture
def indexed(ettin: Ettin, tmp_path: Path) -> Ettin:
    jsonl(tmp_path / "t.jsonl", **TEXTS)
    ettin("index", str(tmp_path / "t.jsonl"), "-i", "i")
    return ettin


def search(ettin: Ettin, *words: str) -> Outcome:
    return ettin("search", "-i", "i", "-r", "none", *words)


def hits(ran: Outcome) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    found: list[dict[str, Any]] = json.loads(ran.out)["hits"]
    return found


def ids(ran: Outcome) -> list[str]:
    return [hit["doc_id"] for hit in hits(ran)]


def test_a_hybrid_hit_has_the_place_of_both_retrievers(indexed: Ettin) -> None:
    for hit in hits(search(indexed, "read_file ticket")):
        assert hit["retrieval"].keys() == {"dense", "bm25"}
        for place in hit["retrieval"].values():
            assert place.keys() == {"rank", "score"}
    alone = hits(search(indexed, "read_file ticket", "--retriever", "bm25"))
    assert {hit["doc_id"] for hit in alone} == {"fare", "port"}
    assert not any("retrieval" in hit for hit in alone)
    (row, *_) = csv.DictReader(io.StringIO(search(indexed, "ticket", "-f", "csv").out))
    assert json.loads(row["retrieval"])["bm25"]["rank"] == 1


def test_a_hit_lists_the_passages_of_the_same_text_and_a_run_has_their_documents(
    indexed: Ettin,
) -> None:
    (hit,) = hits(search(indexed, "ferry ticket", "-k", "1"))
    assert hit["doc_id"] == "fare"
    assert [one["doc_id"] for one in hit["duplicates"]] == ["again"]
    run = search(indexed, "ferry ticket", "-k", "1", "-f", "trec").out.split()
    assert run[2::6] == ["fare", "again"]
    both = hits(search(indexed, "ferry ticket", "-k", "2", "--fold", "none"))
    assert [one["doc_id"] for one in both] == ["again", "fare"]


def test_what_a_query_demands_holds_and_the_query_is_shown_as_it_was_typed(
    indexed: Ettin,
) -> None:
    ran = search(indexed, 'ferry -ticket "localhost:8080"')
    assert ids(ran) == ["port"]
    assert json.loads(ran.out)["query"] == 'ferry -ticket "localhost:8080"'
    dense = search(indexed, "ferry -ticket", "--retriever", "dense", "--fold", "none")
    assert set(ids(dense)) == TEXTS.keys()


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ('"?!"', '"?!" has no terms to search for'),
        ("title:ferry", "contains only exclusions or fields"),
    ],
)
def test_a_demand_that_cannot_be_met_is_refused(indexed: Ettin, query: str, problem: str) -> None:
    ran = search(indexed, query)
    assert (ran.code, ran.out) == (2, "")
    assert problem in ran.err


def test_no_word_found_is_no_hit_and_said(indexed: Ettin) -> None:
    for query in ("?!", "zebra", "паром"):
        ran = search(indexed, query, "--retriever", "bm25")
        assert (hits(ran), "nothing in i contains a word of the query" in ran.err) == ([], True)
        assert set(ids(search(indexed, query, "--fold", "none"))) == TEXTS.keys()
    assert set(ids(search(indexed, "the of", "--retriever", "bm25"))) == {"bread", "port"}


def test_where_hits_are_narrowed_no_word_found_is_said_of_what_is_left(indexed: Ettin) -> None:
    ran = search(indexed, "dough -knead", "--retriever", "bm25")
    assert hits(ran) == []
    assert 'nothing in i that matches -"knead" contains a word of the query' in ran.err


def test_words_cut_by_another_version_are_told_of_and_renewed(
    indexed: Ettin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ettin_cli.text.lexical.terms.VERSION", 99)
    for retriever, told in (("bm25", True), ("hybrid", True), ("dense", False)):
        ran = search(indexed, "ferry", "--retriever", retriever)
        assert ("the BM25 terms of i are from a different version" in ran.err) == told
    assert " 0 passages embedded, " in indexed("index", "-i", "i").err
    ran = search(indexed, "ferry", "--retriever", "bm25")
    assert ids(ran) == ["fare", "port"]
    assert "another version" not in ran.err


def test_an_index_without_words_is_searched_by_embeddings_until_it_gets_them(
    indexed: Ettin,
) -> None:
    manifest = read_manifest(Path("i"))
    for name in LEXICAL:
        (Path("i") / "generations" / manifest.generation / name).unlink()
    files = {name: one for name, one in manifest.files.items() if name not in LEXICAL}
    write_manifest(Path("i"), replace(manifest, files=files, language=None))
    ran = search(indexed, "ferry")
    assert len(hits(ran)) == 3
    assert "using dense retrieval: i has no BM25 terms" in ran.err
    for retriever, query in (("bm25", "ferry"), ("hybrid", "ferry"), ("auto", "ferry -ticket")):
        ran = search(indexed, query, "--retriever", retriever)
        assert (ran.code, ran.out) == (1, "")
        assert "i has no BM25 terms, only vectors\n  hint: add them: ettin index -i i" in ran.err
    assert " 0 passages embedded, " in indexed("index", "-i", "i").err
    assert ids(search(indexed, "ferry", "--retriever", "bm25")) == ["fare", "port"]
