"""The machine of a benchmark: device, processor and library versions."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from ettin_cli.benchmark.peaks import FLOAT32, Peak, matmul_peaks
from ettin_cli.models.engines import EngineSettings, Placement, device_name, processor, usable_cores
from ettin_cli.records import Reporter

# Instruction sets that affect matrix products.
FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
ARM_FLAGS = ("asimd", "bf16", "i8mm", "sve")
LIBRARIES = (
    "ettin-cli sentence-transformers transformers tokenizers torch onnxruntime openvino numpy"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine on which a benchmark ran.

    Args:
        device: cpu, mps, or the model of the GPU.
        place: The torch device, such as cuda:0.
        cores: Cores available to this process.
        threads: Threads that torch uses on the CPU.
        versions: Versions of Python and the installed libraries.
        matmul_gflops: Peak of float32 matrix products on the device, in 10^9 operations per second.
        matmul_peaks: The same with the library that reaches it, for each dtype that the device
            supports.
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
    """Return a description of this machine, with its measured peak.

    Raises:
        ModelError: The requested device cannot be used.
    """
    import torch

    place = str(Placement(settings, reporter).device)
    cpu, flags = processor()
    peaks = matmul_peaks(place, settings.threads)
    return Machine(
        device=device_name(place),
        place=place,
        cpu=cpu,
        flags=_relevant_flags(flags),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        versions={"python": platform.python_version(), **_versions()},
        matmul_gflops=peaks[FLOAT32].gflops,
        matmul_peaks=peaks,
    )


def _relevant_flags(flags: frozenset[str]) -> list[str]:
    """Return the relevant flags of a processor."""
    known = FLAGS if not flags.isdisjoint(FLAGS) else ARM_FLAGS
    return [flag for flag in known if flag in flags]


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES.split():
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
