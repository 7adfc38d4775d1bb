"""A model is located, and reported in one line if it is missing; test_downloads.py fetches them."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import MissingExtraError, ModelError
from ettin_cli.models import hub
from ettin_cli.models.hub import EMBEDDED, find_model, hub_name, weights_hash
from ettin_cli.models.model_folder import refuse_code
from ettin_cli.models.rerankers.registry import find_reranker
from ettin_cli.records import Silence
from ettin_cli.settings import ETTIN_MODELS, MINILM_SHA256
from tests.indexes import Notices
from tests.models import ettin


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "cached_folder", lambda name: None)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", touched)
    monkeypatch.setattr(socket, "getaddrinfo", touched)


def problem(name: str, *, offline: bool = False) -> ModelError:
    with pytest.raises(ModelError) as caught:
        find_model(name, offline=offline, reporter=Silence())
    return caught.value


@pytest.mark.usefixtures("no_network")
def test_offline_never_touches_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the network is disabled" in problem("32m", offline=True).problem
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    error = problem("32m")
    assert "ettin-reranker-32m-v1 is not on this machine" in error.problem
    assert "ettin models pull 32m" in (hint_of(error) or "")


def test_auto_falls_back_to_the_embedded_reranker_with_a_notice() -> None:
    notices = Notices()
    assert find_reranker("auto", offline=True, reporter=notices).name == EMBEDDED
    (said,) = notices.said
    assert said.startswith("using the embedded reranker instead of Ettin 32m:")


def test_without_the_stand_in_auto_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "EMBEDDED_PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError):
        find_model(EMBEDDED, offline=True, reporter=Silence())
    with pytest.raises(ModelError, match="32m-v1 is not on this machine") as caught:
        find_reranker("auto", offline=True, reporter=Silence())
    assert "ettin-cli[offline]" in (hint_of(caught.value) or "")


@pytest.mark.parametrize("name", ["no-such", "a/b/c", "./nowhere", "~/nowhere", "/nowhere/x"])
def test_a_name_that_cannot_be_a_model_is_said_without_asking(name: str) -> None:
    assert problem(name, offline=True).problem.startswith(f"no model {name!r}")


def test_the_embedded_weights_are_those_of_the_hub() -> None:
    folder = find_model(EMBEDDED, offline=True, reporter=Silence()).folder
    assert weights_hash(folder) == MINILM_SHA256


def test_altered_embedded_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "altered_model"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model" / "model.safetensors").write_bytes(b"x")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hub, "EMBEDDED_PACKAGE", "altered_model")
    assert "is not the published model" in problem(EMBEDDED).problem


def test_a_hash_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    first = weights_hash(weights.parent)
    with monkeypatch.context() as patch:
        patch.setattr(hub, "sha256", lambda path: pytest.fail("read again"))
        assert weights_hash(weights.parent) == first
    weights.write_bytes(b"other")
    assert weights_hash(weights.parent) != first


def test_a_damaged_memory_of_hashes_costs_time_only(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / hub.HASHES).write_text("{broken")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"one")
    assert len(weights_hash(folder)) == 64


# Model folders


def model_folder(place: Path, files: Mapping[str, str], modules: object = None) -> Path:
    """Write a model's folder with these files and this list of modules."""
    for name, content in {"config.json": "{}", **files}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    if modules is not None:
        (place / "modules.json").write_text(json.dumps(modules))
    return place


def part(path: str, kind: str) -> dict[str, str]:
    return {"path": path, "type": f"sentence_transformers.models.{kind}"}


WEIGHTS = "model.safetensors"
PICKLE = "pytorch_model.bin"
DENSE = [part("", "Transformer"), part("2_Dense", "Dense")]


