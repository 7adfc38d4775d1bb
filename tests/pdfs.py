"""PDFs whose text is placed: what is drawn where, in which order, and what its glyphs mean."""

from collections.abc import Sequence
from pathlib import Path

from tests.reading import write

# Width of each glyph of Courier at 10 points.
WIDTH = 6.0

Placed = tuple[float, float, Sequence[str]]
"""Left edge, baseline, and glyphs from left to right; a glyph may be several characters."""


Field = tuple[float, float, str]
"""Left edge and baseline of a form's field, and what was typed into it."""


def write_placed(
    path: Path, pages: Sequence[Sequence[Placed]], *, fields: Sequence[Field] = ()
) -> Path:
    """Write a PDF of pages with placed texts, in this order, in Courier at 10 points.

    Each page has the fields.
    """
    glyphs = sorted({glyph for page in pages for _, _, text in page for glyph in text})
    codes = {glyph: code for code, glyph in enumerate(glyphs, 33)}
    assert len(codes) < 220
    mapped = "\n".join(f"<{code:02x}> <{_utf16(glyph)}>" for glyph, code in codes.items())
    cmap = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n"
        "1 begincodespacerange <00> <ff> endcodespacerange\n"
        f"{len(codes)} beginbfchar\n{mapped}\nendbfchar\nendcmap end end"
    )
    widths = " ".join(["600"] * 223)
    kids = " ".join(f"{5 + 2 * at} 0 R" for at in range(len(pages)))
    refs = " ".join(f"{900 + at} 0 R" for at in range(len(fields)))
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [{refs}] >> >>",
        2: f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>",
        3: "<< /Type /Font /Subtype /Type1 /BaseFont /Courier /FirstChar 33 /LastChar 255 "
        f"/Widths [{widths}] /ToUnicode 4 0 R >>",
        4: _stream(cmap),
    }
    for at, page in enumerate(pages):
        drawn = "\n".join(
            f"BT /F 10 Tf 1 0 0 1 {left} {base} Tm "
            f"<{''.join(f'{codes[glyph]:02x}' for glyph in text)}> Tj ET"
            for left, base, text in page
        )
        objects[5 + 2 * at] = (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 842] "
            f"/Resources << /Font << /F 3 0 R >> >> /Contents {6 + 2 * at} 0 R "
            f"/Annots [{refs}] >>"
        )
        objects[6 + 2 * at] = _stream(drawn)
    for at, (left, base, value) in enumerate(fields):
        objects[900 + at] = (
            f"<< /Type /Annot /Subtype /Widget /FT /Tx /T (f{at}) /V ({value}) "
            f"/Rect [{left} {base - 3} {left + 150} {base + 11}] >>"
        )
    body = "".join(f"{number} 0 obj\n{content}\nendobj\n" for number, content in objects.items())
    return write(path, f"%PDF-1.4\n{body}trailer << /Size 999 /Root 1 0 R >>\n%%EOF\n")


def _utf16(text: str) -> str:
    return text.encode("utf-16-be").hex()


def _stream(content: str) -> str:
    return f"<< /Length {len(content)} >>\nstream\n{content}\nendstream"
