"""Commands that download models, as processes, and the requests that they send."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ettin_cli.settings import ETTIN_MODELS
from tests.hub_models import files_of, name_of, repository, small_ettin
from tests.hub_server import Fault, Hub, is_large

NAME = name_of("17m")
MODEL = ETTIN_MODELS["17m"]
TRUNK = "model.safetensors"
WAIT_S = 120


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_ettin(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def hub(small: Path) -> Iterator[Hub]:
    with Hub({NAME: repository("17m", small)}) as hub:
        yield hub


class Commands:
    """Runs command lines that ask a hub, with a cache of their own."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder = hub, folder

    def start(self, *words: str, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "ettin_cli", *words],
            env={**self.hub.environment(self.folder), "ETTIN_DEVICE": "cpu", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )

    def __call__(self, *words: str, **variables: str) -> tuple[int, str, str]:
        return ended(self.start(*words, **variables))

    @property
    def snapshot(self) -> Path:
        repository = self.folder / "hf" / "hub" / f"models--{MODEL.hub_id.replace('/', '--')}"
        return repository / "snapshots" / MODEL.revision


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=WAIT_S)
    return process.returncode, out, err


@pytest.fixture
def ettin(hub: Hub, tmp_path: Path) -> Commands:
    return Commands(hub, tmp_path)


def test_pull_asks_for_what_is_needed_and_later_commands_ask_nothing(
    ettin: Commands, hub: Hub, small: Path
) -> None:
    place = f"17m  {ettin.snapshot}\n"
    said = f"ettin: downloading {MODEL.hub_id} from the hub (1 MB)\n"
    assert ettin("models", "pull", "17m") == (0, place, said)
    needed = files_of(small)
    heads = sum(1 if is_large(path, content) else 2 for path, content in needed.items())
    assert len(hub.requests) == 1 + heads + len(needed)
    assert {one.path.split("/")[1] for one in hub.requests} == {"api", "cross-encoder", "repos"}
    agents = {one.headers["user-agent"] for one in hub.requests}
    assert not [agent for agent in agents if "torch" in agent or "agent/" in agent]
    hub.requests.clear()
    assert ettin("models", "pull", "17m") == (0, place, "")
    scored = ettin("score", "a ferry", "the ferry sails", "-r", "17m")
    assert (scored[0], scored[2]) == (0, "")
    assert ettin("score", "a ferry", "the ferry sails", "-r", "17m", "--offline") == scored
    assert hub.requests == []


def test_two_pulls_at_once_fetch_each_file_once(ettin: Commands, hub: Hub, small: Path) -> None:
    sent = hub.repositories[NAME].sent_as(TRUNK)
    hold = threading.Event()
    hub.faults.append(Fault(f"GET cdn{sent}", hold=hold))
    pulls = [ettin.start("models", "pull", "17m") for _ in range(2)]
    # Both have come as far as the trunk's weights.
    hub.until_asked(f"HEAD .*{MODEL.revision}/{TRUNK}", times=2)
    hub.until_asked(f"GET cdn{sent}")
    hold.set()
    assert [ended(pull)[0] for pull in pulls] == [0, 0]
    assert files_of(ettin.snapshot) == files_of(small)
    assert hub.asked("GET").count(f"GET cdn{sent}") == 1


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals")
@pytest.mark.parametrize("number", [getattr(signal, "SIGKILL", -1), signal.SIGINT])
def test_a_pull_that_was_ended_is_resumed_by_the_next_command(
    ettin: Commands, hub: Hub, small: Path, number: signal.Signals
) -> None:
    sent = hub.repositories[NAME].sent_as(TRUNK)
    hold = threading.Event()
    hub.faults.append(Fault(f"GET cdn{sent}", hold=hold, times=1))
    pull = ettin.start("models", "pull", "17m")
    hub.until_asked(f"GET cdn{sent}")
    pull.send_signal(number)
    # It does not wait for the hub.
    code, out, _ = ended(pull)
    hold.set()
    assert (code, out) == ({signal.SIGKILL: -9, signal.SIGINT: 130}[number], "")
    missing = files_of(small).keys() - files_of(ettin.snapshot).keys()
    hub.requests.clear()
    assert ettin("score", "a ferry", "the ferry sails", "-r", "17m")[0] == 0
    assert files_of(ettin.snapshot) == files_of(small)
    known = hub.repositories[NAME]
    ends = {known.sent_as(path): path for path in known.files}
    fetched = [path for end, path in ends.items() for one in hub.asked("GET") if one.endswith(end)]
    # A file may have been complete without its name in the cache.
    assert len(fetched) == len(set(fetched))
    assert {TRUNK} <= set(fetched) <= set(missing)


def test_a_limit_is_said_in_one_line_with_a_hint(ettin: Commands, hub: Hub) -> None:
    hub.faults.append(Fault("/api/", 429, {"Retry-After": "100"}))
    code, out, err = ettin("models", "pull", "17m")
    assert (code, out) == (1, "")
    assert err == (
        f"ettin: error: {MODEL.hub_id} is not on this machine and the hub limits requests from "
        "here (429 Too Many Requests); try again in 100 s\n"
        "  hint: requests with a token have a higher limit: hf auth login, or set HF_TOKEN\n"
    )
    # Whoever asks for a download explicitly is heard, in spite of what is remembered.
    ettin("models", "pull", "17m")
    assert len(hub.requests) == 2
