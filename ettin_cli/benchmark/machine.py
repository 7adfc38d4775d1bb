"""What the figures of a benchmark depend on beside the model: the processor and the libraries."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from ettin_cli.benchmark.peaks import FLOAT32, Peak, matmul_peaks
from ettin_cli.models.engines import EngineSettings, Placement, device_name, processor, usable_cores
from ettin_cli.records import Reporter

# What makes a difference to matrix products.
FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
ARM_FLAGS = ("asimd", "bf16", "i8mm", "sve")
LIBRARIES = (
    "ettin-cli sentence-transformers transformers tokenizers torch onnxruntime openvino numpy"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a benchmark ran.

    Args:
        device: cpu, mps, or the make of the GPU.
        place: The device as torch names it, such as cuda:0.
        cores: Those that this process may use.
        threads: Those that torch uses on the CPU.
        versions: Of Python and the libraries that are installed.
        matmul_gflops: What float32 matrix products reach on the device, in 10^9 a second.
        matmul_peaks: The same with the library that reaches it, for each type of number that the
            device computes in.
    """

    device: str
    place: str
    cpu: str
    flags: list[str]
    cores: int
    threads: int
    versions: dict[str, str]
    matmul_gflops: float
    matmul_peaks: dict[str, Peak]


def this_machine(settings: EngineSettings, reporter: Reporter) -> Machine:
    """Return what this machine is, and measure its peak.

    Raises:
        ModelError: The device that was asked for cannot be used.
    """
    import torch

    place = str(Placement(settings, reporter).device)
    cpu, flags = processor()
    peaks = matmul_peaks(place, settings.threads)
    return Machine(
        device=device_name(place),
        place=place,
        cpu=cpu,
        flags=_told(flags),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        versions={"python": platform.python_version(), **_versions()},
        matmul_gflops=peaks[FLOAT32].gflops,
        matmul_peaks=peaks,
    )


def _told(flags: frozenset[str]) -> list[str]:
    """Return which of the flags that matter here a processor has."""
    known = FLAGS if not flags.isdisjoint(FLAGS) else ARM_FLAGS
    return [flag for flag in known if flag in flags]


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES.split():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
