"""Judgements (qrels) and runs in the TREC and BEIR file formats.

White space would split an id in these files, so runs are written with it percent-encoded. Ids are
normalised to that form wherever they are read: "a b" in a table of judgements matches "a%20b" in a
run. An id that contains a literal "%20" cannot be distinguished from one with a space.
"""

from __future__ import annotations

import csv
import math
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from ettin_cli.errors import CorpusError, OutputError
from ettin_cli.records import Qrels
from ettin_cli.storage import Stream, UnreadableError, opened, record_lines, replacing

QRELS_FIELDS = "query_id iteration doc_id relevance"
RUN_FIELDS = "query_id Q0 doc_id rank score tag"
BEIR_HEADER = "query-id\tcorpus-id\tscore"

_RELEVANCE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")


def without_spaces(name: str) -> str:
    """Return an id in TREC form: white space percent-encoded, "%20" if empty.

    >>> without_spaces("notes/to do.md")
    'notes/to%20do.md'
    """
    return "".join(quote(sign) if sign.isspace() else sign for sign in name) or "%20"


def read_qrels(path: Path | Stream) -> dict[str, dict[str, int]]:
    """Return the judgements of a file, by query_id and doc_id.

    The first line decides the format: a BEIR table begins with its header, and TREC has a line
    `query_id iteration doc_id relevance` for each judgement. Empty lines are skipped.

    Raises:
        CorpusError: The file cannot be read or is empty, a document has conflicting judgements, or
            a line is not a judgement; gives the line number.
    """
    qrels: dict[str, dict[str, int]] = {}
    for place, query_id, doc_id, text in _judgements(path):
        if not _RELEVANCE.fullmatch(text):
            raise CorpusError(f"{place}: relevance {text!r} is not an integer")
        relevance = int(text.partition(".")[0])
        known = qrels.setdefault(query_id, {}).setdefault(doc_id, relevance)
        if known != relevance:
            raise CorpusError(
                f"{place}: {doc_id} is judged {relevance} for query {query_id}, but {known} in "
                "an earlier line; keep only one"
            )
    if not qrels:
        raise CorpusError(f"no judgements in {path}")
    return qrels


def read_run(path: Path | Stream) -> dict[str, dict[str, float]]:
    """Return the scores of a run, by query_id and doc_id.

    As in trec_eval, the order is by score; the rank column is ignored.

    Raises:
        CorpusError: The file cannot be read or is empty, a document is listed twice for a query,
            or a line is not a run line; gives the line number.
    """
    run: dict[str, dict[str, float]] = {}
    for place, line in _lines(path):
        query_id, doc_id, score = run_line(line, place)
        scores = run.setdefault(query_id, {})
        if doc_id in scores:
            raise CorpusError(f"{place}: {doc_id} is listed twice for query {query_id}")
        scores[doc_id] = score
    if not run:
        raise CorpusError(f"no hits in {path}", expected=f"a run line is: {RUN_FIELDS}")
    return run


def run_line(line: str, place: str) -> tuple[str, str, float]:
    """Return the query_id, the doc_id and the score of a run line.

    Raises:
        CorpusError: It is not a run line, or its score is not a number; gives the place.
    """
    query_id, _, doc_id, _, score, _ = _fields(line, place, RUN_FIELDS)
    return without_spaces(query_id), without_spaces(doc_id), _score(score, place)


def write_qrels(qrels: Qrels, path: Path) -> None:
    """Write judgements in TREC format, ordered by query_id and doc_id.

    Raises:
        OutputError: The file cannot be written; an existing file is left unchanged.
    """
    rows = sorted(
        (without_spaces(query_id), without_spaces(doc_id), relevance)
        for query_id, judged in qrels.items()
        for doc_id, relevance in judged.items()
    )
    text = "".join(f"{query_id} 0 {doc_id} {relevance}\n" for query_id, doc_id, relevance in rows)
    try:
        with replacing(path) as draft:
            draft.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", path=path) from error


def _judgements(path: Path | Stream) -> Iterator[tuple[str, str, str, str]]:
    """Yield the place, query_id, doc_id and relevance of each judgement."""
    is_table = False
    for at, (place, line) in enumerate(_lines(path)):
        if at == 0 and line.strip() == BEIR_HEADER:
            is_table = True
            continue
        if is_table:
            query_id, doc_id, relevance = _cells(line, place)
        else:
            query_id, _, doc_id, relevance = _fields(line, place, QRELS_FIELDS)
        yield place, without_spaces(query_id), without_spaces(doc_id), relevance.strip()


def _cells(line: str, place: str) -> list[str]:
    """Return the cells of a TSV row, unquoted."""
    try:
        cells = next(csv.reader([line], delimiter="\t", strict=True))
    except csv.Error as error:
        raise CorpusError(f"{place}: broken TSV: {error}") from error
    if len(cells) != 3 or not all(cells):
        count = sum(map(bool, cells))
        raise CorpusError(f"{place}: {count} non-empty cells instead of 3")
    return cells


def _fields(line: str, place: str, wanted: str) -> list[str]:
    # Only ASCII white space separates fields, as in trec_eval: ids may contain any other.
    fields = re.findall(r"[^ \t\n\r\f\v]+", line)
    if len(fields) == len(wanted.split()):
        return fields
    expected = f"a line is: {wanted}"
    if wanted == QRELS_FIELDS:
        expected += f"; a table begins with: {BEIR_HEADER}"
    raise CorpusError(
        f"{place}: {len(fields)} fields instead of {len(wanted.split())}", expected=expected
    )


def _score(text: str, place: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if math.isnan(score):
        raise CorpusError(f"{place}: score {text!r} is not a number")
    return score


def _lines(path: Path | Stream) -> Iterator[tuple[str, str]]:
    """Yield the place and text of each line that is not empty."""
    try:
        with opened(path, pipes=True) as file:
            for number, raw in enumerate(record_lines(file), start=1):
                content = raw.removeprefix(BOM_UTF8) if number == 1 else raw
                try:
                    line = content.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise CorpusError(f"{path}:{number}: not UTF-8") from error
                if line.strip():
                    yield f"{path}:{number}", line
    except UnreadableError as error:
        raise CorpusError(f"{path}: {error}", code="cannot-read", path=path) from error
