"""The torch route: a model's place, and batches that fit in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf, isfinite
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from ettin_cli.errors import ModelError, first_line
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.batching import batches
from ettin_cli.models.engines.devices import prepare_for_torch
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_attention import (
    Kernel,
    find_kernel,
    is_unpadded,
    trunk_output,
    unfit,
    use,
    use_padded,
)
from ettin_cli.models.engines.torch_devices import chosen_device, chosen_dtype
from ettin_cli.models.engines.torch_inputs import inputs, on_device
from ettin_cli.models.engines.torch_loading import keep_head_exact, loaded
from ettin_cli.models.engines.torch_memory import (
    free_memory,
    is_out_of_memory,
)
from ettin_cli.records import Advance, Reporter, no_progress
from ettin_cli.runtime import (
    Lock,
    counted,
    guard_children,
    hold_to_one_thread,
    in_order,
    is_quiet,
)

if TYPE_CHECKING:
    import torch

CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = 65_536
# Texts that a thread tokenizes and computes, and the number of such threads: the GPU computes for
# one while others tokenize or wait for results.
GPU_WINDOW, GPU_THREADS = 1024, 3
# Texts to check a model with: the second is longer than the window of a local layer.
PROBES = ("ferry", "The ferry sails at nine o'clock from the western pier. " * 20)
# How far token vectors may be apart, as a share of their length: between two ways of attention in
# 16 bits, and between fp16 and fp32.
ATTENTIONS_APART, FP16_APART = 0.1, 0.02

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
        prepare_for_torch()
        import torch

        if is_quiet():
            _quieten()
        if hold_to_one_thread("torch"):
            reporter.detail("forked after torch was loaded: torch uses one thread")
        elif settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings = settings
        self.reporter = reporter
        # The tokens of a batch that was found to fit, if the default did not.
        self.fitting: int | None = None
        # Whether a model in 16 bits, for which there are kernels, was loaded without one.
        self.padded = False
        self.device = chosen_device(settings.device)
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
        ended = Event()
        count = counted(advance, ended)
        tasks = (partial(work, part, count) for part in windows_of(texts))
        yield from in_order(tasks, self.at_once, ended)

    @property
    def dtype_name(self) -> str:
        """Return the dtype's name, such as float32."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def backend(self) -> str:
        """Return the runtime, device and dtype, as shown in results and in keys of cached scores.

        A GPU that computes in 16 bits with padding says so, since other kernels give other bits.
        """
        padded = " sdpa" if self.padded and self.device.type == "cuda" else ""
        return f"torch {self.device.type}{padded} {self.dtype_name}"

    @property
    def batch_tokens(self) -> int:
        """Return the maximum tokens of a batch, padding included: what is known to fit so far."""
        default = CPU_BATCH_TOKENS if self.device.type == "cpu" else GPU_BATCH_TOKENS
        return min(default, self.fitting or default)

    def load(self, model_class: Callable[..., Any], folder: Path, *, autocast: bool = False) -> Any:
        """Return the model, ready to run: without padding if a kernel allows that, else with SDPA.

        Its head computes in float32. If fp16 was not requested but is all that the GPU has beside
        float32, the model is checked, and float32 is used if fp16 is not accurate.

        Args:
            autocast: Whether 32-bit weights are trained with products in bf16.

        Raises:
            ModelError: The folder's model cannot be loaded, is incomplete, or does not fit in GPU
                memory.
        """
        try:
            return self._ready(model_class, folder, autocast)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise ModelError(
                f"the model in {folder} does not fit in the free memory of {self.device}",
                code="out-of-memory",
                model=folder,
            ) from error

    def _ready(self, model_class: Callable[..., Any], folder: Path, autocast: bool) -> Any:
        import torch

        unasked = self.dtype is torch.float16 and self.settings.dtype != "fp16"
        model = loaded(
            model_class,
            folder,
            device=self.device,
            dtype=torch.float32 if unasked else self.dtype,
            trust_remote_code=self.settings.trust_remote_code,
        )
        if unasked:
            model = self._in_fp16(model)
        half = autocast or self.dtype is not torch.float32
        if half:
            keep_head_exact(model)
        why = self._unpadded(model, autocast) if half else "Flash Attention has no fp32"
        self.padded = half and why is not None
        if why:
            self.reporter.detail(f"attention: SDPA with padding, since {why}")
        return model

    def _in_fp16(self, model: Any) -> Any:
        """Return a float32 model in fp16, or unchanged if that is not accurate."""
        import torch

        weights = {name: value.cpu() for name, value in model.state_dict().items()}
        if hasattr(model.tokenizer, "pad"):
            wanted = trunk_output(model, PROBES)
            if _apart(trunk_output(model.half(), PROBES), wanted) <= FP16_APART:
                return model
        self.dtype = torch.float32
        model.float().load_state_dict(weights)
        self.reporter.notice("using fp32, since this GPU has no bf16 and fp16 gives other results")
        return model

    def _unpadded(self, model: Any, autocast: bool) -> str | None:
        """Make a model run without padding; return why that is impossible, or None.

        It is compared with SDPA once, since a kernel can fail on a GPU for many reasons.
        """
        import torch

        kernel = find_kernel(self.device)
        if not isinstance(kernel, Kernel):
            return kernel
        if why := unfit(model, training=autocast):
            return why
        with torch.autocast(self.device.type, torch.bfloat16, enabled=autocast):
            wanted = trunk_output(model, PROBES)
            use(model, kernel)
            try:
                apart = _apart(trunk_output(model, PROBES), wanted)
            except Exception as error:  # whatever it is, the model runs without the kernel
                why = f"{kernel.title} failed: {first_line(error)}"
            else:
                why = f"{kernel.title} gives other results" if apart > ATTENTIONS_APART else None
        if why:
            use_padded(model)
            self.reporter.notice(f"using SDPA with padding: {why}")
            return why
        self.reporter.detail(f"attention: {kernel.title}, without padding")
        return None

    def learn(self, tokens: int, *, texts: int) -> None:
        """Keep in mind that a batch of so many tokens did not fit in GPU memory.

        Raises:
            ModelError: The batch was a single text.
        """
        if texts == 1:
            raise ModelError(
                f"a text of {tokens} tokens does not fit in GPU memory",
                code="out-of-memory",
                tokens=tokens,
            )
        if self.fitting is None:
            self.reporter.notice("out of GPU memory; halving the batches")
        self.fitting = min(tokens // 2, self.fitting or tokens)
        self.reporter.detail(f"batches have at most {self.fitting:,} tokens from now on")

    def features(self, model: Any, texts: Sequence[TokenIds]) -> dict[str, Any]:
        """Return a batch in the form that a model loaded here expects, padded only if necessary."""
        made = inputs(model, texts, flat=is_unpadded(model))
        return on_device(made, self.device)


def windows_of(texts: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield consecutive windows of texts, as GPUs compute them."""
    return (texts[at : at + GPU_WINDOW] for at in range(0, len(texts), GPU_WINDOW))


def _apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the distance of vectors as a share of their length; infinite if any is not finite."""
    share = ((found - wanted).norm() / wanted.norm()).item()
    return share if isfinite(share) else inf


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

    Later batches, also of other calls, have no more tokens than what was left of it.

    Raises:
        ModelError: Even a single text does not fit in GPU memory.
    """
    hold_to_one_thread("torch")
    left: Sequence[int] = range(len(lengths))
    while left:
        left = _run(left, lengths, forward, placement, advance)


def _run(
    positions: Sequence[int],
    lengths: Sequence[int],
    forward: Callable[[list[int]], None],
    placement: Placement,
    advance: Advance,
) -> Sequence[int]:
    """Run batches until one does not fit, and return what is left to be run in smaller ones."""
    rows = placement.settings.batch_size
    made = batches([lengths[at] for at in positions], placement.batch_tokens, rows)
    waiting = [[positions[at] for at in batch] for batch in made]
    for number, batch in enumerate(waiting):
        if not _fits(forward, batch, placement):
            placement.learn(len(batch) * lengths[batch[0]], texts=len(batch))
            return [at for rest in waiting[number:] for at in rest]
        advance(len(batch))
    return ()


def _fits(forward: Callable[[list[int]], None], batch: list[int], placement: Placement) -> bool:
    import torch

    try:
        with torch.inference_mode():
            forward(batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    free_memory(placement.device)
    return False
