"""The embedded model is loaded once a process of tests, instead of once a command.

A user's process runs one command, a process of tests runs thousands.
"""

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from ettin_cli.models import encoders, hub
from ettin_cli.models.engines.backends import Session
from ettin_cli.models.engines.onnx_export import WrittenModel, write_encoder
from ettin_cli.models.engines.onnxruntime_backend import OnnxRuntime
from ettin_cli.storage import sha256


def load_once(patch: pytest.MonkeyPatch) -> None:
    """Keep the hash, the graph and the sessions of the embedded model, whose files never change."""
    package = find_spec(hub.EMBEDDED_PACKAGE)
    if package is None or package.origin is None:
        return
    folder = Path(package.origin).parent / "model"
    load = OnnxRuntime.load
    sha256_once, written_once = cache(sha256), cache(write_encoder)

    def hashed(path: Path) -> str:
        return sha256_once(path) if path.is_relative_to(folder) else sha256(path)

    def written(of: Path, *, plain: bool = False) -> WrittenModel:
        return written_once(of, plain=plain) if of == folder else write_encoder(of, plain=plain)

    @cache
    def session_once(threads: int, _process: int) -> Session:
        # Forked children load their own.
        return load(OnnxRuntime(), written(folder), threads, True)

    def session(library: OnnxRuntime, graph: WrittenModel, threads: int, together: bool) -> Session:
        if graph is written(folder):
            return session_once(threads if together else 1, os.getpid())
        return load(library, graph, threads, together)

    patch.setattr(hub, "sha256", hashed)
    patch.setattr(encoders, "write_encoder", written)
    patch.setattr(OnnxRuntime, "load", session)
