"""An evaluation as a self-contained HTML page, without network access or scripts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
