"""Kinds of reranker, and what wraps them: long texts, empty texts, kept scores."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
