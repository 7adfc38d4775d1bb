"""A separate process that reads PDFs: if it hangs, crashes or runs out of memory, one file fails.

The answer to a request is one line per page, each a JSON string, or null for a page that cannot be
read, and then an object with the title and whether the PDF was repaired, or with the reason why it
cannot be read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ettin_cli.corpus.bidi import RIGHT_TO_LEFT
from ettin_cli.corpus.child import serve
from ettin_cli.corpus.pdf_columns import text_in_columns
from ettin_cli.corpus.pdf_fields import page_values, with_values
from ettin_cli.corpus.pdf_glyphs import right_to_left_text
from ettin_cli.corpus.pdf_repair import repaired
from ettin_cli.settings import MIB
from ettin_cli.storage import UnreadableError, opened

# In place of a hyphen at the end of a line, where the next line follows.
LINE_HYPHEN = "\x02"


def answers(request: dict[str, Any]) -> Iterator[str | dict[str, Any] | None]:
    """Yield the text of each page of the PDF of a request, then its title or what failed."""
    import pypdfium2

    path, pages, characters = Path(request["path"]), request["pages"], request["characters"]
    try:
        with opened(path) as file:
            pdf, damaged = _opened_pdf(file)
            with pdf:
                title = pdf.get_metadata_value("Title")
                yield from _pages(pdf, pages, characters)
                yield {"title": title, "repaired": damaged}
    except pypdfium2.PdfiumError as error:
        # PDFium repeats its last error if it does not know the reason.
        locked = "password" in str(error).lower() and b"/Encrypt" in path.read_bytes()
        yield {"reason": "needs a password" if locked else f"not a valid PDF: {error}"}
    except UnreadableError as error:
        yield {"reason": str(error)}
    except (MemoryError, ValueError) as error:
        yield {"reason": f"not a valid PDF: {error or 'out of memory'}"}


def _opened_pdf(file: BinaryIO) -> tuple[Any, bool]:
    """Return a PDF, and whether it had to be repaired."""
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(file), False
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise
        file.seek(0)
        content = repaired(file.read())
        if content is None:
            raise
    return pypdfium2.PdfDocument(content), True


def _pages(pdf: Any, most: int, characters: int) -> Iterator[str | None]:
    """Yield the text of each page; many pages may share one large content."""
    import pypdfium2

    if len(pdf) > most:
        raise UnreadableError(f"{len(pdf):,} pages, more than {most:,}")
    left = characters
    pdf.init_forms()
    read = 0
    for number in range(len(pdf)):
        try:
            page = pdf[number]
            text = _page_text(page, pdf)
        except pypdfium2.PdfiumError:
            yield None
            continue
        read += 1
        left -= len(text)
        if left < 0:
            raise UnreadableError(f"more than {characters // MIB} MiB of text")
        yield text
    if not read and len(pdf):
        raise UnreadableError("not a valid PDF: none of its pages can be read")


def _page_text(page: Any, pdf: Any) -> str:
    shown = page.get_textpage()
    text: str = shown.get_text_bounded()
    values = page_values(page, pdf)
    if RIGHT_TO_LEFT.search(text):
        text = right_to_left_text(shown, page.get_bbox())
    elif any(value.box for value in values):
        text, values = with_values(shown, text, values)
    else:
        text = text_in_columns(shown, text)
    # PDFium has one of these in place of a hyphen at the end of a line.
    for mark in ("\ufffe\r\n", "\ufffe", f"{LINE_HYPHEN}\r\n"):
        text = text.replace(mark, LINE_HYPHEN)
    text = text.replace("\r\n", "\n").replace("\0", "")
    return "\n".join(filter(None, [text, *(value.text for value in values)]))


if __name__ == "__main__":
    serve(answers, int(sys.argv[1]))
