"""The values that flow through the pipeline, and the interfaces of its stages.

Nothing here reads, computes or prints; every stage knows these records and no other stage.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
