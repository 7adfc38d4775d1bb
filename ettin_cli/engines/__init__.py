"""Where and how models run, shared by embedders and rerankers.

Two routes: torch for a GPU and for what only it can load, and ONNX Runtime for a CPU, which
imports no torch; static embedders need neither. Nothing here knows queries or passages.
"""

from ettin_cli.engines.choosing import torch_free
from ettin_cli.engines.onnx_model import OnnxModel
from ettin_cli.engines.placement import Placement, device_name, run
from ettin_cli.engines.settings import DTYPES, ENGINES, EngineSettings
from ettin_cli.engines.static import StaticModel, static_table
from ettin_cli.engines.tokens import TokenIds, static_part

__all__ = [
    "DTYPES",
    "ENGINES",
    "EngineSettings",
    "OnnxModel",
    "Placement",
    "StaticModel",
    "TokenIds",
    "device_name",
    "run",
    "static_part",
    "static_table",
    "torch_free",
]
