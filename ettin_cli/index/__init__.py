"""The index: a folder that is always consistent. Stores vectors and passages; runs no model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
