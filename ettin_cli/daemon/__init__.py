"""The daemon: models that stay loaded, and a process that runs commands without start-up time."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
