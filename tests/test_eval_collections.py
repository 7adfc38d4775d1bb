"""`ettin eval`, `index`, `mine` and `search` with public collections by name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.collections import CQADUPSTACK, NANOBEIR_REPOSITORY, family
from ettin_cli.commands import eval_collections
from ettin_cli.models import embedders
from ettin_cli.settings import ETTIN_MODELS
from tests.conftest import Ettin
from tests.dataset_repositories import arguana, beir, cqadupstack, nanobeir
from tests.hub_server import Hub, Repository
from tests.models import embedder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Path]]:
    """A hub, and caches shared by the tests of this module."""
    nano = {f"datasets/{NANOBEIR_REPOSITORY}": Repository(nanobeir())}
    with Hub({**beir("fiqa"), **arguana(), **cqadupstack(), **nano}) as hub:
        yield hub, tmp_path_factory.mktemp("caches")


@pytest.fixture
def run(ettin: Ettin, shared: tuple[Hub, Path]) -> Ettin:
    hub, folder = shared
    hub.serve(ettin.monkeypatch, folder)
    return ettin


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_nanobeir_has_a_row_a_set_and_system_and_the_means(run: Ettin, tmp_path: Path) -> None:
    done = run("eval", "nanobeir", "-r", "embedded", "-o", str(tmp_path / "out"))
    assert done.code == 0, done.err
    rows = parsed(done.out)
    assert len(rows) == 2 * (13 + 2)
    by_set: dict[str, list[float]] = {}
    for row in rows:
        by_set.setdefault(row["collection"], []).append(row["nDCG@10"])
    names = [name for name in by_set if name.startswith("nanobeir/")]
    assert len(names) == 13
    for at in (0, 1):
        every = {name: by_set[name][at] for name in names}
        assert by_set["mean of 13"][at] == pytest.approx(sum(every.values()) / 13)
        kept = [v for name, v in every.items() if name[9:] not in ("arguana", "touche2020")]
        assert by_set["mean of 11"][at] == pytest.approx(sum(kept) / 11)
    assert [row["reranker"] for row in rows[-2:]] == ["none", "embedded"]
    assert {"RR@10", "AP"} <= rows[0].keys()
    assert "leaves out ArguAna and Touche2020" in done.err
    assert "nanobeir/msmarco: licence msr-la-nc, which forbids commercial use" in done.err
    assert (tmp_path / "out" / "msmarco" / "report.html").is_file()
    again = run("eval", "nanobeir", "-r", "embedded", "-f", "md", "--offline")
    assert again.code == 0, again.err
    header, _, *lines = [line.split("|")[1:-1] for line in again.out.splitlines()]
    assert [cell.strip() for cell in header] == ["nDCG@10", "given", "given with embedded"]
    assert lines[-1][0].strip() == "mean of 11"
    assert float(lines[-1][2]) == pytest.approx(rows[-1]["nDCG@10"], abs=0.0005)


def test_a_published_mean_is_beside_the_measured_ones(run: Ettin) -> None:
    # Stands for a model of the release, which would take minutes.
    run.monkeypatch.setattr(eval_collections, "ettin_model", lambda _: ETTIN_MODELS["17m"])
    table = run("eval", "nanobeir", "-r", "embedded", "-f", "md")
    assert table.out.splitlines()[-1].replace(" ", "") == "|published||0.675|"
    assert "published: nDCG@10 of the Ettin release, with these candidates" in table.err
    document = json.loads(run("eval", "nanobeir", "-r", "embedded", "-f", "json").out)
    last = document["means"][-1]
    assert (last["collection"], last["reranker"], last["nDCG@10"]) == (
        *("published", "embedded"),
        0.6746,
    )


def test_nanobeir_is_also_measured_over_our_own_retrieval(run: Ettin) -> None:
    done = run("eval", "nanobeir/scifact", "-r", "embedded", "-c", "5", "--retriever", "bm25")
    assert done.code == 0, done.err
    rows = parsed(done.out)
    assert [(row["retriever"], row["candidates"]) for row in rows] == [("bm25", None), ("bm25", 5)]
    assert f"nanobeir/scifact: {NANOBEIR_REPOSITORY}@" in done.err
    for words in (["--retriever", "bm25"], ["--blend", "0.5"], ["--calibrate"], ["--expand"]):
        done = run("eval", "nanobeir", "-r", "embedded", *words)
        assert done.code == 2
        assert f"{words[0]} needs a single collection and --candidates" in done.err


def test_a_collection_has_a_table_like_a_folder(run: Ettin, tmp_path: Path) -> None:
    words = ("-r", "none", "--retriever", "bm25", "-f", "json")
    done = run("eval", "beir/fiqa", *words)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["name"] == "beir/fiqa"
    assert found["queries"] == 6
    assert "licence" in found["notes"][0]
    other = run("eval", "beir/fiqa:train", *words)
    assert json.loads(other.out)["systems"] != found["systems"]
    assert run("eval", "beir/fiqa:dev", *words).code == 1


def test_the_document_of_a_query_is_no_hit(run: Ettin, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("eval", "mteb/ArguAna", "-r", "embedded", "-c", "10", "-o", str(out))
    assert done.code == 0, done.err
    assert "the document with a query's own id is no hit, as in mteb" in done.err
    for path in (out / "runs").iterdir():
        lines = [line.split() for line in path.read_text().splitlines()]
        assert not [line for line in lines if line[0] == line[2]]
        # All others are hits of retrieval, at most 100 of them.
        assert len(lines) == 8 * (9 if "embedded" in path.stem else 23)


def test_a_collection_is_indexed_and_searched_by_name(run: Ettin, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    done = run("index", "beir/fiqa", "-i", index)
    assert done.code == 0, done.err
    assert "30 documents" in done.err
    found = run("search", "ferry and harbour", "-i", index, "-r", "none", "-f", "json", "-k", "1")
    assert json.loads(found.out)["hits"][0]["doc_id"].startswith("d")
    words = ("search", "ferry and harbour", "beir/fiqa", "-r", "none", "-k", "1")
    named = run(*words, "-f", "json", "--retriever", "bm25")
    assert named.code == 0, named.err
    assert json.loads(named.out)["hits"][0]["doc_id"].startswith("d")
    again = run("index", "-i", index, "--offline")
    assert "is up to date" in again.err
    emptied = run("index", "-i", index, "--remove", "beir/fiqa")
    assert emptied.code == 0, emptied.err
    assert "2 gone" in emptied.err


def test_negatives_are_mined_of_the_training_split(run: Ettin, tmp_path: Path) -> None:
    done = run("mine", "beir/fiqa", "--retriever", "bm25")
    assert done.code == 0, done.err
    rows = parsed(done.out)
    assert {row["query_id"] for row in rows} <= {f"q{at}" for at in range(6, 12)}
    assert rows
    assert all(row["negatives"] for row in rows)
    missing = run("mine", "mteb/ArguAna")
    assert missing.code == 1
    assert "has no split 'train'; it has test" in missing.err
    asked = run("mine", "mteb/ArguAna:test", "--retriever", "dense")
    assert asked.code == 0, asked.err
    assert not [row for row in parsed(asked.out) if row["query_id"] in row["negative_ids"]]
    for words in (("beir/fiqa", "--queries", "q.jsonl"), ("some-folder",)):
        assert run("mine", *words).code == 2


def test_a_path_of_that_name_is_searched_instead(run: Ettin, tmp_path: Path) -> None:
    run.monkeypatch.chdir(tmp_path)
    (tmp_path / "beir" / "fiqa").mkdir(parents=True)
    (tmp_path / "beir" / "fiqa" / "own.txt").write_text("the ferry of this folder\n")
    found = run("search", "ferry", "beir/fiqa", "-r", "none", "-f", "json", "--retriever", "bm25")
    assert [hit["path"] for hit in json.loads(found.out)["hits"]] == ["beir/fiqa/own.txt"]


def test_cqadupstack_has_the_mean_of_its_subforums(run: Ettin) -> None:
    two = [one for one in family(CQADUPSTACK) if one.name.endswith(("-gaming", "-android"))]
    run.monkeypatch.setattr(eval_collections, "family", lambda _: two)
    done = run("eval", CQADUPSTACK, "-r", "none", "--retriever", "bm25")
    assert done.code == 0, done.err
    rows = {row["collection"]: row["nDCG@10"] for row in parsed(done.out)}
    assert list(rows) == [*(one.name for one in two), "mean of 2"]
    assert rows["mean of 2"] == pytest.approx(sum(rows[one.name] for one in two) / 2)
    assert "what BEIR reports" in done.err
    alone = run("eval", f"{CQADUPSTACK}-gaming", "-r", "none", "--retriever", "bm25", "-f", "json")
    assert json.loads(alone.out)["queries"] == 6
    assert "beir/cqadupstack is 12 collections" in run("index", CQADUPSTACK).err


def test_a_misspelt_name_gets_the_nearest(run: Ettin) -> None:
    for command in (("eval",), ("index",), ("mine",), ("search", "ferry")):
        done = run(*command, "beir/fika")
        assert done.code == 1
        assert "no collection 'beir/fika'" in done.err
        assert "beir/fiqa" in done.err
    assert "beir is 26 collections" in run("eval", "beir").err
    alone = run("eval", "scifact", "-r", "none")
    assert alone.code == 2
    assert "hint: nanobeir/scifact or beir/scifact" in alone.err


def test_an_embedder_that_takes_instructions_is_told_the_task(run: Ettin, tmp_path: Path) -> None:
    folder = tmp_path / "embedder"
    folder.mkdir()
    own = "Instruct: Given a web search query\nQuery: "
    embedder(folder, prompts={"query": own, "document": ""})
    texts: list[str] = []
    load = embedders._Embedder._embed

    def recorded(self: Any, some: Any, prompt: str, *rest: Any) -> Any:
        texts.append(prompt)
        return load(self, some, prompt, *rest)

    run.monkeypatch.setattr(embedders._Embedder, "_embed", recorded)
    run.monkeypatch.setenv("ETTIN_EMBEDDER", str(folder))
    assert run("eval", "mteb/ArguAna", "-r", "none", "--retriever", "dense").code == 0
    told = "Instruct: Given a claim, find documents that refute the claim\nQuery: "
    assert texts.count(told) == 1
    assert own not in texts
