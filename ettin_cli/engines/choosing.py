"""Which route a model takes: ONNX Runtime on a CPU where its architecture allows, else torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ettin_cli.engines.devices import cpu_has_bf16, is_cpu
from ettin_cli.engines.graph import UnsupportedModelError
from ettin_cli.engines.onnx_model import OnnxModel
from ettin_cli.engines.settings import ENGINES, EngineSettings
from ettin_cli.engines.writing import WrittenModel
from ettin_cli.errors import ModelError, UsageError
from ettin_cli.hub import weights_hash
from ettin_cli.records import Reporter

TORCH, ONNX_RUNTIME = "torch", "onnxruntime"


def torch_free(
    folder: Path,
    settings: EngineSettings,
    reporter: Reporter,
    write: Callable[[Path], WrittenModel],
) -> OnnxModel | None:
    """Return a model that runs without torch, or None where torch is to run it.

    Args:
        write: Writes the folder's model as a graph.

    Raises:
        ModelError: An engine was asked for that cannot run this model; or its files are damaged.
    """
    if settings.engine not in ENGINES:
        raise UsageError(f"no engine {settings.engine!r}", hint=", ".join(ENGINES))
    problem = _problem(settings)
    if problem is None:
        try:
            return OnnxModel(write(folder), settings, reporter, weights_hash(folder))
        except UnsupportedModelError as error:
            problem = f"{error} is not written for it"
    if settings.engine not in ("auto", TORCH):
        raise ModelError(f"ONNX Runtime cannot run {folder.name} here: {problem}")
    reporter.detail(f"torch is used, not ONNX Runtime: {problem}")
    return None


def _problem(settings: EngineSettings) -> str | None:
    """Say why the torch-free route cannot be taken, whatever the model."""
    if settings.engine == TORCH:
        return "it was asked for"
    if not is_cpu(settings.device):
        return f"the device is {settings.device}"
    if settings.dtype in ("bf16", "fp16"):
        return f"it computes in fp32, not {settings.dtype}"
    if settings.dtype == "fast" and cpu_has_bf16():
        return "this CPU has bf16 arithmetic, which is faster"
    return None
