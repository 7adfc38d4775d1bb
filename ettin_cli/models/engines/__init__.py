"""Where and how models run, shared by embedders and rerankers.

Two routes: torch for a GPU and for what only it can load, and ONNX Runtime for a CPU, which
imports no torch; static embedders need neither. Nothing here knows queries or passages.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
