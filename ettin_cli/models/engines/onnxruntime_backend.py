"""ONNX Runtime: the CPU backend that is always installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from ettin_cli.models.engines.backends import Backend, Library, Run, Session
from ettin_cli.models.engines.devices import cpu_has_bf16, is_cpu
from ettin_cli.models.engines.onnx_export import WrittenModel
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.runtime import Lock

if TYPE_CHECKING:
    from ettin_cli.models.engines.backends import Feeds
    from ettin_cli.records import Floats

TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"

_importing = Lock()


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime on a CPU, in float32."""

    name, title, module = "onnxruntime", "ONNX Runtime", "onnxruntime"

    def problem(self, settings: EngineSettings) -> str | None:
        """Return why it cannot run any model with these settings; None if it can."""
        if not is_cpu(settings.device):
            return f"the device is {settings.device}"
        if settings.dtype in ("fp16", "bf16"):
            return f"ONNX Runtime computes only in fp32, not {settings.dtype}"
        if settings.dtype == "fast" and cpu_has_bf16():
            return "this CPU has bf16 arithmetic, which is faster"
        return None

    def automatic(self, settings: EngineSettings) -> bool:
        """Return whether it is tried if no backend was requested: always."""
        return True

    def library(self, settings: EngineSettings) -> Library:
        """Return the library that loads graphs."""
        return OnnxRuntime()


def _onnxruntime() -> Any:
    """Return ONNX Runtime with its telemetry to Microsoft disabled.

    Official builds from 1.29 on send it unless this is set at the first import. The sending
    thread would also make a forked child hang at exit.
    """
    with nullcontext() if "onnxruntime" in sys.modules else _without_telemetry():
        import onnxruntime

    return onnxruntime


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Set the variable that disables telemetry, unless the caller has, and restore it later."""
    with _importing:
        if TELEMETRY_OFF in os.environ:
            yield
            return
        os.environ[TELEMETRY_OFF] = "1"
        try:
            yield
        finally:
            del os.environ[TELEMETRY_OFF]


class OnnxRuntime:
    """ONNX Runtime, in float32."""

    backend = "onnxruntime cpu float32"
    plain = False

    def described(self) -> str:
        """Return its name, version and dtype."""
        onnxruntime = _onnxruntime()
        return f"ONNX Runtime {onnxruntime.__version__} on the CPU in float32"

    def load(self, written: WrittenModel, threads: int, together: bool) -> Session:
        """Load a graph for so many threads, which share one batch or each run their own."""
        return _OnnxRuntimeSession(written, threads if together else 1)


class _OnnxRuntimeSession:
    def __init__(self, written: WrittenModel, threads: int) -> None:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # A memory plan for every input shape would grow without limit.
        options.enable_mem_pattern = False
        values = [
            onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in written.weights.values()
        ]
        options.add_external_initializers(list(written.weights), values)
        self.session = onnxruntime.InferenceSession(
            written.graph, options, providers=["CPUExecutionProvider"]
        )

    def begin(self) -> Run:
        return _OnnxRuntimeRun(self.session)


class _OnnxRuntimeRun:
    def __init__(self, session: Any) -> None:
        self.session = session
        self.options = _onnxruntime().RunOptions()

    def compute(self, outputs: Sequence[str], feeds: Feeds) -> list[Floats]:
        arrays: list[Floats] = self.session.run(outputs, feeds, self.options)
        return arrays

    def stop(self) -> None:
        self.options.terminate = True
