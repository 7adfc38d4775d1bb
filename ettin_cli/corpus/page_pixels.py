"""The pages of PDFs and pictures as pixels, scaled to a size from which text can be recognised."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from ettin_cli.settings import MAX_PAGES, MAX_PICTURE_PIXELS, MAX_PICTURE_SIDE
from ettin_cli.storage import UnreadableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Pixels = NDArray[np.uint8]

# Pages of PDFs are drawn at this resolution.
DPI = 200
# Larger pages are scaled down.
PIXELS = 12_000_000
LONG_SIDE = 10_000
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
# The formats whose files have pages; in others they are frames of a film.
PAGED_FORMATS = ("TIFF",)


class Pages(Protocol):
    """The pages of a file."""

    def __len__(self) -> int: ...

    def is_scan(self, number: int) -> bool:
        """Return whether pictures cover at least half of a page, counted from 1."""
        ...

    def pixels(self, number: int) -> Pixels:
        """Return blue, green and red of each pixel of a page, counted from 1.

        Raises:
            UnreadableError: It is damaged or too large.
        """
        ...


@contextmanager
def opened_pages(path: Path, file: BinaryIO) -> Iterator[Pages]:
    """Open the pages of a PDF or a picture, by the suffix of its path.

    Raises:
        UnreadableError: The file is damaged, or has too many pages or pixels.
    """
    import pypdfium2
    from PIL import Image

    if path.suffix.lower() == ".pdf":
        try:
            with pypdfium2.PdfDocument(file) as pdf:
                pdf.init_forms()
                yield _PdfPages(pdf)
        except pypdfium2.PdfiumError as error:
            raise UnreadableError(f"not a valid PDF: {error}") from error
        return
    Image.MAX_IMAGE_PIXELS = MAX_PICTURE_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    with _damages(), Image.open(file, formats=FORMATS) as picture:
        yield _PicturePages(picture)


class _PdfPages:
    def __init__(self, pdf: Any) -> None:
        self.pdf = pdf

    def __len__(self) -> int:
        return len(self.pdf)

    def is_scan(self, number: int) -> bool:
        import pypdfium2
        from pypdfium2 import raw

        try:
            page = self.pdf[number - 1]
            boxes = [one.get_bounds() for one in page.get_objects([raw.FPDF_PAGEOBJ_IMAGE])]
        except pypdfium2.PdfiumError:
            return False
        width, height = page.get_size()
        covered = sum((right - left) * (top - bottom) for left, bottom, right, top in boxes)
        return bool(covered >= width * height / 2)

    def pixels(self, number: int) -> Pixels:
        import pypdfium2

        try:
            page = self.pdf[number - 1]
            scale = min(DPI / 72, _scale(*page.get_size()))
            drawn: Pixels = page.render(scale=scale, rev_byteorder=False).to_numpy()
            return drawn[..., :3]
        except (pypdfium2.PdfiumError, ZeroDivisionError) as error:
            raise UnreadableError(f"cannot be drawn: {error}") from error


class _PicturePages:
    def __init__(self, picture: Image) -> None:
        self.picture = picture
        paged = picture.format in PAGED_FORMATS
        self.count = int(getattr(picture, "n_frames", 1)) if paged else 1
        if self.count > MAX_PAGES:
            raise UnreadableError(f"{self.count:,} pages, more than {MAX_PAGES:,}")

    def __len__(self) -> int:
        return self.count

    def is_scan(self, number: int) -> bool:
        return True

    def pixels(self, number: int) -> Pixels:
        import numpy as np

        with _damages():
            if self.count > 1:
                self.picture.seek(number - 1)
            picture = _upright(self.picture)
        return np.asarray(picture)[..., ::-1]


DAMAGES = (
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
)


@contextmanager
def _damages() -> Iterator[None]:
    """Turn Pillow's errors into one with the reason."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError(f"more than {MAX_PICTURE_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadableError("not a valid picture") from error
    # Pillow raises SyntaxError for some damaged files, and other errors for damaged headers.
    except (*DAMAGES, struct.error, zlib.error) as error:
        raise UnreadableError(f"not a valid picture: {error}") from error


def _upright(picture: Image) -> Image:
    """Return a picture in RGB on white, upright, and scaled down if it is large."""
    from PIL import Image, ImageOps

    width, height = picture.size
    if max(width, height) > MAX_PICTURE_SIDE:
        raise UnreadableError(f"a side of more than {MAX_PICTURE_SIDE:,} pixels")
    scale = _scale(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if scale < 1:
        # JPEG can be decoded at a half or a quarter of its size.
        picture.draft("RGB", size)
    if picture.mode.startswith(("I", "F")):
        picture = _as_bytes(picture)
    if picture.has_transparency_data:
        colours = picture.convert("RGBA")
        picture = Image.new("RGB", picture.size, "white")
        picture.paste(colours, mask=colours)
    else:
        picture = picture.convert("RGB")
    if scale < 1:
        picture = picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    return ImageOps.exif_transpose(picture)


def _as_bytes(picture: Image) -> Image:
    """Return a picture of larger numbers with its lightest as white and its darkest as black."""
    import numpy as np
    from PIL import Image

    values = np.asarray(picture).astype(np.float32)
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    return Image.fromarray(
        np.nan_to_num((values - least) * (255 / ((most - least) or 1.0))).astype(np.uint8)
    )


def _scale(width: float, height: float) -> float:
    """Return by what to multiply the sides of a page so that it is not too large."""
    return min(math.sqrt(PIXELS / (width * height)), LONG_SIDE / max(width, height))
