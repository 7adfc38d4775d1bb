"""The client of the daemon: finds it, hands it a command, and waits for the end.

A command imports it before anything else, so its modules import little.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
