"""The search page: HTML from the server's answers, one style sheet and one script."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
