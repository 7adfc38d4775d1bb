"""Work in units, each with an output file of its own: in this process, or on a Ray cluster.

It does not know what the work is. Only `on_ray` imports Ray.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
