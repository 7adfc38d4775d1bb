"""Multi-vector models (ColBERT and its kin): texts -> a vector a token, by either route."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
