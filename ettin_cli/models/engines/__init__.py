"""Model runtimes shared by embedders and rerankers.

Two routes: torch for GPUs and for models that only it can load, and ONNX Runtime for CPUs,
without importing torch. Static embedders need neither. Nothing here knows queries or passages.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
