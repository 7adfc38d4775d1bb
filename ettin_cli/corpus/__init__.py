"""Sources -> documents: walk folders, decode text, read all known formats.

A package that adds a format needs `DocumentReader` or `TableReader`, `Document`, and
`UnreadableError` for invalid files. `read_text` decodes text as the built-in formats do.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
