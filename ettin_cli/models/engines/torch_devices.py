"""The device and dtype that torch uses, for those named by the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ettin_cli.errors import InvalidArgumentError, ModelError
from ettin_cli.models.engines.devices import (
    cpu_has_bf16,
    gpu_problem,
    growing_segments,
    is_cpu,
    prepare_for_torch,
)
from ettin_cli.models.engines.settings import DTYPES, EngineSettings
from ettin_cli.records import Reporter

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

    device = chosen_device(wanted)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def sharing_devices(settings: EngineSettings, reporter: Reporter) -> tuple[str, ...]:
    """Return the devices that share the work of a model; none: it runs on `settings.device`."""
    if settings.devices or not settings.every_gpu:
        return settings.devices
    return _like_gpus(settings.device, reporter)


def _like_gpus(wanted: str, reporter: Reporter) -> tuple[str, ...]:
    """Return the visible GPUs like the first, if `wanted` stands for several of them.

    Other kinds of GPU would give other scores, and the slowest would hold up the others.
    """
    if wanted not in ("auto", "cuda") or is_cpu(wanted):
        return ()
    import torch

    numbers = range(torch.cuda.device_count())
    if len(numbers) < 2:
        return ()
    try:
        with growing_segments():
            kinds = [_kind(number) for number in numbers]
    except (RuntimeError, AssertionError):
        return ()  # loading the model says why
    if others := [
        f"cuda:{number} ({kinds[number]})" for number in numbers if kinds[number] != kinds[0]
    ]:
        reporter.notice(f"using only GPUs like cuda:0 ({kinds[0]}), so not {', '.join(others)}")
    like = tuple(f"cuda:{number}" for number in numbers if kinds[number] == kinds[0])
    return like if len(like) > 1 else ()


def _kind(number: int) -> str:
    import torch

    major, minor = torch.cuda.get_device_capability(number)
    return f"{torch.cuda.get_device_name(number)}, {major}.{minor}"


def chosen_device(wanted: str) -> torch.device:
    """Return the torch device for a device as named by the user.

    Raises:
        InvalidArgumentError: There is no such device.
        ModelError: The requested device cannot be used.
    """
    prepare_for_torch()
    import torch

    kind, _, number = wanted.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise InvalidArgumentError(
            f"unknown device {wanted!r}",
            argument="device",
            choices=("auto", "cpu", "cuda", "cuda:N", "mps"),
        )
    if wanted == "auto":
        return torch.device("cpu" if is_cpu("auto") else "cuda")
    problem = None
    if kind == "cuda":
        problem = gpu_problem(int(number or 0))
    elif kind == "mps" and not torch.backends.mps.is_available():
        problem = "torch finds no Apple GPU"
    if problem:
        raise ModelError(
            f"device {wanted} cannot be used: {problem}",
            code="device-unavailable",
            device=wanted,
        )
    return torch.device(wanted)


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
        return torch.bfloat16 if has_bf16(device) else torch.float16
    if wanted == "fast" and device.type == "cpu":
        if cpu_has_bf16():
            return torch.bfloat16
        reporter.detail("this CPU has no bf16 arithmetic, so dtype fast means fp32")
    return torch.float32


def has_bf16(device: torch.device) -> bool:
    """Return whether a CUDA device computes in bf16 itself; torch can emulate it, slowly."""
    import torch

    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
