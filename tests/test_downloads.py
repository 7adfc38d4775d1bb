"""Models are fetched from the hub, with no request too many, and its refusals are said."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import ModelError
from ettin_cli.models import (
    cached_folder,
    downloading,
    find_model,
    forget_outage,
    outages,
    transfers,
)
from ettin_cli.models.rerankers.registry import find_reranker
from ettin_cli.records import Reporter, Silence
from ettin_cli.settings import ETTIN_MODELS
from tests import faults
from tests.hub_models import files_of, name_of, repository, small_ettin
from tests.hub_server import PATIENCE_S, TOKEN, Content, Fault, Hub, Repository, is_large
from tests.indexes import Notices

NAME = name_of("17m")
HUB_ID = ETTIN_MODELS["17m"].hub_id
TRUNK = "model.safetensors"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_ettin(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def hub(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    repositories: dict[str, Any] = {
        NAME: repository("17m", small),
        "models/some/model": files_of(small),
    }
    with Hub(repositories) as hub:
        hub.serve(monkeypatch, tmp_path)
        # On a busy machine too, the hub answers in time, and all threads end after a failure.
        monkeypatch.setattr(downloading, "HUB_TIMEOUT_S", PATIENCE_S)
        monkeypatch.setattr(transfers, "GRACE_S", PATIENCE_S)
        yield hub


def pull(name: str = "17m", reporter: Reporter | None = None) -> Path:
    return find_model(name, offline=False, reporter=reporter or Silence()).folder


def problem(name: str = "17m", reporter: Reporter | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        pull(name, reporter)
    return caught.value


def fetched(hub: Hub, name: str = NAME) -> list[str]:
    """Return the paths of the files that were sent."""
    repository = hub.repositories[name]
    sent = {repository.sent_as(path): path for path in repository.files}
    asked = hub.asked("GET")
    return sorted(path for end, path in sent.items() for one in asked if one.endswith(end))


def present() -> set[str]:
    """Return the files that are in the cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = Path(HF_HUB_CACHE) / f"models--{HUB_ID.replace('/', '--')}"
    return set(files_of(repository / "snapshots" / ETTIN_MODELS["17m"].revision))


# What is asked, and how often


def test_the_files_that_a_model_needs_are_asked_for_once_and_no_others(
    hub: Hub, small: Path
) -> None:
    folder = pull()
    needed = files_of(small)
    assert {path: (folder / path).read_bytes() for path in files_of(folder)} == needed
    assert fetched(hub) == sorted(needed)
    asked = hub.asked()
    assert asked[0] == f"GET /api/models/{HUB_ID}/revision/{ETTIN_MODELS['17m'].revision}"
    heads = sum(1 if is_large(path, content) else 2 for path, content in needed.items())
    assert len(asked) == 1 + heads + len(needed)


def test_a_cached_model_needs_no_request(hub: Hub) -> None:
    folder = pull()
    hub.requests.clear()
    for offline in (False, True):
        assert find_model("17m", offline=offline, reporter=Silence()).folder == folder
        assert find_model(HUB_ID, offline=offline, reporter=Silence()).folder == folder
    assert hub.requests == []


def test_the_newest_commit_is_kept_when_the_repository_moves(hub: Hub, small: Path) -> None:
    class Moves(Silence):
        """Moves the repository between its description and the download."""

        def notice(self, message: str) -> None:
            moved.move({**files_of(small), "config.json": b"{}"})

    moved = hub.repositories["models/some/model"]
    first = moved.commit
    folder = pull("some/model", Moves())
    assert (folder.name, moved.commit != first) == (first, True)
    assert (folder / "config.json").read_bytes() == (small / "config.json").read_bytes()
    assert hub.asked()[0] == "GET /api/models/some/model"
    assert len([one for one in hub.asked() if "/api/models/some/model" in one]) == 1
    hub.requests.clear()
    assert (pull("some/model"), hub.requests) == (folder, [])


