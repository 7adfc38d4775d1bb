"""How the user wants models to run."""

from __future__ import annotations

import os
from dataclasses import dataclass

DTYPES = ("auto", "fp32", "bf16", "fp16", "fast")
ENGINES = ("auto", "torch", "onnxruntime", "openvino")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the user wants models to run; the defaults choose what is fast and exact here.

    Args:
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, fp32, bf16, fp16, or fast: the fastest this device has, exact or not.
        batch_size: Most texts in a batch; None: as many as fit its bound of tokens.
        max_length: A lower cap on tokens than the model's own.
        threads: CPU threads of a model; None: as many as there are cores. With torch they are those
            of the process, and None leaves them as they are.
        engine: auto, torch, onnxruntime or openvino: what computes; all but torch are for the CPU.
    """

    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    max_length: int | None = None
    threads: int | None = None
    trust_remote_code: bool = False
    engine: str = "auto"


def cpu_threads(settings: EngineSettings) -> int:
    """Return how many threads a model may keep busy on the CPU."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return settings.threads or (int(limit) if limit.isdigit() else 0) or usable_cores()


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
