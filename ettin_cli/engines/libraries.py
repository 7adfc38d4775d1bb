"""The libraries that compute a graph on a CPU: ONNX Runtime, and OpenVINO where it is installed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from ettin_cli.engines.writing import WrittenModel
from ettin_cli.forks import Lock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

    Feeds = Mapping[str, NDArray[Any]]

TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"

_importing = Lock()


class Run(Protocol):
    """One caller's use of a graph, by any number of threads."""

    def compute(self, outputs: Sequence[str], feeds: Feeds) -> list[Floats]:
        """Compute some outputs."""
        ...

    def stop(self) -> None:
        """End what this caller's threads compute, now and later, with an error."""
        ...


class Session(Protocol):
    """A loaded graph, which several callers may use at once."""

    def begin(self) -> Run:
        """Return a use of the graph that is stopped without an effect on any other."""
        ...


class Library(Protocol):
    """What loads graphs."""

    @property
    def engine(self) -> str:
        """What results say of where they were computed."""
        ...

    @property
    def plain(self) -> bool:
        """Whether it reads rotations by ONNX's own operators alone."""
        ...

    def described(self) -> str:
        """Return its name and version, and what it computes in."""
        ...

    def load(self, written: WrittenModel, threads: int, together: bool) -> Session:
        """Load a graph for so many threads, which share one batch or have one each."""
        ...


def _onnxruntime() -> Any:
    """Return ONNX Runtime, which must not send its telemetry to Microsoft.

    Its official builds do from 1.29 on, unless this is set at the first import; the thread that
    sends would also make a forked child hang at its end.
    """
    with nullcontext() if "onnxruntime" in sys.modules else _without_telemetry():
        import onnxruntime

    return onnxruntime


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Set what keeps telemetry off, unless the caller has, and leave the environment as it was."""
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

    engine = "onnxruntime cpu float32"
    plain = False

    def described(self) -> str:
        """Return its name and version, and what it computes in."""
        onnxruntime = _onnxruntime()
        return f"ONNX Runtime {onnxruntime.__version__} on the CPU in float32"

    def load(self, written: WrittenModel, threads: int, together: bool) -> Session:
        """Load a graph for so many threads, which share one batch or have one each."""
        return _OnnxRuntimeSession(written, threads if together else 1)


class _OnnxRuntimeSession:
    def __init__(self, written: WrittenModel, threads: int) -> None:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # A plan of memory for every shape there is would grow without end.
        options.enable_mem_pattern = False
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(one) for one in written.weights.values()]
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
        found: list[Floats] = self.session.run(outputs, feeds, self.options)
        return found

    def stop(self) -> None:
        self.options.terminate = True


class OpenVino:
    """OpenVINO, in float32 or bf16.

    Args:
        precision: float32 or bfloat16.
    """

    # Its reader takes the rotation of values (texts, length, size) for another one.
    plain = True

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.engine = f"openvino cpu {precision}"

    def described(self) -> str:
        """Return its name and version, and what it computes in."""
        import openvino

        version = openvino.__version__.partition("-")[0]
        return f"OpenVINO {version} on the CPU in {self.precision}"

    def load(self, written: WrittenModel, threads: int, together: bool) -> Session:
        """Load a graph for so many threads, which share one batch or have one each."""
        return _OpenVinoSession(written, threads, together, self.precision)


class _OpenVinoSession:
    def __init__(self, written: WrittenModel, threads: int, together: bool, precision: str) -> None:
        import openvino

        core = openvino.Core()
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
        found = self.own.request.infer(dict(feeds))
        # The request's own memory is written over by the next batch.
        return [found[self.model.output(name)].copy() for name in outputs]

    def stop(self) -> None:
        """Let what runs end: it is one batch."""
