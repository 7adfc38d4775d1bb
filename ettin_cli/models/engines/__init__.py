"""Where and how models run, shared by embedders and rerankers.

Two routes: torch for a GPU and for what only it can load, and ONNX Runtime for a CPU, which
imports no torch; static embedders need neither. Nothing here knows queries or passages.
"""

from ettin_cli.models.engines.backends import Backend, Library
from ettin_cli.models.engines.boundaries import LongTexts
from ettin_cli.models.engines.choosing import BACKENDS, check_engine, installed_backends, load_model
from ettin_cli.models.engines.devices import cpu_has_bf16, processor
from ettin_cli.models.engines.graph import Graph
from ettin_cli.models.engines.modernbert import GLOBAL, MODERNBERT, layer_kinds, local_reach
from ettin_cli.models.engines.onnx_export import WrittenModel
from ettin_cli.models.engines.onnx_model import OnnxModel
from ettin_cli.models.engines.settings import AUTO, DTYPES, EngineSettings, usable_cores
from ettin_cli.models.engines.static import StaticModel, static_table
from ettin_cli.models.engines.tokens import TokenIds, static_part, token_limit
from ettin_cli.models.engines.torch_runtime import Placement, chosen_dtype, device_name, run

__all__ = [
    "AUTO",
    "BACKENDS",
    "DTYPES",
    "GLOBAL",
    "MODERNBERT",
    "Backend",
    "EngineSettings",
    "Graph",
    "Library",
    "LongTexts",
    "OnnxModel",
    "Placement",
    "StaticModel",
    "TokenIds",
    "WrittenModel",
    "check_engine",
    "chosen_dtype",
    "cpu_has_bf16",
    "device_name",
    "installed_backends",
    "layer_kinds",
    "load_model",
    "local_reach",
    "processor",
    "run",
    "static_part",
    "static_table",
    "token_limit",
    "usable_cores",
]
