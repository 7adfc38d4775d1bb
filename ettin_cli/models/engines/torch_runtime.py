"""The torch route: a model's place, and batches that fit in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.batching import batches
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_attention import FLASH, SDPA, loaded
from ettin_cli.models.engines.torch_devices import chosen_device, chosen_dtype
from ettin_cli.models.engines.torch_inputs import inputs, on_device
from ettin_cli.records import Advance, Reporter, no_progress
from ettin_cli.runtime import Lock, guard_children, hold_to_one_thread, in_order, is_quiet

CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = 65_536
# Texts that a thread tokenizes and computes, and the number of such threads: the GPU computes for
# one while others tokenize or wait for results.
GPU_WINDOW, GPU_THREADS = 1024, 3

R = TypeVar("R")
T = TypeVar("T")

guard_children()


class Placement:
    """The device and dtype of a model.

    torch's number of threads applies to the process; it is set only if the settings give one.

    Raises:
        ModelError: The requested device cannot be used.
    """

    def __init__(self, settings: EngineSettings, reporter: Reporter) -> None:
        import torch

        if is_quiet():
            _quieten()
        if hold_to_one_thread("torch"):
            reporter.detail("forked after torch was loaded: torch uses one thread")
        elif settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings = settings
        self.reporter = reporter
        self.device = chosen_device(settings.device, reporter)
        self.dtype = chosen_dtype(settings.dtype, self.device, reporter)
        self.at_once = GPU_THREADS if self.device.type == "cuda" else 1
        # Held while a batch is computed or handed to the GPU, so that only one takes its memory.
        self.turn = Lock()
        reporter.detail(f"torch {torch.__version__} on {self.device} in {self.dtype_name}")

    def windows(
        self,
        texts: Sequence[T],
        work: Callable[[Sequence[T], Advance], R],
        advance: Advance = no_progress,
    ) -> Iterator[R]:
        """Yield the results for consecutive windows of texts: on a CPU there is only one.

        On a GPU threads work on several. The windows, and so the batches, depend only on the texts.

        Args:
            work: Called with a window, and a function to call after each batch.
        """
        if self.at_once == 1:
            yield work(texts, advance)
            return
        stopped, turn = Event(), Lock()

        def counted(done: int) -> None:
            if stopped.is_set():
                raise InterruptedError
            with turn:
                advance(done)

        parts = (texts[at : at + GPU_WINDOW] for at in range(0, len(texts), GPU_WINDOW))
        try:
            yield from in_order((partial(work, part, counted) for part in parts), self.at_once)
        finally:
            stopped.set()

    @property
    def dtype_name(self) -> str:
        """Return the dtype's name, such as float32."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def backend(self) -> str:
        """Return the runtime, device and dtype, as shown in results."""
        return f"torch {self.device.type} {self.dtype_name}"

    @property
    def batch_tokens(self) -> int:
        """Return the maximum tokens of a batch, padding included."""
        return CPU_BATCH_TOKENS if self.device.type == "cpu" else GPU_BATCH_TOKENS

    def load(
        self,
        model_class: Callable[..., Any],
        folder: Path,
        *,
        unpadded: bool = True,
        autocast: bool = False,
    ) -> Any:
        """Return the model, ready to run: with Flash Attention 2 if it helps, else SDPA.

        Args:
            unpadded: Whether the caller gets its inputs from `features`.
            autocast: Whether 32-bit weights are multiplied in bf16.

        Raises:
            ModelError: The folder's model cannot be loaded, or is incomplete.
        """
        # Flash Attention supports only 16-bit dtypes.
        short = autocast or self.dtype_name != "float32"
        there = self.device.type == "cuda" and find_spec("kernels") is not None
        if unpadded and short and there:
            try:
                model = self._loaded(model_class, folder, FLASH)
                if model._can_flatten_inputs():
                    return model
                self.reporter.detail("using SDPA: Flash Attention 2 would pad and is slower")
            except (ModelError, ImportError) as error:
                self.reporter.notice(f"using SDPA, Flash Attention 2 is not available: {error}")
        return self._loaded(model_class, folder, SDPA)

    def features(self, model: Any, texts: Sequence[TokenIds]) -> dict[str, Any]:
        """Return a batch in the form that a model loaded here expects, padded only if necessary."""
        made = inputs(model, texts, flat=model._can_flatten_inputs())
        return on_device(made, self.device)

    def _loaded(self, model_class: Callable[..., Any], folder: Path, attention: str) -> Any:
        return loaded(
            model_class,
            folder,
            attention,
            device=self.device,
            dtype=self.dtype,
            trust_remote_code=self.settings.trust_remote_code,
        )


def _quieten() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from logging import ERROR, getLogger

    from transformers.utils import logging

    getLogger("sentence_transformers").setLevel(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def run(
    lengths: Sequence[int],
    forward: Callable[[list[int]], None],
    placement: Placement,
    advance: Advance = no_progress,
) -> None:
    """Call `forward` on batches of positions; a batch too large for the GPU is halved.

    Raises:
        ModelError: Even a single text does not fit in GPU memory.
    """
    hold_to_one_thread("torch")
    rows = placement.settings.batch_size
    halved = False
    waiting = list(batches(lengths, placement.batch_tokens, rows))[::-1]
    while waiting:
        batch = waiting.pop()
        if not _fits(forward, batch):
            if len(batch) == 1:
                raise ModelError(
                    f"a text of {lengths[batch[0]]} tokens does not fit in GPU memory",
                    code="out-of-memory",
                    tokens=lengths[batch[0]],
                )
            half = len(batch) // 2
            waiting += [batch[half:], batch[:half]]
            if not halved:
                placement.reporter.notice("out of GPU memory; halving the batches")
                halved = True
        else:
            advance(len(batch))


def _fits(forward: Callable[[list[int]], None], batch: list[int]) -> bool:
    import torch

    try:
        with torch.inference_mode():
            forward(batch)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return False
    return True
