"""The stand-in hub answers huggingface_hub as the hub does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub_server import TOKEN, Fault, Hub, Repository

MODEL = {"config.json": b"{}", "1_Pooling/config.json": b'{"a": 1}', "model.safetensors": b"w" * 99}
SET = {"README.md": b"---\nlicense: mit\n---\n", "corpus/train-0.parquet": b"PAR1" * 30}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub({"models/some/model": MODEL, "datasets/some/set": SET}) as hub:
        hub.serve(monkeypatch, tmp_path)
        yield hub


def test_a_model_and_a_dataset_are_downloaded_and_then_cached(hub: Hub) -> None:
    for kind, name, files in (("model", "some/model", MODEL), ("dataset", "some/set", SET)):
        folder = Path(snapshot_download(name, repo_type=kind))
        assert folder.name == hub.repositories[f"{kind}s/{name}"].commit
        here = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        assert {path: file.read_bytes() for path, file in here.items()} == files
        asked = len(hub.requests)
        assert snapshot_download(name, repo_type=kind, revision=folder.name) == str(folder)
        assert len(hub.requests) == asked


def test_a_repository_is_described_with_sizes(hub: Hub) -> None:
    info = HfApi().dataset_info("some/set", files_metadata=True)
    assert info.sha == hub.repositories["datasets/some/set"].commit
    assert {one.rfilename: one.size for one in info.siblings or []} == {
        path: len(content) for path, content in SET.items()
    }


def test_a_token_reaches_the_hub_and_not_the_other_host(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    snapshot_download("some/model")
    assert {(one.host, one.token) for one in hub.requests} == {("hub", TOKEN), ("cdn", None)}


def test_each_kind_of_refusal_is_told_apart(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["models/some/gated"] = Repository(MODEL, gated=True)
    with pytest.raises(GatedRepoError):
        hf_hub_download("some/gated", "config.json")
    assert HfApi().model_info("some/gated").gated == "manual"
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("some/model", "config.json", revision="no")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("some/model", "no.json")
    with pytest.raises(HfHubHTTPError) as caught:
        HfApi().model_info("no/body")
    assert caught.value.response.status_code == 401
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(RepositoryNotFoundError):
        HfApi().model_info("no/body")
    hub.members.add(TOKEN)
    assert Path(hf_hub_download("some/gated", "config.json")).read_bytes() == b"{}"


def test_a_body_that_is_cut_off_is_asked_for_from_there(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What has come of a chunk before the cut is lost.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 16)
    hub.faults.append(Fault("GET cdn/", cut=40, times=1))
    folder = Path(snapshot_download("some/model"))
    assert (folder / "model.safetensors").read_bytes() == MODEL["model.safetensors"]
    ranges = [one.headers.get("range") for one in hub.requests if one.host == "cdn"]
    assert ranges == [None, "bytes=32-"]


def test_what_goes_wrong_is_waited_for_without_the_clock(hub: Hub) -> None:
    hub.faults.append(Fault("GET cdn/", status=429, headers={"Retry-After": "7"}, times=1))
    snapshot_download("some/model")
    assert hub.waits == [8]


def test_a_long_tree_comes_in_pages(hub: Hub) -> None:
    files = {f"part/{number:04}.json": b"" for number in range(1500)}
    hub.repositories["datasets/some/long"] = Repository(files)
    tree = HfApi().list_repo_tree("some/long", recursive=True, repo_type="dataset")
    assert [one.path for one in tree] == ["part", *files]


def test_a_repository_moves_and_is_renamed(hub: Hub) -> None:
    repository = hub.repositories["models/some/model"]
    first = repository.commit
    second = repository.move({"config.json": b'{"new": 1}'})
    assert second != first
    for revision, content in ((first, b"{}"), ("main", b'{"new": 1}')):
        path = Path(hf_hub_download("some/model", "config.json", revision=revision))
        assert path.read_bytes() == content
    hub.renamed["models/former/model"] = "models/some/model"
    assert HfApi().model_info("former/model").id == "some/model"
    assert Path(hf_hub_download("former/model", "config.json")).read_bytes() == b'{"new": 1}'
