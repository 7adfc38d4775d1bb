"""Helpers for tests of reading: files to read, and reading them as the pipeline does."""

import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ettin_cli.corpus.formats import read_file
from ettin_cli.corpus.records import Fields
from ettin_cli.corpus.sources import Listing, SourceFile, list_files, open_source
from ettin_cli.records import Document, Rejection

NOBODY = 65534


def listed(
    folder: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    index: Path | None = None,
) -> Listing:
    return list_files(open_source(str(folder)), include, exclude, index)


def names(listing: Listing) -> list[str]:
    return [file.name for file in listing.files]


def read(
    path: Path, *, fields: Fields | None = None, in_folder: bool = False
) -> tuple[list[Document], list[Rejection], list[str]]:
    rejections: list[Rejection] = []
    skipped: list[str] = []
    file = SourceFile(path, path.name, in_folder)
    documents = list(read_file(file, fields or Fields(), rejections.append, skipped.append))
    return documents, rejections, skipped


def one(path: Path) -> Document:
    documents, rejections, skipped = read(path)
    assert (rejections, skipped) == ([], [])
    (document,) = documents
    return document


def why_not(path: Path) -> str:
    documents, (rejection,), _ = read(path)
    assert documents == []
    assert rejection.path == str(path)
    return rejection.reason


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def is_superuser() -> bool:
    """Return whether permissions do not restrict this process."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


@contextmanager
def unprivileged() -> Iterator[None]:
    """Act as a user restricted by permissions, which the superuser is not."""
    superuser = is_superuser()
    if superuser:
        os.seteuid(NOBODY)
    try:
        if not os.access(pytest.__file__, os.R_OK, effective_ids=True):
            pytest.skip("what is installed may be read by its owner alone")
        yield
    finally:
        if superuser:
            os.seteuid(0)


def write_pdf(path: Path, pages: Sequence[str], *, title: str = "", password: str = "") -> Path:
    """Write a PDF of these pages, one line of text per line; a password encrypts it."""
    first = 6
    objects = {
        1: "<< /Type /Catalog /Pages 2 0 R >>",
        2: f"<< /Type /Pages /Count {len(pages)} /Kids "
        f"[{' '.join(f'{first + 2 * at} 0 R' for at in range(len(pages)))}] >>",
        3: "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
        4: f"<< /Title ({title}) >>",
        5: _lock(password) if password else "null",
    }
    for at, page in enumerate(pages):
        lines = "\n".join(f"({line}) Tj T*" for line in page.split("\n"))
        stream = f"BT /F1 10 Tf 12 TL 40 800 Td\n{lines}\nET" if page else ""
        objects[first + 2 * at] = (
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 842] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {first + 2 * at + 1} 0 R >>"
        )
        objects[first + 2 * at + 1] = f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream"
    content, offsets = b"%PDF-1.4\n", []
    for number, body in objects.items():
        offsets.append(len(content))
        content += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    locked = "/Encrypt 5 0 R /ID [<00><00>]" if password else ""
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    content += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info 4 0 R {locked} >>\n"
        f"startxref\n{len(content)}\n%%EOF\n"
    ).encode()
    return write(path, content)


def _lock(password: str) -> str:
    """Return the encryption dictionary of PDF 1.4's 40-bit standard handler (section 3.5)."""
    filler = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    padded = (password.encode() + filler)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    permissions = (-4).to_bytes(4, "little", signed=True)
    key = hashlib.md5(padded + owner + permissions + b"\0").digest()[:5]
    user = _rc4(key, filler)
    return f"<< /Filter /Standard /V 1 /R 2 /O <{owner.hex()}> /U <{user.hex()}> /P -4 >>"


def _rc4(key: bytes, content: bytes) -> bytes:
    state, j, out = list(range(256)), 0, bytearray()
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    for byte in content:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def write_epub(path: Path, chapters: dict[str, str | bytes], *, title: str = "") -> Path:
    """Write an EPUB of these chapters by file name, in order."""
    items = "".join(f'<item id="c{at}" href="{name}"/>' for at, name in enumerate(chapters))
    spine = "".join(f'<itemref idref="c{at}"/>' for at in range(len(chapters)))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
        )
        book.writestr(
            "OEBPS/book.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" '
            f'xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>{title}</dc:title>'
            f"</metadata><manifest>{items}</manifest><spine>{spine}</spine></package>",
        )
        for name, chapter in chapters.items():
            book.writestr(f"OEBPS/{name}", chapter)
    return path
