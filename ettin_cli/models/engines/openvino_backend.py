"""OpenVINO: the backend that computes in bf16 on CPUs that support it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ettin_cli.models.engines.backends import Backend, Library, Run, Session
from ettin_cli.models.engines.devices import cpu_has_bf16, is_cpu
from ettin_cli.models.engines.onnx_export import WrittenModel
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.platforms import quoted

if TYPE_CHECKING:
    from ettin_cli.models.engines.backends import Feeds
    from ettin_cli.records import Floats


class OpenVinoBackend(Backend):
    """OpenVINO on a CPU, in float32 or bf16."""

    name, title, module = "openvino", "OpenVINO", "openvino"

    def problem(self, settings: EngineSettings) -> str | None:
        """Return why it cannot run any model with these settings; None if it can."""
        if not is_cpu(settings.device):
            return f"the device is {settings.device}"
        if not self.installed():
            return f"it is not installed (pip install {quoted('ettin-cli[openvino]')})"
        if settings.dtype == "fp16":
            return "OpenVINO does not compute in fp16"
        return None

    def automatic(self, settings: EngineSettings) -> bool:
        """Return whether it is tried if no backend was requested: only where it alone is fast.

        In fp32 it performs like ONNX Runtime, and scores should not depend on what is installed.
        """
        return settings.dtype == "fast" and cpu_has_bf16() and self.installed()

    def library(self, settings: EngineSettings) -> Library:
        """Return the library that loads graphs."""
        half = settings.dtype == "bf16" or (settings.dtype == "fast" and cpu_has_bf16())
        return OpenVino("bfloat16" if half else "float32")


class OpenVino:
    """OpenVINO, in float32 or bf16.

    Args:
        precision: float32 or bfloat16.
    """

    # It misreads the rotary operator for values of shape (texts, length, size).
    plain = True

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.backend = f"openvino cpu {precision}"

    def described(self) -> str:
        """Return its name, version and dtype."""
        import openvino

        version = openvino.__version__.partition("-")[0]
        return f"OpenVINO {version} on the CPU in {self.precision}"

    def load(self, written: WrittenModel, threads: int, together: bool) -> Session:
        """Load a graph for so many threads, which share one batch or each run their own."""
        return _OpenVinoSession(written, threads, together, self.precision)


@cache
def _core() -> Any:
    """Return the one core of the process, which is never freed.

    A core replaces the stack of its thread's signal handlers and restores the one before when it
    is freed. If an older core has been freed by then, that one is gone, and the next signal ends
    the process.
    """
    import openvino

    return openvino.Core()


class _OpenVinoSession:
    def __init__(self, written: WrittenModel, threads: int, together: bool, precision: str) -> None:
        core = _core()
        self.model = core.compile_model(
            core.read_model(written.with_weights()),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1 if together else threads,
            },
        )

    def begin(self) -> Run:
        return _OpenVinoRun(self.model)


class _OpenVinoRun:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.own = threading.local()

    def compute(self, outputs: Sequence[str], feeds: Feeds) -> list[Floats]:
        if not hasattr(self.own, "request"):
            self.own.request = self.model.create_infer_request()
        results = self.own.request.infer(dict(feeds))
        # The request's own memory is overwritten by the next batch.
        return [results[self.model.output(name)].copy() for name in outputs]

    def stop(self) -> None:
        """Let the running batch finish."""
