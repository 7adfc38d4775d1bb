"""A server over HTTP that the clients of rerank and embedding services speak to."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
