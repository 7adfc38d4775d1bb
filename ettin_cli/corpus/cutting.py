"""Cut a table into pieces that can be read apart: ranges of lines, or of the rows of Parquet.

A file that cannot be cut is one piece: compressed files, JSON, text in another encoding than UTF-8,
Feather, and formats of plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.corpus.columnar import PARQUET, batch_rows, row_groups
from ettin_cli.corpus.encodings import marked_encoding
from ettin_cli.corpus.json_values import parsed
from ettin_cli.corpus.reader import Row
from ettin_cli.corpus.records import RecordError
from ettin_cli.corpus.registry import table_reader_of
from ettin_cli.corpus.tables import JSONL, MARK, each_line
from ettin_cli.storage import UnreadableError, checksum, opened, record_lines

if TYPE_CHECKING:
    from xxhash import xxh3_128

WHOLE, LINES, ROWS = "whole", "lines", "rows"
CHANGED = "the input has changed since the work was planned"

# Returns the group of a record, whose rows stay together; None if the record is invalid.
Group = Callable[[object], int | None]


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of a table.

    Args:
        kind: WHOLE, LINES (`begin` and `end` are bytes) or ROWS (they are rows).
        line: Number of lines before it.
        row: Number of rows before it.
        rows: Its number of rows; 0 if unknown.
        group: Number of groups before it.
        content: A hash of its content; of the file's, unless the kind is LINES.
        changed: When the file was last changed, in ns; 0 for LINES.
    """

    kind: str
    begin: int = 0
    end: int = 0
    line: int = 0
    row: int = 0
    rows: int = 0
    group: int = 0
    content: str = ""
    changed: int = 0

    @property
    def identity(self) -> str:
        """What determines its rows: all but the time of the last change."""
        return repr(astuple(self)[:-1])


class ScatteredError(Exception):
    """Rows of one group are not adjacent."""

    def __init__(self, row: int, line: int | None) -> None:
        super().__init__(row, line)
        self.row, self.line = row, line


def cut(path: Path, rows: int, group: Group | None = None) -> Iterator[Piece]:
    """Yield the pieces of a table, each with at least this number of rows except for the last one.

    Args:
        group: Rows of a group stay in one piece; None: any row can begin a piece.

    Raises:
        UnreadableError: The file cannot be read.
        ScatteredError: The rows of a group are not adjacent.
    """
    reader = table_reader_of(path.name)
    if reader is JSONL and _by_line(path):
        yield from _cut_lines(path, _Cuts(rows, group))
    elif reader is PARQUET:
        yield from _cut_rows(path, _Cuts(rows, group))
    else:
        with opened(path):
            # A pipe is not waited for.
            pass
        yield Piece(WHOLE, content=checksum(path), changed=path.stat().st_mtime_ns)


def piece_rows(path: Path, piece: Piece, columns: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of a piece, as reading the file does.

    Raises:
        UnreadableError: The file cannot be read, or has changed since it was cut.
    """
    if piece.kind == LINES:
        yield from _lines(path, piece)
        return
    reader = table_reader_of(path.name)
    if reader is None:
        raise UnreadableError("its format is not known here")
    _require_unchanged(path, piece)
    if piece.kind == ROWS:
        yield from batch_rows(path, piece.begin, piece.end)
    else:
        yield from reader.table(path, columns)
    _require_unchanged(path, piece)


def _require_unchanged(path: Path, piece: Piece) -> None:
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from error
    if changed != piece.changed:
        raise UnreadableError(CHANGED)


class _Cuts:
    """Decides before which rows a piece begins."""

    def __init__(self, rows: int, group: Group | None) -> None:
        self.rows, self.group = rows, group
        self.row = self.groups = self.begins = 0
        self.last: int | None = None
        self.seen: set[int] = set()

    def before(self, record: object, line: int | None = None) -> bool:
        """Count a row; return whether a piece begins before it."""
        self.row += 1
        full = self.row - 1 - self.begins >= self.rows
        if self.group:
            group = self.group(record)
            if group is None or group == self.last:
                return False
            if group in self.seen:
                raise ScatteredError(self.row, line)
            self.seen.add(group)
            self.last = group
            self.groups += 1
        if full:
            self.begins = self.row - 1
        return full

    @property
    def groups_before(self) -> int:
        """The groups before the row that was counted last, which begins one."""
        return self.groups - 1 if self.group else 0


def _by_line(path: Path) -> bool:
    """Return whether every line of a JSONL file is a record, in UTF-8 and not compressed."""
    if path.suffix.lower() not in JSONL.suffixes:
        return False
    with opened(path) as file:
        if marked_encoding(file.read(4)) not in (None, "utf-8-sig"):
            return False
        file.seek(0)
        lines = (line for line in record_lines(file) if line.removeprefix(MARK).strip())
        first = next(lines, b"").removeprefix(MARK)
    spread = first.lstrip()[:1] in (b"[", b"{") and isinstance(
        parsed(first.rstrip(b"\r\n")), RecordError
    )
    return not spread


def _cut_lines(path: Path, cuts: _Cuts) -> Iterator[Piece]:
    import xxhash

    digest = xxhash.xxh3_128()
    begin = offset = line = lines_before = row = group = 0
    with opened(path) as file:
        for content in record_lines(file):
            text = content if line else content.removeprefix(MARK)
            if text.strip():
                record = parsed(text.rstrip(b"\r\n"), line + 1) if cuts.group else None
                if cuts.before(record, line + 1):
                    yield _piece(begin, offset, lines_before, row, cuts.row - 1, group, digest)
                    digest = xxhash.xxh3_128()
                    begin, lines_before, row = offset, line, cuts.row - 1
                    group = cuts.groups_before
            digest.update(content)
            offset += len(content)
            line += 1
    if offset > begin:
        yield _piece(begin, offset, lines_before, row, cuts.row, group, digest)


def _piece(
    begin: int, end: int, line: int, row: int, next_row: int, group: int, digest: xxh3_128
) -> Piece:
    return Piece(LINES, begin, end, line, row, next_row - row, group, digest.hexdigest())


def _lines(path: Path, piece: Piece) -> Iterator[Row]:
    import xxhash

    digest = xxhash.xxh3_128()

    def lines() -> Iterator[bytes]:
        at = piece.begin
        for content in record_lines(file) if at < piece.end else ():
            digest.update(content)
            at += len(content)
            yield content if piece.begin or at > len(content) else content.removeprefix(MARK)
            if at >= piece.end:
                return

    with opened(path) as file:
        file.seek(piece.begin)
        yield from each_line(lines(), piece.line, piece.row)
    if digest.hexdigest() != piece.content:
        raise UnreadableError(CHANGED)


def _cut_rows(path: Path, cuts: _Cuts) -> Iterator[Piece]:
    content, changed = checksum(path), path.stat().st_mtime_ns
    begin = group = 0
    if cuts.group:
        for record, _, number in PARQUET.rows(path):
            if cuts.before(record):
                piece = Piece(ROWS, begin, number - 1, 0, begin, number - 1 - begin, group)
                yield _of(piece, content, changed)
                begin, group = number - 1, cuts.groups_before
        rows = cuts.row
    else:
        rows = sum(row_groups(path))
        while rows - begin > cuts.rows:
            piece = Piece(ROWS, begin, begin + cuts.rows, 0, begin, cuts.rows)
            yield _of(piece, content, changed)
            begin += cuts.rows
    if rows > begin or not rows:
        yield _of(Piece(ROWS, begin, rows, 0, begin, rows - begin, group), content, changed)


def _of(piece: Piece, content: str, changed: int) -> Piece:
    return replace(piece, content=content, changed=changed)
