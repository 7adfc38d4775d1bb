"""The devices of this machine, detected without torch if possible."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ettin_cli.errors import first_line

CPUINFO = Path("/proc/cpuinfo")
# Files of the drivers of GPUs that torch can use: NVIDIA's, whose GPUs in a container may have any
# numbers, and Windows' for Linux; and AMD's, which a processor with graphics has too.
NVIDIA_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia[0-9]*", "/dev/dxg")
AMD_DRIVERS = ("/dev/kfd",)
# Variables that hide every GPU by these values: NVIDIA's, and AMD's, for which the former has a
# meaning too.
NONE = ("", "-1")
NVIDIA_HIDING = ("CUDA_VISIBLE_DEVICES",)
AMD_HIDING = (*NVIDIA_HIDING, "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
# The settings of CUDA's allocator: either is read when it starts.
ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
# Values of ONEDNN_MAX_CPU_ISA that disable bf16 arithmetic.
ISAS_WITHOUT_BF16 = frozenset(
    "SSE41 AVX AVX2 AVX2_VNNI AVX2_VNNI_2 AVX512_CORE AVX512_CORE_VNNI".split()
)


class NoGpu(NamedTuple):
    """Why models run on the CPU by default.

    Args:
        notable: Whether the user may expect otherwise: there is a GPU, but torch cannot use it.
    """

    reason: str
    notable: bool = False


def is_cpu(device: str) -> bool:
    """Return whether models run on the CPU, for a device as named by the user.

    `auto` is the CPU unless torch can compute on a GPU. torch is imported only if all else speaks
    for that.
    """
    return device == "cpu" or (device == "auto" and no_gpu() is not None)


def no_gpu() -> NoGpu | None:
    """Return why `auto` is the CPU; None if torch can compute on a GPU."""
    if why := no_sign_of_gpu():
        return why
    problem = _problem_of_first()
    return NoGpu(problem, notable=True) if problem else None


def no_sign_of_gpu() -> NoGpu | None:
    """Return why `auto` is the CPU, as far as is known without torch; None if it may be a GPU."""
    if find_spec("torch") is None:
        return NoGpu("torch is not installed")
    if sys.platform == "darwin":
        # Two OpenMP runtimes, FAISS's and torch's, may crash a process.
        return NoGpu("on macOS the CPU is the default")
    nvidia = _nvidia_driver()
    if not nvidia and not any(map(_there, AMD_DRIVERS)):
        return NoGpu("there is no driver of a GPU")
    if hidden := _hidden(NVIDIA_HIDING if nvidia else AMD_HIDING):
        return NoGpu(hidden)
    platforms = torch_platforms()
    if not platforms:
        return NoGpu(built_without("CUDA" if nvidia else "ROCm"), notable=nvidia)
    if not nvidia and "hip" not in platforms:
        return NoGpu(built_without("ROCm"))
    return None


def built_without(platform_name: str) -> str:
    """Return the reason why a torch cannot use any GPU of a kind."""
    return f"this torch is built without {platform_name}"


def torch_platforms() -> frozenset[str]:
    """Return the GPU platforms that torch is built for, `cuda` or `hip`, without importing it."""
    spec = find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        try:
            text = Path(folder, "version.py").read_text(encoding="utf-8")
        except OSError:
            continue
        return frozenset(re.findall(r"^(cuda|hip)\b[^=\n]*= *['\"]", text, re.MULTILINE))
    # Its build is unknown, so it has to be asked.
    return frozenset(("cuda", "hip"))


def prepare_for_torch() -> None:
    """Set what a library of torch reads when it is loaded on a Mac, unless the user has set it."""
    if sys.platform == "darwin":
        # FAISS and torch each bring an OpenMP runtime; the second ends the process otherwise.
        os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")


@contextmanager
def growing_segments() -> Iterator[None]:
    """Have CUDA's allocator, which is to start within, grow its segments, unless the user set it.

    Batches differ in size, so segments of fixed sizes leave gaps that nothing fits into.
    """
    if sys.platform != "linux" or any(name in os.environ for name in ALLOCATOR):
        yield
        return
    os.environ[ALLOCATOR[0]] = "expandable_segments:True"
    try:
        yield
    finally:
        os.environ.pop(ALLOCATOR[0], None)


def gpu_problem(number: int) -> str | None:
    """Return why torch cannot compute on a GPU, by computing on it; None if it can."""
    prepare_for_torch()
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return built_without("CUDA")
    if hidden := _hidden(NVIDIA_HIDING if torch.version.hip is None else AMD_HIDING):
        return hidden
    try:
        # Says what is wrong, such as a driver that is too old; `is_available` only says no.
        with growing_segments():
            torch.cuda.init()  # type: ignore[no-untyped-call]
            torch.ones(2, device=f"cuda:{number}").sum().item()
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return None


@cache
def _problem_of_first() -> str | None:
    return gpu_problem(0)


def _nvidia_driver() -> bool:
    if sys.platform == "win32":
        return _there(str(Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32/nvcuda.dll")))
    return any(map(_there, NVIDIA_DRIVERS))


def _there(pattern: str) -> bool:
    path = Path(pattern)
    return any(path.parent.glob(path.name))


def _hidden(variables: Sequence[str]) -> str | None:
    """Return which variable hides every GPU, as a reason; None if none does."""
    values = {name: os.environ.get(name) for name in variables}
    hides = [one for one, value in values.items() if value is not None and value.strip() in NONE]
    return f"{hides[0]} hides every GPU" if hides else None


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
