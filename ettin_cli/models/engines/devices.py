"""The devices of this machine, detected without torch if possible."""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

CPUINFO = Path("/proc/cpuinfo")
# Files of the drivers of GPUs that torch can use: NVIDIA, Windows' Linux, AMD.
DRIVERS = ("/dev/nvidia0", "/dev/dxg", "/dev/kfd")
# Values of ONEDNN_MAX_CPU_ISA that disable bf16 arithmetic.
ISAS_WITHOUT_BF16 = frozenset(
    "SSE41 AVX AVX2 AVX2_VNNI AVX2_VNNI_2 AVX512_CORE AVX512_CORE_VNNI".split()
)


def is_cpu(device: str) -> bool:
    """Return whether models run on the CPU, for a device as named by the user.

    `auto` is the CPU if there is no sign of a GPU, or no torch to use it; otherwise only torch can
    decide.
    """
    if device != "auto":
        return device == "cpu"
    if find_spec("torch") is None:
        return True
    if sys.platform == "darwin":
        return platform.machine() != "arm64"
    if sys.platform == "win32":
        return not Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32/nvcuda.dll").exists()
    return not any(Path(driver).exists() for driver in DRIVERS)


def cpu_has_bf16() -> bool:
    """Return whether the CPU has bf16 arithmetic, not only bf16 loads.

    ONEDNN_MAX_CPU_ISA can disable it in oneDNN, which torch and OpenVINO use.
    """
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ISAS_WITHOUT_BF16:
        return False
    # The last is ARM's name.
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(processor().flags)


class Processor(NamedTuple):
    """A processor's model name, and its feature flags if known."""

    make: str
    flags: frozenset[str]


def processor() -> Processor:
    """Return the system's description of the processor."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    # The file repeats the description for every core.
    facts = dict(reversed([_fact(line) for line in lines]))
    make = facts.get("model name") or platform.processor() or platform.machine()
    return Processor(make, frozenset((facts.get("flags") or facts.get("Features") or "").split()))


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()
