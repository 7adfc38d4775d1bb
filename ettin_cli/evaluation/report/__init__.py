"""A measurement as one page to read, print and pass on, which needs no network and no script."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
