"""Answers -> the bytes of a format; one module a format. Knows records, and no terminal.

A package that adds a format needs `TextWriter` or `BinaryWriter` and `Layout`; `answer_json`,
`answer_rows` and `COLUMNS` are the shapes that the formats here share.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
