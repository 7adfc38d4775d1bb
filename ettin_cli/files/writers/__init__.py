"""Answers -> the bytes of an output format; one module per format, independent of the terminal.

A package that adds a format needs `TextWriter` or `BinaryWriter` and `Layout`; `to_dict` and
`rows` of an `Answer` are the shapes shared by the built-in formats.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
