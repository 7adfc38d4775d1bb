"""Jupyter notebooks -> their cells in order, with the text of outputs; a cell is a page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ettin_cli.corpus.content import read_text
from ettin_cli.corpus.html import html_document
from ettin_cli.corpus.reader import DocumentReader
from ettin_cli.corpus.titles import markdown_title
from ettin_cli.records import Document
from ettin_cli.settings import MAX_JSON_BYTES
from ettin_cli.storage import UnreadableError

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_TICKS = re.compile(r"`{3,}")


def notebook_document(text: str, doc_id: str) -> Document:
    """Return a notebook's cells as Markdown, with code and outputs in fences.

    Cells without a source that is text are counted in a notice; their outputs are read.

    Raises:
        UnreadableError: It is not JSON, or has no cells.
    """
    notebook = _parsed(text)
    lines: list[str] = []
    pages: list[int] = []
    broken: list[int] = []
    title = ""
    for number, cell in enumerate(_cells(notebook), start=1):
        if not _is_text(_source(cell)):
            broken.append(number)
        for block in _blocks(cell, _language(notebook)):
            if cell.get("cell_type") in ("markdown", "heading"):
                title = title or markdown_title(block)
            added = [*block.strip("\n").split("\n"), ""]
            lines += added
            pages += [number] * len(added)
    text, notices = "\n".join(lines), [_without_source(broken)] if broken else []
    return Document(doc_id, text, title=title, kind="markdown", pages=pages, notices=notices)


def _without_source(cells: Sequence[int]) -> str:
    """Return the remark that some cells are broken.

    >>> _without_source([2]), _without_source([3, 4, 7])
    ('cell 2 has no source', '3 cells have no source, first cell 3')
    """
    if len(cells) == 1:
        return f"cell {cells[0]} has no source"
    return f"{len(cells):,} cells have no source, first cell {cells[0]:,}"


def _source(cell: dict[str, Any]) -> object:
    # Version 3 has the source of code as its input.
    return cell.get("source", cell.get("input"))


def _is_text(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(piece, str) for piece in value)
    )


def _parsed(text: str) -> dict[str, Any]:
    import orjson

    try:
        notebook = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # Python writes NaN, which is not JSON.
        notebook = _lenient(text)
        if notebook is None:
            reason = f"broken JSON: {error.msg} at line {error.lineno}"
            raise UnreadableError(reason) from error
    if not isinstance(notebook, dict):
        raise UnreadableError("not a notebook: no cells")
    return notebook


def _lenient(text: str) -> Any:
    try:
        return json.loads(text) if "NaN" in text or "Infinity" in text else None
    except (ValueError, RecursionError):
        return None


def _cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    sheets = notebook.get("worksheets")
    groups = [notebook.get("cells")]
    if isinstance(sheets, list):
        groups += [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
    found = [group for group in groups if isinstance(group, list)]
    if not found:
        raise UnreadableError("not a notebook: no cells")
    # What is no cell keeps its place in the numbering.
    return [cell if isinstance(cell, dict) else {} for group in found for cell in group]


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    info = metadata.get("language_info") if isinstance(metadata, dict) else None
    name = info.get("name") if isinstance(info, dict) else None
    return name if isinstance(name, str) and name.isalnum() else ""


def _blocks(cell: dict[str, Any], language: str) -> Iterator[str]:
    """Yield the source of a cell and its outputs, those that have text."""
    kind, source = cell.get("cell_type"), _joined(_source(cell))
    if kind == "heading":
        level = cell.get("level")
        source = f"{'#' * (level if isinstance(level, int) and 0 < level < 7 else 1)} {source}"
    if source.strip():
        yield _fenced(source, language) if kind == "code" else source
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        text = _output(output) if isinstance(output, dict) else ""
        if text.strip():
            yield _fenced(text, "")


def _output(output: dict[str, Any]) -> str:
    if output.get("output_type") in ("error", "pyerr"):
        traceback = _joined(output.get("traceback"), "\n")
        named = f"{output.get('ename', '')}: {output.get('evalue', '')}"
        return _COLOURS.sub("", traceback) or named
    data = output.get("data")
    held = data if isinstance(data, dict) else output
    for name in ("text/markdown", "text/plain", "text", "text/latex"):
        if text := _joined(held.get(name)):
            return _COLOURS.sub("", text)
    page = _joined(held.get("text/html", held.get("html")))
    return html_document(page, "").text if page else ""


def _joined(value: object, separator: str = "") -> str:
    """Return a text, which a notebook may hold as a list of lines."""
    if isinstance(value, list):
        return separator.join(piece for piece in value if isinstance(piece, str))
    return value if isinstance(value, str) else ""


def _fenced(text: str, language: str) -> str:
    longest = max((len(ticks) for ticks in _TICKS.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"


def _read(path: Path, doc_id: str) -> Document:
    return notebook_document(read_text(path, MAX_JSON_BYTES), doc_id)


NOTEBOOK = DocumentReader(
    name="Jupyter notebook", suffixes=(".ipynb",), read=_read, compressed=True
)
