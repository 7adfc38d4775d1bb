"""The processes that train one student together, as torchrun or `accelerate launch` starts them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ettin_cli.errors import INTERRUPTED, EttinError, InvalidArgumentError, ModelError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

# What a launcher tells each process that it starts.
TOLD = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
# All others wait while the main process indexes and measures, however long that takes.
PATIENCE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, as one of them sees them; a single one needs no launcher.

    Args:
        rank: Of this process; 0 is the main one, which alone writes and tells.
        local_rank: The same among the processes of its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """Return where this process computes: each of several has a GPU of its own.

        Raises:
            InvalidArgumentError: All of them were to share one GPU.
        """
        if self.size == 1 or wanted == "cpu":
            return wanted
        import torch

        if wanted not in ("auto", "cuda"):
            raise InvalidArgumentError(
                f"{self.size} processes cannot share the device {wanted}; "
                "with the device cuda each has a GPU of its own",
                argument="device",
                value=wanted,
                choices=("auto", "cpu", "cuda"),
            )
        if wanted == "auto" and not torch.cuda.is_available():
            return "cpu"
        if self.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(self.local_rank)
        return f"cuda:{self.local_rank}"

    def gather(self, value: T) -> list[T]:
        """Return what each process gives, by rank.

        Raises:
            ModelError: Another process has ended.
        """
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        with _connected():
            dist.all_gather_object(found, value)
        return found

    def on_main(self, work: Callable[[], T]) -> T:
        """Return what the main process makes; what stops it stops all."""
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
        """Return what each process makes, once the main one has made it."""
        made: list[T] = []
        self.on_main(lambda: made.append(work()))
        return made[0] if made else work()

    def add_up(self, weights: Sequence[torch.Tensor]) -> None:
        """Give every weight the sum of its gradients in all processes."""
        if self.size == 1:
            return
        import torch
        import torch.distributed as dist

        # A process whose part of a step was empty has none.
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
        with _connected():
            for weight, gradient in zip(weights, gradients, strict=True):
                dist.all_reduce(gradient)
                weight.grad = gradient

    def align(self, weights: Sequence[torch.Tensor]) -> None:
        """Give every process the main one's weights."""
        if self.size == 1:
            return
        import torch.distributed as dist

        with _connected():
            for weight in weights:
                dist.broadcast(weight.detach(), 0)


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that a launcher has started together with this one, if it has.

    All but the main one are silent, and a failure that several share is said by one.
    """
    if not os.environ.keys() >= TOLD or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    dist.init_process_group(store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        with ExitStack() as held:
            if rank:
                nowhere = held.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                held.enter_context(redirect_stderr(nowhere))
            yield Processes(rank, size, int(os.environ["LOCAL_RANK"]))
    except EttinError as error:
        # Without the process that holds the store, this one speaks for itself.
        with suppress(RuntimeError):
            if store.add(f"ettin: {error.problem}", 1) > 1:
                raise SystemExit(error.exit_code) from None
        raise
    except KeyboardInterrupt:
        if rank:
            raise SystemExit(INTERRUPTED) from None
        raise
    finally:
        dist.destroy_process_group()


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ModelError("another process of this run has ended", code="process-ended") from error
