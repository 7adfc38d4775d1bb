"""A TREC run with its queries and its corpus -> pairs."""

from __future__ import annotations

import math
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ettin_cli.corpus import Fields, RecordError, Row, list_files, open_source, read_file
from ettin_cli.errors import CorpusError
from ettin_cli.files.queries import read_queries
from ettin_cli.files.requests.fields import PairRow
from ettin_cli.files.requests.rows import readable
from ettin_cli.files.requests.spool import Spool
from ettin_cli.files.trec import run_line, without_spaces
from ettin_cli.records import Candidate, Document, Passage, Rejection
from ettin_cli.storage import Stream, opened, record_lines


def run_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a TREC run: query id, document id and score.

    Raises:
        CorpusError: The file cannot be read to its end.
    """
    number = 0
    with readable(path), opened(path) as file:
        for line_number, line in enumerate(record_lines(file), start=1):
            if line.strip():
                number += 1
                content = line.removeprefix(BOM_UTF8) if line_number == 1 else line
                yield _run_row(content, f"{path}:{line_number}"), line_number, number


def _run_row(line: bytes, place: str) -> dict[str, Any] | RecordError:
    try:
        query_id, doc_id, score = run_line(line.decode("utf-8").rstrip("\r\n"), place)
    except UnicodeDecodeError:
        return RecordError("not UTF-8")
    except CorpusError as error:
        return RecordError(error.problem.removeprefix(f"{place}: "))
    if not math.isfinite(score):
        return RecordError(f"score {score} is not a finite number")
    return {"query_id": query_id, "doc_id": doc_id, "score": score}


class RunTexts:
    """The texts of a run's queries and documents; documents are kept on disk.

    Args:
        run: Only its documents are read from the corpus.
        queries: A file of queries.
        corpus: Any source that can be indexed, as the user named it.
        fields: The names of the corpus fields.
    """

    def __init__(
        self,
        run: Path,
        queries: Path | Stream,
        corpus: str | Stream,
        fields: Fields,
        spool: Spool,
    ) -> None:
        self.queries_path, self.corpus, self.spool = queries, corpus, spool
        self.queries = {without_spaces(query.query_id): query for query in read_queries(queries)}
        self.rejections: list[Rejection] = []
        wanted = {row["doc_id"] for row, _, _ in run_rows(run) if isinstance(row, dict)}
        self.offsets = self._kept(wanted, fields)

    def pair(self, record: object) -> PairRow:
        """Return the pair of a row of the run.

        Raises:
            RecordError: The row is invalid, or its query or document is missing.
        """
        if not isinstance(record, dict):
            raise cast(RecordError, record)
        query_id, doc_id = record["query_id"], record["doc_id"]
        if query_id not in self.queries:
            raise RecordError(f'query "{query_id}" is not in {self.queries_path}')
        if doc_id not in self.offsets:
            raise RecordError(f'document "{doc_id}" is not in {self.corpus}')
        passage = Passage(**self.spool.get(self.offsets[doc_id]))
        query = self.queries[query_id]
        return PairRow(query.query_id, query.text, Candidate(0, passage, record["score"]))

    def _kept(self, wanted: set[str], fields: Fields) -> dict[str, int]:
        offsets: dict[str, int] = {}
        source = open_source(self.corpus)
        listing = list_files(source)
        self.rejections += listing.rejections
        for file in listing.files:
            path = str(file.path) if file.in_folder else None
            reject = self.rejections.append
            for document in read_file(file, fields, reject, _passed_over, blank=True):
                name = without_spaces(document.doc_id)
                if name in wanted and name not in offsets:
                    offsets[name] = self.spool.add(_passage(document, path))
        return offsets


def _passage(document: Document, path: str | None) -> dict[str, Any]:
    return {
        "doc_id": document.doc_id,
        "text": document.text,
        "title": document.title,
        "path": path,
        "metadata": dict(document.metadata),
    }


def _passed_over(_reason: str) -> None:
    """Ignore files without documents."""
