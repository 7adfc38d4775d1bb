"""Train a reranker on a teacher's scores, or on positives and negatives: the Ettin recipe."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