def test_a_renamed_model_is_fetched_by_its_former_name(hub: Hub) -> None:
    hub.renamed["models/former/model"] = "models/some/model"
    folder = pull("former/model")
    assert (folder / TRUNK).is_file()
    hub.requests.clear()
    assert (pull("former/model"), hub.requests) == (folder, [])


def test_progress_is_reported_in_whole_megabytes(
    hub: Hub, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500_000)
    large: dict[str, Content] = {**files_of(small), TRUNK: bytes(5_300_000)}
    hub.repositories["models/some/model"] = Repository(large)
    hub.faults.append(Fault("GET cdn/", cut=2_100_000, times=1))
    notices = Notices()
    pull("some/model", notices)
    assert notices.said == ["downloading some/model from the hub (6 MB)"]
    assert (notices.tracked, notices.advanced) == ([("downloading", 6, "MB")], 5)


# Refusals


def gated(hub: Hub) -> None:
    hub.repositories[NAME].gated = True


def private(hub: Hub) -> None:
    hub.repositories[NAME].private = True


def disabled(hub: Hub) -> None:
    hub.repositories[NAME].disabled = True


def gone(hub: Hub) -> None:
    hub.repositories[NAME].commit = "a" * 40


def answer(status: int, message: str = "", **headers: str) -> Callable[[Hub], None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda hub: hub.faults.append(Fault("/api/", status, named, message))


NOT_HERE = f"{HUB_ID} is not on this machine and "
LIMITS = NOT_HERE + "the hub limits requests from here (429 Too Many Requests); try again in "
FAILED = NOT_HERE + "the hub failed "
DATES = {"Date": "Thu, 19 Nov 2026 10:00:00 GMT", "Retry_After": "Thu, 19 Nov 2026 10:01:30 GMT"}


@pytest.mark.parametrize(
    ("happens", "token", "code", "said"),
    [
        (gated, None, "model-gated", f"{HUB_ID} is gated, and no token was sent"),
        (
            gated,
            TOKEN,
            "model-gated",
            f"{HUB_ID} is gated, and the account of the token has no access",
        ),
        (private, None, "unknown-model", f"the hub has no model {HUB_ID}, or it is private"),
        (private, TOKEN, "unknown-model", f"the hub has no model {HUB_ID}"),
        (
            answer(401, "Invalid credentials in Authorization header"),
            TOKEN,
            "token-rejected",
            NOT_HERE + "the hub rejects the token (401 Unauthorized)",
        ),
        (
            disabled,
            None,
            "model-denied",
            f"the hub denies access to {HUB_ID}: Access to this resource is disabled.",
        ),
        (
            gone,
            None,
            "revision-not-found",
            f"the hub has no revision {ETTIN_MODELS['17m'].revision} of {HUB_ID}",
        ),
        (answer(429, Retry_After="90"), None, "hub-busy", LIMITS + "90 s"),
        (answer(429, RateLimit='"api";r=0;t=55'), None, "hub-busy", LIMITS + "55 s"),
        (answer(429, **DATES), None, "hub-busy", LIMITS + "90 s"),
        (answer(429, Retry_After="soon"), None, "hub-busy", LIMITS + "5 min"),
        (
            answer(500, "Internal Error"),
            None,
            "hub-failed",
            FAILED + "(500 Internal Server Error); try again later",
        ),
        (
            answer(503, Retry_After="600"),
            None,
            "hub-failed",
            FAILED + "(503 Service Unavailable); try again in 10 min",
        ),
        (
            answer(418),
            None,
            "download-failed",
            NOT_HERE + "cannot be downloaded (418 I'm a Teapot)",
        ),
    ],
)
def test_a_refusal_says_what_it_is_and_when_to_try_again(
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Hub], None],
    token: str | None,
    code: str,
    said: str,
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    happens(hub)
    error = problem()
    assert (error.code, error.problem) == (code, said)
    # A gated model is described to everyone; the first file is refused.
    assert len(hub.requests) == (1 if happens is not gated else 2)


