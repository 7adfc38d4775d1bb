"""The models known by name are fetched from the hub, loaded and used as a user does."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.errors import ModelError
from ettin_cli.models import find_model
from ettin_cli.models.embedders import find_embedder, load_embedder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.records import Silence
from ettin_cli.settings import EMBEDDERS, ETTIN_MODELS
from tests import hub_models
from tests.hub_models import FLOAT32, SHAPES, declared_ettin, full_ettin, name_of, repository
from tests.hub_server import PATIENCE_S, Hub, Repository
from tests.models import TEXTS
from tests.test_embedders import bert, built, embedding_gemma, lfm2, nomic_bert, qwen3, static

PAIRS = [(TEXTS[2], text) for text in TEXTS]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub({}) as hub:
        hub.serve(monkeypatch, tmp_path)
        # On a busy machine too, the hub answers in time.
        monkeypatch.setattr("ettin_cli.models.downloading.HUB_TIMEOUT_S", PATIENCE_S)
        yield hub


EMBEDDERS_BUILT: dict[str, Callable[[Path], Path]] = {
    "static-mrl": static,
    "minilm": lambda folder: built(folder, "minilm", bert, "mean"),
    "bge-small": lambda folder: built(folder, "bge-small", bert, "cls"),
    "nomic": lambda folder: built(folder, "nomic", nomic_bert, "mean"),
    "embeddinggemma": lambda folder: built(
        folder, "embeddinggemma", embedding_gemma, "mean", inner=96
    ),
    "jina-v5-small": lambda folder: built(
        folder, "jina-v5-small", qwen3, "lasttoken", template="$A [SEP]", side="left"
    ),
    "lfm2-embedding": lambda folder: built(
        folder, "lfm2-embedding", lfm2, "mean", template="[CLS] $A"
    ),
}


def test_each_known_embedder_has_a_small_copy() -> None:
    assert EMBEDDERS_BUILT.keys() == EMBEDDERS.keys()


@pytest.mark.parametrize("alias", list(EMBEDDERS))
def test_an_embedder_is_fetched_by_name_and_embeds_as_from_its_folder(
    hub: Hub, tmp_path: Path, alias: str
) -> None:
    folder = EMBEDDERS_BUILT[alias](tmp_path / "made")
    hub.repositories[name_of(alias)] = repository(alias, folder)
    # The alias `minilm` is that of the packaged model.
    name = EMBEDDERS[alias].hub_id
    settings = EngineSettings("cpu", trust_remote_code=EMBEDDERS[alias].own_code)
    files = find_embedder(name, offline=False, reporter=Silence())
    assert (files.name, files.revision) == (name, EMBEDDERS[alias].revision)
    hub.requests.clear()
    by_name, by_folder = (
        load_embedder(
            find_embedder(place, offline=False, reporter=Silence()), settings, Silence()
        ).embed_queries(TEXTS)
        for place in (name, str(folder))
    )
    assert np.array_equal(by_name, by_folder)
    assert hub.requests == []


# The shapes of Ettin


@pytest.mark.parametrize("alias", list(ETTIN_MODELS))
def test_an_ettin_of_the_published_shape_has_the_published_parameters(
    hub: Hub, tmp_path: Path, alias: str
) -> None:
    model = ETTIN_MODELS[alias]
    files = declared_ettin(alias, tmp_path / "made")
    assert hub_models.parameters(files) == model.parameters
    hub.repositories[name_of(alias)] = Repository({**hub_models.BESIDE, **files}, model.revision)
    # Its size is known before any of its bytes are requested.
    needed = -(-sum(len(content) for content in files.values()) // 1_000_000)
    assert needed >= model.parameters * FLOAT32 // 1_000_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ettin_cli.models.downloading._room", lambda model: 1_000_000)
        with pytest.raises(ModelError, match=f"takes {needed:,} MB, and 1 MB are free"):
            find_model(alias, offline=False, reporter=Silence())
    assert len(hub.requests) == 1


def scores(place: str) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    reranker = find_reranker(place, offline=False, reporter=Silence())
    return load_reranker(reranker, EngineSettings("cpu"), Silence()).score(PAIRS).values


@pytest.mark.parametrize("alias", ["17m", pytest.param("32m", marks=pytest.mark.slow)])
def test_an_ettin_of_full_size_is_fetched_by_name_and_scores_as_from_its_folder(
    hub: Hub, tmp_path: Path, alias: str
) -> None:
    folder = full_ettin(alias, tmp_path / "made")
    config = json.loads((folder / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"]) == SHAPES[alias][::2]
    files = hub_models.files_of(folder)
    assert hub_models.parameters(files) == ETTIN_MODELS[alias].parameters
    hub.repositories[name_of(alias)] = repository(alias, folder)
    fetched = scores(alias)
    assert len([one for one in hub.asked("GET") if "cdn" in one]) == 4
    hub.requests.clear()
    assert np.array_equal(scores(str(folder)), fetched)
    assert np.array_equal(scores(alias), fetched)
    assert hub.requests == []
