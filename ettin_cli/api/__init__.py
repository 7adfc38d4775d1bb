"""The Python interface: everything that a command does, as a call.

A `Session` loads each model once and may be used from any number of threads. `open`, `build`,
`search`, `reranker` and `embedder` are shortcuts for a session of one use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
