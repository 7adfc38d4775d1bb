"""Pictures of text, drawn in the test, and PDFs of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


def drawn(text: str, *, width: int = 640, size: int = 26, columns: Sequence[str] = ()) -> "Image":
    """Return a picture of lines of text, above columns of text side by side."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    rows = text.count("\n") + 1 + max((one.count("\n") + 2 for one in columns), default=0)
    picture = Image.new("RGB", (width, int(1.5 * size * (rows + 2))), "white")
    draw = ImageDraw.Draw(picture)
    for at, column in enumerate(("", *columns)):
        for row, line in enumerate((column or text).split("\n")):
            left = size if not at else size + (at - 1) * width // len(columns)
            top = 1.5 * size * (row + 1 + (text.count("\n") + 2 if at else 0))
            draw.text((left, top), line, font=font, fill="black")
    return picture


def write_pages(path: Path, *pictures: "Image", **options: Any) -> Path:
    """Write pictures as the pages of a PDF or TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if len(pictures) > 1:
        options |= {"save_all": True, "append_images": pictures[1:]}
    if path.suffix == ".pdf":
        options |= {"resolution": 100}
    pictures[0].save(path, **options)
    return path


def stamped(path: Path, picture: "Image", stamp: str) -> Path:
    """Write a PDF of one page: a picture, and a line of text over it."""
    import zlib

    width, height = picture.size
    pixels = zlib.compress(picture.convert("L").tobytes())
    drawing = (
        f"q {width} 0 0 {height} 0 0 cm /I Do Q BT /F 6 Tf 5 {height - 8} Td ({stamp}) Tj ET"
    ).encode()
    streams = {
        4: (drawing, ""),
        5: (
            pixels,
            f"/Type /XObject /Subtype /Image /Width {width} /Height {height} "
            "/ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /FlateDecode",
        ),
    }
    body = (
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
        b"2 0 obj\n<< /Type /Pages /Count 1 /Kids [3 0 R] >>\nendobj\n"
        b"3 0 obj\n<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /XObject "
        b"<< /I 5 0 R >> /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Courier >> >> >> "
        + f"/MediaBox [0 0 {width} {height}] >>\nendobj\n".encode()
    )
    for number, (content, keys) in streams.items():
        body += f"{number} 0 obj\n<< {keys} /Length {len(content)} >>\nstream\n".encode()
        body += content + b"\nendstream\nendobj\n"
    path.write_bytes(body + b"trailer << /Size 6 /Root 1 0 R >>\n%%EOF\n")
    return path
