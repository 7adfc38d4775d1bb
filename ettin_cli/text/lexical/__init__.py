"""Lexical matching: terms of passages and queries, query syntax, BM25."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
