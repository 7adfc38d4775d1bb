"""Tests as another machine would run them: one that lacks something that this one has.

`ETTIN_TESTS_WITHOUT="bf16 cores" pytest` leaves out what it names, here and in child processes:

- `bf16`: a processor that does not compute in bf16.
- `avx512`: one without AVX-512 in the libraries that can be told so; leaves out bf16 as well.
- `cores`: one core.
- `openvino`: OpenVINO is not installed.
"""

import os
import sys
from pathlib import Path

VARIABLE = "ETTIN_TESTS_WITHOUT"
# What the libraries are told by their own environment variables.
TOLD = {
    "bf16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "avx512": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "FAISS_OPT_LEVEL": "AVX2",
    },
}
WITHOUT_OPENVINO = Path(__file__).parent / "without_openvino"


def leave_out(names: str) -> None:
    """Leave out what these names say, from now on and in child processes."""
    # What "avx512" leaves out includes what "bf16" does, so it comes last of the two.
    for name in sorted(names.split(), reverse=True):
        if name in TOLD:
            os.environ.update(TOLD[name])
        elif name == "cores":
            _keep_one_core()
        elif name == "openvino":
            # Python runs its sitecustomize.py at the start of every child.
            paths = [str(WITHOUT_OPENVINO), os.environ.get("PYTHONPATH", "")]
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            sys.modules["openvino"] = None  # type: ignore[assignment]
        else:
            raise SystemExit(f"{VARIABLE}: {name!r} is not one of bf16, avx512, cores, openvino")


def _keep_one_core() -> None:
    """Stay on one core; processes that test in parallel each have one of their own."""
    here = " ".join(map(str, sorted(os.sched_getaffinity(0))))
    cores = os.environ.setdefault("ETTIN_TESTS_CORES", here).split()
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {int(cores[number % len(cores)])})
