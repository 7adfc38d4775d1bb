"""Where and how models run, shared by embedders and rerankers.

Two routes: torch for a GPU and for what only it can load, and ONNX Runtime for a CPU, which
imports no torch; static embedders need neither. Nothing here knows queries or passages.
"""

from ettin_cli.engines.choosing import (
    BACKENDS,
    check_engine,
    installed_backends,
    load_model,
)
from ettin_cli.engines.libraries import Backend
from ettin_cli.engines.onnx_model import OnnxModel
from ettin_cli.engines.placement import Placement, device_name, run
from ettin_cli.engines.settings import AUTO, DTYPES, EngineSettings
from ettin_cli.engines.static import StaticModel, static_table
from ettin_cli.engines.tokens import TokenIds, static_part

__all__ = [
    "AUTO",
    "BACKENDS",
    "DTYPES",
    "Backend",
    "EngineSettings",
    "OnnxModel",
    "Placement",
    "StaticModel",
    "TokenIds",
    "check_engine",
    "device_name",
    "installed_backends",
    "load_model",
    "run",
    "static_part",
    "static_table",
]
