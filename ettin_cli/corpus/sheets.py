"""Rows of a spreadsheet -> lines of text, each value with the header of its column."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ettin_cli.settings import MAX_COLUMNS, MAX_TEXT_BYTES, MIB
from ettin_cli.storage import UnreadableError

# A longer cell is text, not a header.
MAX_HEADER = 100
_USUAL_NAME = re.compile(
    r"(?:Sheet|Tabelle|Feuil|Feuille|Hoja|Foglio|Planilha|Blad|Ark|Arkusz|List|Taul|Лист|Аркуш|シート"
    r"|工作表)?\d*"
)
_NUMBER = re.compile(r"[-+(]?[\d.,/:%\s-]+\)?$")


class SheetError(ValueError):
    """The rest of a sheet cannot be read; the message is the reason."""


class SheetText:
    """The lines of a workbook's sheets; their number and length are limited."""

    def __init__(self) -> None:
        self.pages: list[list[str]] = []
        self._header: Mapping[int, str] = {}
        self._left = MAX_TEXT_BYTES

    def begin(self, name: str) -> None:
        """Begin a sheet; its first line is its name, if that says more than its number."""
        self.pages.append([] if _USUAL_NAME.fullmatch(name) else [name])
        self._header = {}

    def row(self, cells: Mapping[int, str]) -> None:
        """Add a row: the text of each cell that has one, by the number of its column.

        The first row of several short texts is the header.

        Raises:
            SheetError: It has too many columns.
            UnreadableError: The text is too long.
        """
        cells = {column: text for column, text in cells.items() if text}
        if not cells:
            return
        if len(cells) > MAX_COLUMNS:
            raise SheetError(f"{len(cells):,} columns, more than {MAX_COLUMNS:,}")
        named = [
            f"{self._header[at]}: {text}" if at in self._header else text
            for at, text in sorted(cells.items())
        ]
        self.line(" | ".join(named))
        if not self._header and _is_header(cells):
            self._header = cells

    def line(self, text: str) -> None:
        """Add a line to the sheet.

        Raises:
            UnreadableError: The text is too long.
        """
        self.take(len(text))
        self.pages[-1].append(text)

    def take(self, characters: int) -> None:
        """Count characters before they are put together.

        Raises:
            UnreadableError: There are too many.
        """
        self._left -= characters
        if self._left < 0:
            raise UnreadableError(f"more than {MAX_TEXT_BYTES // MIB} MiB of text")


def _is_header(cells: Mapping[int, str]) -> bool:
    return len(cells) > 1 and not any(
        len(text) > MAX_HEADER or _NUMBER.match(text) for text in cells.values()
    )
