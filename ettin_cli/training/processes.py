"""The processes of a distributed run, started by torchrun or `accelerate launch`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ettin_cli.errors import (
    INTERRUPTED,
    EttinError,
    InvalidArgumentError,
    ModelError,
    first_line,
)
from ettin_cli.models.engines import growing_segments, is_out_of_memory

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

# The environment variables that a launcher sets.
TOLD = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
# The other processes wait while the main one indexes and measures, which may take long.
PATIENCE = timedelta(days=7)
# Gradients are added right after a gathering of all processes. One that dies in between ends the
# others after this time, not after PATIENCE.
SUM_PATIENCE = timedelta(minutes=10)
# In the messages of gloo, NCCL and the store when another process is gone.
GONE = (
    *("closed by peer", "reset by peer", "refused", "Broken pipe", "broken pipe"),
    *("remote process exited", "timed out", "Timed out", "timeout", "Timeout"),
)
# Longer than processes that fail alike are apart.
FAILURE_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Processes:
    """One process's view of a distributed run; a single process needs no launcher.

    Args:
        rank: The rank of this process; only rank 0, the main process, writes and reports.
        local_rank: The rank among the processes of this machine.
        sums: torch's group of all processes for adding gradients; empty: the default group.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    sums: Sequence[Any] = ()

    @property
    def main(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """Return the device of this process; each of several processes has its own GPU.

        Raises:
            InvalidArgumentError: The processes would share one GPU.
        """
        if self.size == 1 or wanted == "cpu":
            return wanted
        import torch

        if wanted not in ("auto", "cuda"):
            raise InvalidArgumentError(
                f"{self.size} processes cannot share device {wanted}; "
                "device cuda gives each process its own GPU",
                argument="device",
                value=wanted,
                choices=("auto", "cpu", "cuda"),
            )
        if wanted == "auto" and not torch.cuda.is_available():
            return "cpu"
        if self.local_rank < torch.cuda.device_count():
            with growing_segments():
                torch.cuda.set_device(self.local_rank)
        return f"cuda:{self.local_rank}"

    @property
    def _group(self) -> Any:
        return self.sums[0] if self.sums else None

    def gather(self, value: T) -> list[T]:
        """Return the value of every process, by rank.

        Raises:
            ModelError: Another process has exited.
        """
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        with _connected():
            dist.all_gather_object(values, value)
        return values

    def on_main(self, work: Callable[[], T]) -> T:
        """Return the result of the main process; an exception there is raised in all processes."""
        made: Any = None
        stop: BaseException | None = None
        if self.main:
            try:
                made = work()
            except (EttinError, KeyboardInterrupt, SystemExit) as error:
                stop = error
        made, stop = self.gather((made, stop))[0]
        if stop is not None:
            raise stop
        done: T = made
        return done

    def main_first(self, work: Callable[[], T]) -> T:
        """Return the result of each process, computed after the main process has finished."""
        made: list[T] = []
        self.on_main(lambda: made.append(work()))
        return made[0] if made else work()

    def add_up(self, weights: Sequence[torch.Tensor]) -> None:
        """Sum the gradients of every weight over all processes."""
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        # A process whose part of a step is empty has no gradients.
        gradients = [
            torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights
        ]
        with _connected():
            for weight, gradient in zip(weights, gradients, strict=True):
                dist.all_reduce(gradient, group=self._group)
                weight.grad = gradient

    def align(self, weights: Sequence[torch.Tensor]) -> None:
        """Copy the main process's weights to all processes."""
        if self.size == 1:
            return
        import torch.distributed as dist

        # All are here now, so that none waits for a long time below.
        self.gather(None)
        with _connected():
            for weight in weights:
                dist.broadcast(weight.detach(), 0, group=self._group)


ALONE = Processes()


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the processes started by a launcher, if there is one.

    Only the main process writes to stderr, and a failure shared by several is reported once.
    """
    if not os.environ.keys() >= TOLD or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    import torch
    import torch.distributed as dist

    # Its functions keep the process group that exists when it is imported, as a default argument.
    # A group that is not freed ends its threads while the process exits, which may abort.
    import torch.distributed.nn.functional
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    sums: list[Any] = []
    dist.init_process_group(store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        with ExitStack() as held:
            if rank:
                nowhere = held.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                held.enter_context(redirect_stderr(nowhere))
            if torch.cuda.is_available():
                # NCCL waits on the GPU, and notices no lost connection. gloo does.
                sums.append(dist.new_group(timeout=SUM_PATIENCE))
            yield Processes(rank, size, int(os.environ["LOCAL_RANK"]), sums)
    except EttinError as error:
        # If the process that holds the store is gone, this one reports the error itself.
        with suppress(RuntimeError):
            failure = f"ettin: {error.problem}"
            first = store.add(failure, 1) == 1
            if not rank and error.code != "process-ended":
                _await_all(lambda: store.add(failure, 0) >= size)
            if not first:
                raise SystemExit(error.exit_code) from None
        raise
    except KeyboardInterrupt:
        if rank:
            raise SystemExit(INTERRUPTED) from None
        raise
    finally:
        # A group that is still referred to keeps its threads.
        sums.clear()
        dist.destroy_process_group()


def _await_all(all_failed: Callable[[], bool]) -> None:
    """Keep the store until every process has recorded the same failure, for a few seconds."""
    until = time.monotonic() + FAILURE_WAIT_S
    while not all_failed() and time.monotonic() < until:
        time.sleep(0.02)


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        known = communication_error(error)
        if known is None:
            raise
        raise known from error


def communication_error(error: RuntimeError) -> ModelError | None:
    """Return what an error of torch's communication between processes means; None if unknown."""
    text = str(error)
    if is_out_of_memory(error):
        return ModelError(
            f"the gradients of all processes do not fit in GPU memory: {first_line(error)}",
            code="training-out-of-memory",
        )
    if any(sign in text for sign in GONE):
        return ModelError("another process of this run has ended", code="process-ended")
    if "NCCL" in text:
        return ModelError(
            f"the GPUs of this run cannot communicate: {first_line(error)}",
            code="communication-failed",
        )
    return None
