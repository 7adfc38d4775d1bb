"""Several devices share pairs and texts: here two processes on the CPU."""

import os
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import numpy as np
import pytest

from ettin_cli.errors import ModelError
from ettin_cli.index import writer
from ettin_cli.models.engines import torch_runtime, workers
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.workers import Workers
from ettin_cli.models.rerankers.cross_encoder import SharedCrossEncoder, load_cross_encoder
from ettin_cli.models.shared_embedder import SharedEmbedder
from ettin_cli.records import Reporter, Silence
from ettin_cli.runtime import counted, in_order
from tests.indexes import Notices
from tests.models import TEXTS, ettin
from tests.test_writer import RECIPE, begin, embed


def test_results_come_in_order_and_a_failure_after_those_before_it() -> None:
    def failing() -> Iterator[Any]:
        yield from (partial(int, number) for number in range(5))
        raise OSError("the input is gone")

    for at_once in (1, 3):
        found: list[int] = []
        with pytest.raises(OSError, match="the input is gone"):
            found.extend(in_order(failing(), at_once))
        results = in_order([partial(int, "7"), partial(int, "x"), partial(int, "8")], at_once)
        assert next(results) == 7
        with pytest.raises(ValueError, match="invalid literal"):
            next(results)
        assert list(results) == []
    collected = []
    with pytest.raises(OSError, match="the input is gone"):
        for number in in_order(failing(), 3):
            collected.append(number)
    assert collected == [0, 1, 2, 3, 4]


def test_a_task_that_counts_ends_with_the_results() -> None:
    ended, begun, stopped = Event(), Event(), Event()
    count = counted(lambda done: begun.set(), ended)

    def endless() -> None:
        try:
            while True:
                count(1)
        except InterruptedError:
            stopped.set()

    results = in_order([lambda: begun.wait(60), endless], 2, ended)
    assert next(results)
    results.close()  # type: ignore[attr-defined]
    assert stopped.wait(60)


class Model:
    """A model whose device is its result."""

    def __init__(self, device: str, reporter: Reporter) -> None:
        if device == "cuda:1":
            raise ValueError("no kernel\nfor it")
        reporter.detail(f"loaded on {device}")
        self.device = device

    def where(self, text: str) -> str:
        if text == "long":
            raise ModelError("too long")
        return f"{text} {self.device}"


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have threads stand in for the processes of `Workers`."""

    def started(self: Workers, device: str) -> list[workers._Lane]:
        pipes = [Pipe() for _ in range(workers.LANES)]
        theirs = [end for _, end in pipes]
        run = partial(workers._answer_all, self._load, device, theirs)
        Thread(target=run, daemon=True).start()
        return [workers._Lane(ours, device) for ours, _ in pipes]

    monkeypatch.setattr(Workers, "_started", started)


class Meeting:
    """An embedder that computes three calls at once, which takes two devices."""

    backend = "none"

    def __init__(self, together: Barrier, device: str, reporter: Reporter) -> None:
        self.together = together

    def embed_documents(self, texts: Sequence[str]) -> Any:
        self.together.wait()
        return embed(texts)


def test_the_texts_of_an_index_are_divided_over_the_devices(
    in_threads: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SHARD_ROWS", 2)
    settings = EngineSettings(devices=("cuda:0", "cuda:1"))
    load = partial(Meeting, Barrier(3, timeout=60))
    shared = SharedEmbedder(load, RECIPE.embedder, settings, Silence())
    texts = [f"text {number}" for number in range(12)]
    missing = begin(tmp_path, texts, RECIPE, None).missing()
    missing.embed(shared.embed_documents, at_once=shared.at_once)
    np.testing.assert_array_equal(missing.vectors, embed(texts).astype(np.float16))


def test_a_device_that_cannot_load_the_model_is_left_out(in_threads: None) -> None:
    with pytest.raises(ModelError, match="the process for device cuda:1 failed: no kernel"):
        Workers(Model, ["cuda:1", "cuda:0"], Silence(), ["device"])
    notices = Notices()
    shared = Workers(Model, ["cuda:0", "cuda:1"], notices, ["device"])
    busy = [shared._lane() for _ in range(workers.LANES)]
    found: list[str] = []
    waiting = Thread(target=lambda: found.append(shared.call("where", "a")), daemon=True)
    waiting.start()
    # The second device is tried, and then the first is waited for.
    while not notices.said:
        waiting.join(0.01)
    for lane in busy:
        shared._free.put(lane)
    waiting.join(60)
    assert found == ["a cuda:0"]
    problem = "the process for device cuda:1 failed: no kernel"
    assert notices.said == [f"device cuda:1 is left out: {problem}"]


def test_an_error_of_the_model_ends_no_process_and_details_are_shown(in_threads: None) -> None:
    details: list[str] = []

    class Details(Silence):
        def detail(self, message: str) -> None:
            details.append(message)

    shared = Workers(Model, ["cuda:0"], Details(), ["device"])
    with pytest.raises(ModelError, match="too long"):
        list(shared.each("where", ["a", "long", "b"]))
    assert shared.call("where", "c") == "c cuda:0"
    assert details == ["loaded on cuda:0"]


def test_after_an_interruption_or_a_death_later_calls_say_the_first_cause(
    in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(lane: workers._Lane, name: str, given: Any) -> workers.Answer:
        lane.connection.send((name, given))
        raise problem

    problem: BaseException = KeyboardInterrupt()
    interrupted = Workers(Model, ["cuda:0"], Silence(), ["device"])
    dead = Workers(Model, ["cuda:0", "cuda:2"], Silence(), ["device"])
    with monkeypatch.context() as patch:
        patch.setattr(workers._Lane, "ask", ask)
        with pytest.raises(KeyboardInterrupt):
            interrupted.call("where", "a")
        for device in ("cuda:0", "cuda:2"):
            problem = ModelError(f"the process for device {device} has ended")
            with pytest.raises(ModelError, match="cuda:0 has ended"):
                dead.call("where", "a")
    # The answer to the first call is not that of the second.
    with pytest.raises(ModelError, match="the processes of the model have ended"):
        for _ in range(workers.LANES):
            interrupted.call("where", "b")


def test_two_processes_score_as_one_and_one_that_dies_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ettin(tmp_path, hidden=32, layers=1, heads=1)
    settings = EngineSettings("cpu", devices=("cpu", "cpu"))
    monkeypatch.setattr(torch_runtime, "GPU_WINDOW", 4)
    pairs = [(TEXTS[at % 3][:20], f"{TEXTS[at % 2]} {at}" * (at % 5 + 1)) for at in range(50)]
    alone, cut = load_cross_encoder(folder, EngineSettings("cpu"), Silence()).score(pairs)
    shared = load_cross_encoder(folder, settings, Silence())
    assert isinstance(shared, SharedCrossEncoder)
    done: list[int] = []
    values, flags = shared.score(pairs, done.append)
    np.testing.assert_array_equal(values, alone)
    assert (flags, sum(done)) == (cut, 50)
    assert len(shared.workers._processes) == 2
    for process in shared.workers._processes:
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="the process for device cpu has ended") as caught:
        shared.score(pairs)
    assert caught.value.code == "worker-ended"
    assert not shared.workers._processes
