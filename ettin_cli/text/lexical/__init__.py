"""Words of texts: terms that passages and queries share, what a QUERY may demand of them, BM25."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
