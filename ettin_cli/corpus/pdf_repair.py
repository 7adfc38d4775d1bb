"""Damaged PDFs, with what PDFium misses."""

from __future__ import annotations

import re

# PDFium looks for the header in the first bytes only.
_HEADER_WITHIN = 1024
_CATALOG = re.compile(
    rb"(\d{1,10})\s+(\d{1,5})\s+obj\b(?:(?!endobj).){0,2000}?/Type\s*/Catalog\b", re.S
)


def repaired(content: bytes) -> bytes | None:
    """Return a PDF with a header and a trailer; `None` if it has both, or no catalog.

    Files lose their end in interrupted downloads, and their start in faulty transfers. PDFium finds
    the other objects by itself.
    """
    header = b"" if b"%PDF-" in content[:_HEADER_WITHIN] else b"%PDF-1.7\n"
    trailer = b""
    catalogs = _CATALOG.findall(content)
    if catalogs:
        number, generation = catalogs[-1]
        end = content.rfind(b"trailer")
        if end > content.rfind(b"endobj"):
            content = content[:end]
        trailer = b"\ntrailer\n<< /Root %s %s R >>\nstartxref\n0\n%%%%EOF\n" % (number, generation)
    return header + content + trailer if header or trailer else None
