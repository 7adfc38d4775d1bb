"""Kinds of reranker, and wrappers for long texts, empty texts and cached scores."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
