"""A reranker's raw scores -> probabilities of relevance, fitted to judgements."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
