"""Several devices share pairs and texts: here two processes on the CPU."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ettin_cli.errors import ModelError
from ettin_cli.models.engines import torch_runtime
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.cross_encoder import SharedCrossEncoder, load_cross_encoder
from ettin_cli.records import Silence
from ettin_cli.runtime import in_order
from tests.models import TEXTS, ettin


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
