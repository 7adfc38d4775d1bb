"""Settings for running models."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Self

from ettin_cli.errors import InvalidArgumentError

DEVICES = re.compile(r"auto|cpu|cuda(:\d+)?|mps")
DEVICE_NAMES = ("auto", "cpu", "cuda", "cuda:N", "mps")
DTYPES = ("auto", "fp32", "bf16", "fp16", "fast")
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings for running models; the defaults choose what is fast and exact on this machine.

    Args:
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, fp32, bf16, fp16, or fast: the fastest on this device, exact or not.
        batch_size: Maximum texts in a batch; None: limited only by tokens.
        max_length: A token limit below the model's own.
        threads: CPU threads of a model; None: the number of cores. With torch the number applies
            to the process, and None leaves it unchanged.
        engine: auto, or the name of a backend (see `registry.BACKENDS`).
        devices: Devices that share the scoring of pairs and the embedding of texts, with a process
            and a copy of the model each; empty: only `device`, in this process.
        every_gpu: Whether the GPUs like the first share it too, if `device` is cuda, or auto where
            that is a GPU.

    Raises:
        InvalidArgumentError: The device or dtype does not exist, or a number is below 1.
    """

    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    max_length: int | None = None
    threads: int | None = None
    trust_remote_code: bool = False
    engine: str = AUTO
    # Not shown, since results that name their settings do not depend on it.
    devices: tuple[str, ...] = field(default=(), repr=False)
    every_gpu: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        for device in (self.device, *self.devices):
            if not DEVICES.fullmatch(device):
                raise InvalidArgumentError(
                    f"unknown device {device!r}", argument="device", choices=DEVICE_NAMES
                )
        if self.dtype not in DTYPES:
            raise InvalidArgumentError(
                f"unknown dtype {self.dtype!r}", argument="dtype", choices=DTYPES
            )
        for name in ("batch_size", "max_length", "threads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InvalidArgumentError(f"{name} {value} is below 1", argument=name)

    @classmethod
    def from_environment(cls) -> Self:
        """Return the settings in ETTIN_DEVICE, ETTIN_DTYPE and ETTIN_THREADS.

        Raises:
            InvalidArgumentError: One of them is invalid.
        """
        threads = os.environ.get("ETTIN_THREADS") or None
        if threads is not None and not threads.isdecimal():
            raise InvalidArgumentError(
                f"ETTIN_THREADS is not a number: {threads!r}", argument="threads"
            )
        return cls(
            os.environ.get("ETTIN_DEVICE") or AUTO,
            os.environ.get("ETTIN_DTYPE") or AUTO,
            threads=int(threads) if threads else None,
        )


def cpu_threads(settings: EngineSettings) -> int:
    """Return the number of CPU threads that a model may use."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return settings.threads or (int(limit) if limit.isdigit() else 0) or usable_cores()


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