@pytest.mark.parametrize(
    ("modules", "files", "said"),
    [
        (None, {}, "has no weights"),
        (None, {PICKLE: ""}, "only pytorch_model.bin, a pickle, which can run"),
        (None, {"onnx/" + WEIGHTS: ""}, "has no weights"),
        ({}, {WEIGHTS: ""}, "is not a list of modules"),
        ([1], {WEIGHTS: ""}, "is not a list of modules"),
        ([{"path": "x"}], {WEIGHTS: ""}, "is not a list of modules"),
        ([part("../out", "Dense")], {WEIGHTS: ""}, "'../out', which is outside the model"),
        ([part("/etc", "Dense")], {WEIGHTS: ""}, "'/etc', which is outside the model"),
        (DENSE, {WEIGHTS: ""}, "lacks 2_Dense/model"),
        (
            DENSE,
            {WEIGHTS: "", "2_Dense/" + PICKLE: ""},
            "2_Dense has only pytorch_model.bin, a pickle",
        ),
        (
            [part("", "Transformer"), part("1_X", "WordWeights")],
            {WEIGHTS: "", "1_X/" + PICKLE: ""},
            "1_X has only pytorch_model.bin, a pickle",
        ),
        (
            DENSE,
            {"2_Dense/" + WEIGHTS: "", "2_Dense/config.json": "{}"},
            "has no weights",
        ),
        (
            [part("", "Transformer"), part("2_N", "LayerNorm")],
            {WEIGHTS: "", "2_N/" + WEIGHTS: ""},
            "lacks 2_N/config.json, the LayerNorm part",
        ),
        ([part("", "Transformer"), part("1_P", "Pooling")], {WEIGHTS: ""}, "lacks 1_P/config.json"),
    ],
)
def test_a_model_that_is_not_whole_is_refused_before_it_is_loaded(
    tmp_path: Path, modules: object, files: dict[str, str], said: str
) -> None:
    folder = model_folder(tmp_path / "m", files, modules)
    with pytest.raises(ModelError, match=said):
        find_model(str(folder), offline=True, reporter=Silence())


def test_a_folder_of_other_things_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"neither config\.json nor modules\.json"):
        find_model(str(tmp_path), offline=True, reporter=Silence())


@pytest.mark.parametrize("part_of_it", ["2_Dense", "3_LayerNorm", "4_Dense"])
def test_an_ettin_without_a_part_of_its_head_is_refused(tmp_path: Path, part_of_it: str) -> None:
    folder = ettin(tmp_path / "m", hidden=32, layers=1, heads=2)
    find_model(str(folder), offline=True, reporter=Silence())
    (folder / part_of_it / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=f"lacks {part_of_it}/model.safetensors") as caught:
        find_model(str(folder), offline=True, reporter=Silence())
    assert "scores without it would be wrong" in caught.value.problem


def test_code_from_elsewhere_is_told_by_its_name(tmp_path: Path) -> None:
    def checked(name: str, modules: object, activation: str) -> None:
        settings = json.dumps({"activation_function": activation})
        refuse_code(model_folder(tmp_path / name, {"2_Dense/config.json": settings}, modules))

    checked("a", DENSE, "torch.nn.modules.activation.Tanh")
    checked("b", None, "os.system")
    with pytest.raises(ModelError, match=r"needs os\.system, which is custom code"):
        checked("c", DENSE, "os.system")
    with pytest.raises(ModelError, match=r"needs modeling\.Mine, which is custom code") as caught:
        checked("d", [{"path": "", "type": "modeling.Mine"}], "torch.nn.Tanh")
    assert hint_of(caught.value) == "if you trust it: --trust-remote-code"


def test_weights_in_several_files_are_told_apart_by_all_of_them(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", {WEIGHTS: "one", "2_Dense/" + WEIGHTS: "two"})
    first = weights_hash(folder)
    (folder / "2_Dense" / "model.safetensors").write_text("other")
    second = weights_hash(folder)
    (folder / "2_Dense").rename(folder / "3_Dense")
    assert len({first, second, weights_hash(folder)}) == 3


def test_weights_that_cannot_be_read_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(hub, "sha256", unreadable)
    with pytest.raises(ModelError, match="cannot read the weights in .*: Permission denied"):
        weights_hash(model_folder(tmp_path / "m", {WEIGHTS: "one"}))


@pytest.mark.hub
@pytest.mark.parametrize("alias", list(ETTIN_MODELS))
def test_the_pinned_revisions_are_on_the_hub(alias: str) -> None:
    from huggingface_hub import HfApi

    model = ETTIN_MODELS[alias]
    info = HfApi().model_info(model.hub_id, revision=model.revision, securityStatus=False)
    assert info.sha == model.revision
    assert info.safetensors is not None


@pytest.mark.hub
def test_ettins_tokenizer_frames_a_pair_as_it_was_trained() -> None:
    from transformers import AutoTokenizer

    hub_id, revision = hub_name("17m")
    tokenizer = AutoTokenizer.from_pretrained(hub_id, revision=revision)
    ids = tokenizer("query", "document")["input_ids"]
    special = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.sep_token_id)
    assert (ids[0], ids[2], ids[-1]) == special
