"""Measure what retrieval and reranking are worth on judged queries, and whether it shows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
