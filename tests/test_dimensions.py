"""`--dimensions` keeps a vector's leading dimensions, in the index and in every search of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.reader import Index
from ettin_cli.models.embedders import find_embedder, load_embedder, note_dimensions, read_card
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.records import Silence
from ettin_cli.settings import EMBEDDERS
from tests.conftest import Ettin
from tests.indexes import Notices
from tests.models import TEXTS, embedder

INDEX = Path(".ettin")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return embedder(tmp_path / "model")


def kept(folder: Path, dimensions: int) -> Any:
    files = find_embedder(str(folder), offline=True, reporter=Silence())
    card = read_card(files, dimensions=dimensions)
    return load_embedder(files, EngineSettings("cpu"), Silence(), card)


@pytest.mark.parametrize("dimensions", [1, 8, 31, 32])
def test_the_first_dimensions_are_kept_and_normalised_again(model: Path, dimensions: int) -> None:
    ours = kept(model, dimensions)
    theirs = SentenceTransformer(str(model), device="cpu", truncate_dim=dimensions)
    expected = theirs.encode_document(TEXTS, normalize_embeddings=True)
    assert ours.card.dimension == dimensions == expected.shape[1]
    assert ours.embed_documents(TEXTS) == pytest.approx(expected, abs=1e-5)
    assert ours.embed_queries(TEXTS) == pytest.approx(expected, abs=1e-5)


def test_an_index_keeps_to_its_dimensions_until_it_is_rebuilt(
    ettin: Ettin, docs: Path, model: Path
) -> None:
    made = ettin("index", "docs", "--embedder", str(model), "--dimensions", "8")
    assert made.code == 0
    assert read_manifest(INDEX).embedder.dimension == 8
    assert Index(INDEX).vectors.shape == (3, 8)
    assert np.linalg.norm(Index(INDEX).vectors, axis=1) == pytest.approx(1.0, abs=1e-6)
    assert "8 dimensions" in ettin("info").out

    (docs / "new.txt").write_text("A new timetable.\n")
    assert "1 passage embedded, 3 kept" in ettin("index").err
    assert Index(INDEX).vectors.shape == (4, 8)
    for words in (["index", "--dimensions", "8"], ["index", "docs", "--embedder", str(model)]):
        assert "is up to date" in ettin(*words).err
    assert ettin("index", "--rebuild").code == 0
    assert Index(INDEX).vectors.shape == (4, 8)


def test_a_search_embeds_the_query_with_the_dimensions_of_the_index(
    ettin: Ettin, docs: Path, model: Path
) -> None:
    ettin("index", "docs", "--embedder", str(model), "--dimensions", "8")
    ran = ettin("search", "the ferry", "-r", "none", "--retriever", "dense", "-f", "json")
    assert ran.code == 0
    scores = [hit["score"] for hit in json.loads(ran.out)["hits"]]
    query = kept(model, 8).embed_queries(["the ferry"])[0]
    expected = sorted(Index(INDEX).vectors @ query, reverse=True)
    assert scores == pytest.approx(expected, abs=1e-4)


def test_other_dimensions_than_the_indexs_are_refused_with_the_command_that_rebuilds(
    ettin: Ettin, docs: Path, model: Path
) -> None:
    ettin("index", "docs", "--embedder", str(model), "--dimensions", "8")
    ran = ettin("index", "--dimensions", "16")
    assert ran.code == 1
    assert f"was built with 8 dimensions of {model}, not 16" in ran.err
    hint = ran.err.partition("hint: ettin ")[2].split()
    assert hint[-2:] == ["--dimensions", "16"]
    assert ettin(*hint).code == 0
    assert Index(INDEX).vectors.shape == (3, 16)
    assert ettin("index", "--rebuild", "--dimensions", "32").code == 0
    assert Index(INDEX).vectors.shape == (3, 32)


@pytest.mark.parametrize(
    ("dimensions", "said"),
    [
        ("33", "have 32 dimensions, so 33 cannot be kept"),
        ("0", "greater than or equal to 1"),
        ("many", "a valid integer"),
    ],
)
def test_dimensions_that_there_are_not_are_refused_in_one_line(
    ettin: Ettin, docs: Path, model: Path, dimensions: str, said: str
) -> None:
    ran = ettin("index", "docs", "--embedder", str(model), "--dimensions", dimensions)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err.replace("\n", " ")
    assert not INDEX.exists() or not list(INDEX.glob("generations/*"))


@pytest.mark.parametrize(("dimensions", "noted"), [(128, False), (64, False), (100, True)])
def test_a_number_that_an_embedder_was_not_trained_for_is_noted(
    tmp_path: Path, dimensions: int, noted: bool
) -> None:
    files = ModelFiles(EMBEDDERS["nomic"].hub_id, embedder(tmp_path / "model", hidden=128))
    notices = Notices()
    note_dimensions(files, dimensions, notices)
    trained = "nomic-ai/nomic-embed-text-v1.5 was trained for 768, 512, 256, 128, 64 dimensions"
    told = f"{trained}; evaluate the effect of keeping {dimensions}"
    assert notices.said == ([told] if noted else [])


def test_an_embedder_of_which_nothing_is_known_is_noted_when_the_index_is_made(
    ettin: Ettin, docs: Path, model: Path
) -> None:
    ran = ettin("index", "docs", "--embedder", str(model), "--dimensions", "8")
    assert f"{model} is not known to be trained for truncated vectors" in ran.err
    assert "not known" not in ettin("index").err


def test_the_factory_is_checked_against_what_is_kept(ettin: Ettin, docs: Path, model: Path) -> None:
    made = ["index", "docs", "--embedder", str(model), "--factory", "PQ16"]
    ran = ettin(*made, "--dimensions", "8")
    assert ran.code == 1
    assert "PQ16" in ran.err
