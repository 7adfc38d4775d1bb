"""A separate process that reads PDFs: if it hangs, crashes or runs out of memory, one file fails.

The answer to a request is one line per page, each a JSON string, and then an object with the title,
or with the reason why the PDF cannot be read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ettin_cli.corpus.child import serve
from ettin_cli.settings import MIB
from ettin_cli.storage import UnreadableError, opened

# In place of a hyphen at the end of a line, where the next line follows.
LINE_HYPHEN = "\x02"


def answers(request: dict[str, Any]) -> Iterator[str | dict[str, str]]:
    """Yield the text of each page of the PDF of a request, then its title or what failed."""
    import pypdfium2

    path, pages, characters = Path(request["path"]), request["pages"], request["characters"]
    try:
        with opened(path) as file, pypdfium2.PdfDocument(file) as pdf:
            title = pdf.get_metadata_value("Title")
            yield from _pages(pdf, pages, characters)
            yield {"title": title}
    except pypdfium2.PdfiumError as error:
        # PDFium repeats its last error if it does not know the reason.
        locked = "password" in str(error).lower() and b"/Encrypt" in path.read_bytes()
        yield {"reason": "needs a password" if locked else f"not a valid PDF: {error}"}
    except UnreadableError as error:
        yield {"reason": str(error)}
    except (MemoryError, ValueError) as error:
        yield {"reason": f"not a valid PDF: {error or 'out of memory'}"}


def _pages(pdf: Any, most: int, characters: int) -> Iterator[str]:
    """Yield the text of each page; many pages may share one large content."""
    if len(pdf) > most:
        raise UnreadableError(f"{len(pdf):,} pages, more than {most:,}")
    left = characters
    pdf.init_forms()
    for page in pdf:
        text = "\n".join(filter(None, [_page_text(page), *_annotations(page, pdf)]))
        left -= len(text)
        if left < 0:
            raise UnreadableError(f"more than {characters // MIB} MiB of text")
        yield text


def _page_text(page: Any) -> str:
    text: str = page.get_textpage().get_text_bounded()
    # PDFium has one of these in place of a hyphen at the end of a line.
    for mark in ("\ufffe\r\n", "\ufffe", f"{LINE_HYPHEN}\r\n"):
        text = text.replace(mark, LINE_HYPHEN)
    return text.replace("\r\n", "\n").replace("\0", "")


def _annotations(page: Any, pdf: Any) -> Iterator[str]:
    """Yield the values of form fields, and the texts of notes and of text typed onto the page."""
    from pypdfium2 import raw

    for number in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if kind == raw.FPDF_ANNOT_WIDGET and pdf.formenv:
            form = pdf.formenv.raw
            if raw.FPDFAnnot_GetFormFieldType(form, annotation) in (
                raw.FPDF_FORMFIELD_TEXTFIELD,
                raw.FPDF_FORMFIELD_COMBOBOX,
                raw.FPDF_FORMFIELD_LISTBOX,
            ):
                yield _string(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
        elif kind in (raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_TEXT):
            yield _string(raw.FPDFAnnot_GetStringValue, annotation, b"Contents")
        raw.FPDFPage_CloseAnnot(annotation)


def _string(read: Any, *arguments: Any) -> str:
    """Return the string that one of PDFium's functions writes into a buffer, in UTF-16."""
    import ctypes

    size = read(*arguments, None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    read(*arguments, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    text = buffer.raw.decode("utf-16-le", "replace").rstrip("\0")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


if __name__ == "__main__":
    serve(answers, int(sys.argv[1]))
