"""Public test collections and training data by name, from the hub's dataset repositories."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
