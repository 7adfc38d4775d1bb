"""What this machine computes with, found out without torch where that can be."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

CPUINFO = Path("/proc/cpuinfo")
# Where a driver of a GPU that torch could use shows itself: NVIDIA, Windows' Linux, AMD.
DRIVERS = ("/dev/nvidia0", "/dev/dxg", "/dev/kfd")
# Values of ONEDNN_MAX_CPU_ISA that leave out bf16 arithmetic.
ISAS_WITHOUT_BF16 = frozenset(
    "SSE41 AVX AVX2 AVX2_VNNI AVX2_VNNI_2 AVX512_CORE AVX512_CORE_VNNI".split()
)


def is_cpu(device: str) -> bool:
    """Say whether models would run on the CPU, for a device as the user names it.

    `auto` is the CPU where there is no sign of a GPU; else only torch can tell.
    """
    if device != "auto":
        return device == "cpu"
    if sys.platform == "darwin":
        return platform.machine() != "arm64"
    if sys.platform == "win32":
        return not Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32/nvcuda.dll").exists()
    return not any(Path(driver).exists() for driver in DRIVERS)


def cpu_has_bf16() -> bool:
    """Say whether the CPU multiplies bf16 numbers, and not only reads them.

    oneDNN, which multiplies for torch and OpenVINO, can be kept from it by ONEDNN_MAX_CPU_ISA.
    """
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ISAS_WITHOUT_BF16:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(processor().flags)


class Processor(NamedTuple):
    """A processor's make, and what it can do in the system's words, if that tells."""

    make: str
    flags: frozenset[str]


def processor() -> Processor:
    """Return what the system says of the processor."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    # Every core says it again.
    facts = dict(reversed([_fact(line) for line in lines]))
    make = facts.get("model name") or platform.processor() or platform.machine()
    return Processor(make, frozenset((facts.get("flags") or facts.get("Features") or "").split()))


def _fact(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()
