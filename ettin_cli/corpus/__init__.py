"""Sources -> documents: walk folders, decode text, read every format that is known.

A package that adds a format needs `DocumentReader` or `TableReader`, `Document`, and
`UnreadableError` for files that hold none; `read_text` decodes as the formats here do.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
