"""Input and output files: queries, runs, requests, output formats, resumable outputs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
