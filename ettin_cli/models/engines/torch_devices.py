"""The device and dtype that torch uses, for those named by the user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import InvalidArgumentError, ModelError
from ettin_cli.models.engines.devices import cpu_has_bf16, is_cpu
from ettin_cli.models.engines.settings import DTYPES
from ettin_cli.records import Reporter, Silence

if TYPE_CHECKING:
    import torch


def device_name(wanted: str) -> str:
    """Return the device that models run on: `cpu`, `mps`, or the name of the GPU.

    Raises:
        ModelError: The requested device cannot be used.
    """
    if is_cpu(wanted):
        return "cpu"
    import torch

    device = chosen_device(wanted, Silence())
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def chosen_device(wanted: str, reporter: Reporter) -> torch.device:
    """Return the torch device for a device as named by the user.

    Raises:
        InvalidArgumentError: There is no such device.
        ModelError: The requested device cannot be used.
    """
    import torch

    kind, _, number = wanted.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise InvalidArgumentError(
            f"unknown device {wanted!r}",
            argument="device",
            choices=("auto", "cpu", "cuda", "cuda:N", "mps"),
        )
    if wanted == "auto":
        return torch.device(_best_device(reporter))
    problem = None
    if kind == "cuda":
        problem = _cuda_problem(int(number or 0))
    elif kind == "mps" and not torch.backends.mps.is_available():
        problem = "torch finds no Apple GPU"
    if problem:
        raise ModelError(
            f"device {wanted} cannot be used: {problem}",
            code="device-unavailable",
            device=wanted,
        )
    return torch.device(wanted)


def _best_device(reporter: Reporter) -> str:
    import torch

    if torch.cuda.is_available():
        problem = _cuda_problem(0)
        if problem is None:
            return "cuda"
        reporter.notice(f"using the CPU, since the GPU cannot be used: {problem}")
    elif Path("/dev/nvidia0").exists():
        reporter.notice("using the CPU, since this torch is built without CUDA for the GPU")
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cuda_problem(number: int) -> str | None:
    """Return why a CUDA device cannot compute, by computing on it; None if it can."""
    import torch

    try:
        if not torch.cuda.is_available():
            return "torch finds no CUDA device"
        torch.ones(2, device=f"cuda:{number}").sum().item()
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().splitlines()[0]
    return None


def chosen_dtype(wanted: str, device: torch.device, reporter: Reporter) -> torch.dtype:
    """Return a device's torch dtype for a dtype as named by the user.

    Raises:
        InvalidArgumentError: There is no such dtype.
    """
    import torch

    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if wanted not in DTYPES:
        raise InvalidArgumentError(f"unknown dtype {wanted!r}", argument="dtype", choices=DTYPES)
    if wanted in named:
        return named[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if wanted == "fast" and device.type == "cpu":
        if cpu_has_bf16():
            return torch.bfloat16
        reporter.detail("this CPU has no bf16 arithmetic, so dtype fast means fp32")
    return torch.float32
