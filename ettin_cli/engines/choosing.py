"""Which route a model takes: ONNX Runtime on a CPU where its architecture allows, else torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ettin_cli.engines.devices import cpu_has_bf16, is_cpu
from ettin_cli.engines.graph import UnsupportedModelError
from ettin_cli.engines.libraries import Library, OnnxRuntime, OpenVino
from ettin_cli.engines.onnx_model import OnnxModel
from ettin_cli.engines.settings import ENGINES, EngineSettings
from ettin_cli.engines.writing import WrittenModel
from ettin_cli.errors import InvalidArgumentError, ModelError
from ettin_cli.hub import weights_hash
from ettin_cli.records import Reporter

TORCH, OPENVINO = "torch", "openvino"


class Writer(Protocol):
    """Writes a folder's model as a graph; by ONNX's own operators alone where that is asked."""

    def __call__(self, folder: Path, *, plain: bool = False) -> WrittenModel:
        """Return the graph."""
        ...


def torch_free(
    folder: Path,
    settings: EngineSettings,
    reporter: Reporter,
    write: Writer,
) -> OnnxModel | None:
    """Return a model that runs without torch, or None where torch is to run it.

    Args:
        write: Writes the folder's model as a graph.

    Raises:
        ModelError: An engine was asked for that cannot run this model; or its files are damaged.
    """
    if settings.engine not in ENGINES:
        raise InvalidArgumentError(
            f"unknown engine {settings.engine!r}", argument="engine", choices=ENGINES
        )
    problem = _problem(settings)
    if problem is None:
        try:
            library = _library(settings)
            written = write(folder, plain=library.plain)
            return OnnxModel(written, settings, reporter, weights_hash(folder), library)
        except UnsupportedModelError as error:
            problem = f"{error} is not written for it"
    if settings.engine not in ("auto", TORCH):
        raise ModelError(
            f"{settings.engine} cannot run {folder.name} here: {problem}",
            code="engine-unavailable",
            engine=settings.engine,
        )
    reporter.detail(f"torch runs {folder.name}: {problem}")
    return None


def _problem(settings: EngineSettings) -> str | None:
    """Say why the torch-free route cannot be taken, whatever the model."""
    if settings.engine == TORCH:
        return "it was asked for"
    if not is_cpu(settings.device):
        return f"the device is {settings.device}"
    if settings.engine == OPENVINO and not find_spec(OPENVINO):
        return "it is not installed (pip install 'ettin-cli[openvino]')"
    if settings.dtype == "fp16" or (settings.dtype == "bf16" and settings.engine != OPENVINO):
        return f"without it a CPU computes in fp32, not {settings.dtype}"
    if settings.dtype == "fast" and cpu_has_bf16() and not _by_openvino(settings):
        return "this CPU has bf16 arithmetic, which is faster"
    return None


def _by_openvino(settings: EngineSettings) -> bool:
    """Say whether OpenVINO computes: where it was asked for, and where it alone is fast.

    In fp32 the two libraries are alike, and scores do not depend on what is installed.
    """
    if settings.engine != "auto":
        return settings.engine == OPENVINO
    return settings.dtype == "fast" and cpu_has_bf16() and find_spec(OPENVINO) is not None


def _library(settings: EngineSettings) -> Library:
    if not _by_openvino(settings):
        return OnnxRuntime()
    half = settings.dtype == "bf16" or (settings.dtype == "fast" and cpu_has_bf16())
    return OpenVino("bfloat16" if half else "float32")
