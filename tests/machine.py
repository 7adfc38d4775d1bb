"""Run the tests as on a machine that lacks a feature of this one.

`ETTIN_TESTS_WITHOUT="bf16 cores" pytest` disables the named features, also in child processes:

- `bf16`: the processor does not compute in bf16.
- `avx512`: the libraries that allow it do not use AVX-512; also disables bf16.
- `cores`: one core.
- `openvino`: OpenVINO is not installed.
"""

import os
import sys
from pathlib import Path

VARIABLE = "ETTIN_TESTS_WITHOUT"
# Environment variables that the libraries read.
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
    """Disable the named features, from now on and in child processes."""
    # "avx512" includes the settings of "bf16", so it must be applied last.
    for name in sorted(names.split(), reverse=True):
        if name in TOLD:
            os.environ.update(TOLD[name])
        elif name == "cores":
            _keep_one_core()
        elif name == "openvino":
            # Python runs sitecustomize.py when a child starts.
            paths = [str(WITHOUT_OPENVINO), os.environ.get("PYTHONPATH", "")]
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
            sys.modules["openvino"] = None  # type: ignore[assignment]
        else:
            raise SystemExit(f"{VARIABLE}: {name!r} is not one of bf16, avx512, cores, openvino")


def _keep_one_core() -> None:
    """Stay on one core; each parallel test process gets its own."""
    here = " ".join(map(str, sorted(os.sched_getaffinity(0))))
    cores = os.environ.setdefault("ETTIN_TESTS_CORES", here).split()
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {int(cores[number % len(cores)])})
