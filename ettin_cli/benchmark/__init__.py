"""Measure how fast each engine scores pairs here, beside sentence-transformers, and how alike."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