def test_a_gated_model_is_fetched_with_the_token_of_a_member(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated(hub)
    assert f"request access at {hub.url}/{HUB_ID}, then: hf auth login" in str(hint_of(problem()))
    hub.requests.clear()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.members.add(TOKEN)
    assert (pull() / TRUNK).is_file()
    assert {(one.host, one.token) for one in hub.requests} == {("hub", TOKEN), ("cdn", None)}


@pytest.mark.parametrize("name", ["no/body", "no/-body", "no/bo--dy"])
def test_a_model_that_the_hub_has_not_is_unknown(hub: Hub, name: str) -> None:
    error = problem(name)
    assert error.code == "unknown-model"
    assert error.problem.startswith(f"the hub has no model {name}, ")


def test_a_repository_without_a_model_is_said(hub: Hub) -> None:
    hub.repositories["models/some/words"] = Repository({"README.md": b""})
    assert problem("some/words").problem == "some/words has no files of a model"
    hub.repositories["models/some/pickle"] = Repository({"config.json": b"{}", "a.bin": b""})
    assert problem("some/pickle").code == "unsafe-weights"


def test_a_page_in_place_of_the_hub_is_said(hub: Hub) -> None:
    hub.repositories[NAME].portal = b"<html>Please sign in</html>"
    said = f"cannot be downloaded (what answers at {hub.url} is not the hub)"
    assert problem().problem == NOT_HERE + said


def test_addresses_that_are_none_are_said(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session, constants

    with monkeypatch.context() as patch:
        patch.setenv("HTTP_PROXY", "http://proxy:port")
        close_session()
        said = "cannot be downloaded (InvalidURL: Invalid port: 'port')"
        assert problem().problem == NOT_HERE + said
    monkeypatch.setattr(constants, "ENDPOINT", "hub.example")
    close_session()
    said = "the hub cannot be reached (UnsupportedProtocol: Request URL is missing"
    assert problem().problem.startswith(NOT_HERE + said)
    close_session()


# A hub that cannot be reached


def test_a_hub_that_hangs_up_is_not_asked_again_for_ten_minutes(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.faults.append(Fault("/api/", drop=True))
    reason = NOT_HERE + "the hub cannot be reached (RemoteProtocolError: Server disconnected"
    first = problem()
    assert (first.code, first.problem.startswith(reason)) == ("model-unavailable", True)
    assert problem("some/model").problem.endswith(" s ago)")
    assert len(hub.requests) == 1
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 601)
    problem()
    assert len(hub.requests) == 2


def test_a_hub_that_does_not_answer_is_given_up_on(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "HUB_TIMEOUT_S", 0.05)
    held = threading.Event()
    hub.faults.append(Fault("/api/", hold=held))
    assert problem().problem.startswith(NOT_HERE + "the hub cannot be reached (")
    # So is one whose name cannot be resolved, where the client has no timeout.
    forget_outage()
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: held.wait())
        patch.setattr(threading.Thread, "join", lambda thread, timeout=None: None)
        assert "the hub cannot be reached (TimeoutError: no answer in 0.05 s)" in problem().problem
    held.set()


def test_a_busy_hub_is_asked_again_at_the_time_that_it_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.faults.append(Fault("/api/", 429, {"Retry-After": "100"}, times=1))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    assert problem().problem.endswith("try again in 100 s")
    monkeypatch.setattr(time, "time", lambda: now + 40)
    assert problem().problem == LIMITS + "60 s"
    assert len(hub.requests) == 1
    monkeypatch.setattr(time, "time", lambda: now + 100)
    pull()


@pytest.mark.parametrize("change", ["token", "login", "proxy", "forget"])
def test_another_way_to_the_hub_is_tried_at_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    hub.faults.append(Fault("/api/", 429, {"Retry-After": "100"}, times=1))
    problem()
    if change == "token":
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    elif change == "login":
        (tmp_path / "hf").mkdir(exist_ok=True)
        (tmp_path / "hf" / "token").write_text(TOKEN)
    elif change == "proxy":
        monkeypatch.setenv("ALL_PROXY", hub.url)
    else:
        forget_outage()
    pull()
    remembered = (tmp_path / "cache" / outages.OUTAGE).read_text()
    assert TOKEN not in remembered


def test_a_server_error_is_no_outage(hub: Hub) -> None:
    hub.faults.append(Fault("/api/", 500, times=1))
    assert problem().code == "hub-failed"
    pull()


@pytest.mark.parametrize("content", ["{broken", '{"at": "x"}', '{"at": 1.0, "until": 9e99}'])
def test_a_damaged_memory_of_outages_costs_time_only(
    hub: Hub, tmp_path: Path, content: str
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / outages.OUTAGE).write_text(content)
    (tmp_path / "cache" / downloading.DOWNLOADS).write_text('{"x": 1}')
    pull()


def test_a_proxy_is_used_and_named_where_it_fails(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import close_session, constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.example")
    template = "http://hub.example/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    close_session()
    error = problem()
    assert error.problem.endswith("refused, through the proxy 127.0.0.1:9)")
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    hub.cdn = "http://cdn.example"
    close_session()
    pull()
    assert {(one.host, one.proxied) for one in hub.requests} == {("hub", True), ("cdn", True)}
    close_session()


def test_auto_says_why_it_is_another_model(hub: Hub) -> None:
    hub.faults.append(Fault("/api/", 429, {"Retry-After": "100"}))
    notices = Notices()
    for _ in range(2):
        assert find_reranker("auto", offline=False, reporter=notices).name == "embedded"
    hub_id = ETTIN_MODELS["32m"].hub_id
    assert notices.said[0] == (
        f"using the embedded reranker instead of Ettin 32m: {hub_id} is not on this machine and "
        "the hub limits requests from here (429 Too Many Requests); try again in 100 s"
    )
    assert len(hub.requests) == 1


# In the middle of a download


def test_a_limit_in_the_middle_is_waited_for_which_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "is_quiet", lambda: True)
    hub.faults.append(Fault("GET cdn/", 429, {"Retry-After": "100"}, times=1))
    notices = Notices()
    pull("17m", notices)
    assert hub.waits == [101]
    waiting = "huggingface_hub: Rate limited. Waiting 101.0s before retry [Retry 1/5]."
    assert notices.said[1:] == [waiting]


def test_a_server_error_in_the_middle_is_said_after_a_few_attempts(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(downloading, "is_quiet", lambda: True)
    hub.faults.append(Fault("/resolve/", 500))
    error = problem()
    assert error.code == "hub-failed"
    assert error.problem == (
        f"downloading {HUB_ID} failed: the hub failed (500 Internal Server Error); try again later"
    )
    # The description; the first file once, and six times with longer and longer waits.
    assert (len(hub.requests), sum(hub.waits)) == (8, 23)
    assert capfd.readouterr() == ("", "")


def cut_trunk(hub: Hub, small: Path) -> Fault:
    """Let the hub cut off the trunk's weights, always."""
    trunk = hub.repositories[NAME].sent_as(TRUNK)
    fault = Fault(f"GET cdn{trunk}", cut=1000)
    hub.faults.append(fault)
    return fault


def test_a_download_that_failed_is_no_model_and_is_resumed(hub: Hub, small: Path) -> None:
    fault = cut_trunk(hub, small)
    error = problem()
    assert error.code == "download-failed"
    assert error.problem.startswith(
        f"downloading {HUB_ID} failed: RemoteProtocolError: peer closed"
    )
    assert hint_of(error) == "run the same command to resume"
    assert cached_folder("17m") is None
    with pytest.raises(ModelError, match="is not on this machine and the network is disabled"):
        find_model("17m", offline=True, reporter=Silence())
    hub.faults.remove(fault)
    here = present()
    hub.requests.clear()
    folder = pull()
    assert files_of(folder) == files_of(small)
    assert 0 < len(here) < len(files_of(small))
    assert fetched(hub) == sorted(files_of(small).keys() - here)
    assert cached_folder("17m") == folder


def test_a_hub_that_stops_sending_is_given_up_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(HUB_ID, revision=ETTIN_MODELS["17m"].revision, ignore_patterns=[TRUNK])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    trunk = hub.repositories[NAME].sent_as(TRUNK)
    hub.faults.append(Fault(f"GET cdn{trunk}", hold=threading.Event()))
    assert problem().problem == f"downloading {HUB_ID} failed: ReadTimeout: timed out"
    assert hub.asked("GET").count(f"GET cdn{trunk}") == 6


def test_a_body_that_is_cut_off_is_continued(
    hub: Hub, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    cut_trunk(hub, small).times = 1
    folder = pull()
    assert files_of(folder) == files_of(small)
    ranges = [one.headers["range"] for one in hub.requests if "range" in one.headers]
    assert ranges == ["bytes=1000-"]


def test_files_that_another_program_left_out_are_fetched(hub: Hub, small: Path) -> None:
    from huggingface_hub import snapshot_download

    commit = ETTIN_MODELS["17m"].revision
    snapshot_download(
        HUB_ID,
        revision=commit,
        allow_patterns=["*.json", TRUNK],
        ignore_patterns=["onnx/*", "training/*"],
    )
    with pytest.raises(ModelError, match="lacks 2_Dense/model.safetensors"):
        find_model("17m", offline=True, reporter=Silence())
    hub.requests.clear()
    assert files_of(pull()) == files_of(small)
    assert fetched(hub) == [f"{part}/{TRUNK}" for part in ("2_Dense", "3_LayerNorm", "4_Dense")]


# The cache


def test_a_disk_without_room_is_said_before_the_download(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    error = problem()
    assert error.code == "cache-unwritable"
    cache = tmp_path / "hf" / "hub"
    assert error.problem == (
        f"cannot write the cache of huggingface_hub, {cache}: {HUB_ID} takes 1 MB, "
        "and 1 MB are free"
    )
    assert len(hub.requests) == 1


def test_a_disk_that_fills_up_is_said_and_the_rest_is_fetched_later(
    hub: Hub, small: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "hf" / "hub"

    class Full(faults.Disk):
        """Weights do not fit."""

        def check(self, what: str, path: object) -> None:
            if what == "write" and str(path).startswith(str(cache)):
                self.failed = what
                raise OSError(28, "No space left on device")

    with faults.on(Full(cache)):
        error = problem()
    assert error.code == "cache-unwritable"
    assert error.problem.endswith(f"{cache}: No space left on device")
    assert "free some space" in str(hint_of(error))
    assert files_of(pull()) == files_of(small)


def test_a_cache_that_cannot_be_written_is_said_without_a_request(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    assert problem().problem.endswith(f"{tmp_path / 'file'} is not a folder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no" / "hub"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert problem().problem.endswith(f"{tmp_path} is read-only")
    assert hub.requests == []


def test_a_model_in_a_read_only_cache_elsewhere_is_used_as_it_is(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(elsewhere))
    folder = pull()
    assert folder.is_relative_to(elsewhere)
    hub.requests.clear()
    with faults.on(faults.Disk(elsewhere)) as disk:
        assert pull() == folder
    assert (disk.done, hub.requests) == (0, [])


def test_a_cache_may_be_copied_to_another_machine(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pull()
    shutil.copytree(tmp_path / "hf", tmp_path / "there", symlinks=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "there" / "hub"))
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "new"))
    there = find_model("17m", offline=True, reporter=Silence()).folder
    assert there == tmp_path / "there" / folder.relative_to(tmp_path / "hf")
