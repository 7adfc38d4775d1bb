"""A TREC qrels file to which judgements are appended, intact at any moment."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ettin_cli.errors import CorpusError, OutputError
from ettin_cli.files import output_errors, without_spaces
from ettin_cli.platforms import exists
from ettin_cli.storage import replacing, sync_folder

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SHOWN = 60


class Judgements:
    """The judgements in a TREC qrels file, which need not exist yet.

    The file is opened for each judgement, so that other sessions may write to it meanwhile.

    Raises:
        CorpusError: The file cannot be read, or a line is not a judgement.
        OutputError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with output_errors(path):
            place = path if exists(path) else path.parent
            if not os.access(place, os.W_OK):
                problem = "no permission" if exists(place) else f"no such folder: {place}"
                raise OutputError(
                    f"cannot write {path}: {problem}", code="judgements-unwritable", path=path
                )
        numbered = enumerate(_lines(path), start=1)
        judged = {_judged(line, f"{path}:{number}") for number, line in numbered if line.strip()}
        unmarked = {(query.removeprefix(BYTE_ORDER_MARK), document) for query, document in judged}
        self._judged = judged | unmarked

    def __contains__(self, pair: tuple[str, str]) -> bool:
        """Return whether a document is judged for a query, by their ids."""
        query_id, doc_id = pair
        return (_encoded(query_id), _encoded(doc_id)) in self._judged

    def add(self, query_id: str, doc_id: str, relevance: int) -> None:
        """Append a judgement to the file; on return it is synced to disk.

        Raises:
            OutputError: The judgement cannot be written; the file is unchanged.
        """
        query, document = _encoded(query_id), _encoded(doc_id)
        try:
            _append(self.path, b"%b 0 %b %d\n" % (query, document, relevance))
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._judged.add((query, document))

    def take_back(self, query_id: str, doc_id: str, relevance: int) -> bool:
        """Remove a judgement that `add` wrote; return whether it was still there.

        Raises:
            OutputError: The file cannot be written; it is unchanged.
        """
        query, document = _encoded(query_id), _encoded(doc_id)
        wanted = [query, b"0", document, b"%d" % relevance]
        lines = _lines(self.path)
        matches = [number for number, line in enumerate(lines) if line.split() == wanted]
        if not matches:
            return False
        del lines[matches[-1]]
        try:
            with replacing(self.path) as draft:
                draft.write_bytes(b"".join(lines))
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._judged.discard((query, document))
        return True


def _encoded(name: str) -> bytes:
    return without_spaces(name).encode("utf-8", "surrogatepass")


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CorpusError(
            f"cannot read the judgements in {path}: {error.strerror}",
            code="cannot-read",
            path=path,
        ) from error


def _judged(line: bytes, place: str) -> tuple[bytes, bytes]:
    """Return the query and the document that a line judges."""
    with suppress(ValueError):
        query, _, document, relevance = line.split()
        int(relevance)
        return query, document
    shown = line.decode("utf-8", "backslashreplace").strip()
    raise CorpusError(
        f"{place}: not a judgement: {shown[:SHOWN]!r}",
        expected="a TREC qrels line is: query_id 0 doc_id relevance",
    )


def _append(path: Path, line: bytes) -> None:
    """Append a line to a file and sync it to disk, or leave the file unchanged."""
    new = not path.exists()
    with path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            # Do not join an unterminated last line.
            line = line if file.read(1) == b"\n" else b"\n" + line
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise
    if new:
        sync_folder(path.parent)


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror or error}",
        code="judgements-unwritable",
        path=path,
    )
