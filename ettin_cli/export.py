"""Answers -> the bytes of a format. Knows records, and no terminal."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from ettin_cli.errors import InvalidArgumentError, OutputError
from ettin_cli.records import Answer, Hit, Passage
from ettin_cli.snippets import best_lines
from ettin_cli.storage import replacing
from ettin_cli.trec import without_spaces

FORMATS = ("auto", "table", "json", "jsonl", "csv", "tsv", "parquet", "trec", "md", "paths")
SUFFIXES = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".trec": "trec",
    ".md": "md",
}
COLUMNS = {
    "query_id": "string",
    "rank": "int32",
    "doc_id": "string",
    "passage_id": "int64",
    "score": "float64",
    "rerank_score": "float64",
    "probability": "float64",
    "retrieval_rank": "int32",
    "retrieval_score": "float64",
    "retrieval": "string",
    "title": "string",
    "path": "string",
    "start_line": "int32",
    "end_line": "int32",
    "page": "int32",
    "truncated": "bool",
    "stale": "bool",
    "text": "string",
    "metadata": "string",
    "duplicates": "string",
    "query": "string",
    "query_fields": "string",
}
WHERE_THEY_APPLY = frozenset(
    (
        *("rerank_score", "probability", "retrieval", "page", "text", "truncated", "stale"),
        "duplicates",
    )
)
DELIMITERS = {"csv": ",", "tsv": "\t"}
RUN_NAME = "ettin"
PARQUET_ROWS = 8192


def format_for(output: Path | None, wanted: str) -> str:
    """Return the format: as wanted, else by the output's suffix, else still `auto`.

    Raises:
        InvalidArgumentError: There is no such format, or none has this suffix.
    """
    if wanted not in FORMATS:
        raise InvalidArgumentError(
            f"unknown format {wanted!r}", argument="format", value=wanted, choices=FORMATS
        )
    if wanted != "auto" or output is None or str(output) == "-":
        return wanted
    found = SUFFIXES.get(output.suffix.lower())
    if found is None:
        raise InvalidArgumentError(
            f"no format has the suffix of {output}", argument="output", choices=tuple(SUFFIXES)
        )
    return found


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when it is complete.

    A device or a pipe, such as /dev/null, is written to as it is and never replaced.

    Raises:
        OutputError: It cannot be written; whatever was there before is still there.
    """
    with output_errors(path):
        special = path.exists() and not path.is_file()
        with nullcontext(path) if special else replacing(path) as draft, draft.open("wb") as file:
            yield file


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn a failure to write into one line; a closed pipe is none.

    Raises:
        OutputError: Something in the block cannot be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", path=path) from error


class Encoder:
    """Turns answers into the bytes of a format, one answer at a time.

    Args:
        format: One of FORMATS but `auto`, `table` and `parquet`, or `rows`: a JSON object a hit.
        many: Whether `json` is an array of answers rather than one answer.
        text: Whether hits carry their text.
        tag: The name of a TREC run.
    """

    def __init__(self, format: str, *, many: bool, text: bool = True, tag: str = RUN_NAME) -> None:
        self.format, self.many, self.text, self.tag = format, many, text, tag

    def begin(self) -> bytes:
        """Return what comes before the first answer."""
        if self.format in DELIMITERS:
            return delimited_rows([columns(text=self.text)], self.format)
        return b"[" if self.format == "json" and self.many else b""

    def answer(self, answer: Answer, *, first: bool) -> bytes:
        """Return an answer's bytes; `first` tells whether others come before it."""
        match self.format:
            case "json":
                between = (b"\n" if first else b",\n") if self.many else b""
                return between + _dumps(answer_json(answer, text=self.text), indent=True)
            case "jsonl":
                return _dumps(answer_json(answer, text=self.text)) + b"\n"
            case "rows":
                rows = answer_rows(answer, text=self.text)
                return b"".join(_dumps(row) + b"\n" for row in rows)
            case "csv" | "tsv":
                rows = answer_rows(answer, text=self.text)
                return delimited_rows((list(row.values()) for row in rows), self.format)
            case "trec":
                return _trec(answer, self.tag)
        return LINES[self.format](answer)

    def end(self) -> bytes:
        """Return what comes after the last answer."""
        if self.format != "json":
            return b""
        return b"\n]\n" if self.many else b"\n"


def write_answers(
    answers: Iterable[Answer],
    format: str,
    file: BinaryIO,
    *,
    many: bool,
    text: bool = True,
    tag: str = RUN_NAME,
) -> None:
    """Write answers as they come.

    Args:
        format: One of FORMATS but `auto` and `table`.
        many: Whether `json` is an array of answers rather than one answer.
        text: Whether hits carry their text.
        tag: The name of a TREC run.
    """
    if format == "parquet":
        rows = (row for answer in answers for row in answer_rows(answer, text=text))
        write_parquet(rows, file, text=text)
        return
    encoder = Encoder(format, many=many, text=text, tag=tag)
    file.write(encoder.begin())
    for number, answer in enumerate(answers):
        file.write(encoder.answer(answer, first=number == 0))
        file.flush()
    file.write(encoder.end())


def answer_json(answer: Answer, *, text: bool = True) -> dict[str, Any]:
    """Return an answer in the shape of `-f json`; what does not apply is left out."""
    hits = [hit_json(hit, rank, text=text) for rank, hit in enumerate(answer.hits, start=1)]
    shape = {
        "query_id": answer.query.query_id,
        "query": answer.query.text,
        **answer.fields,
        **({"retriever": answer.retriever} if answer.retriever is not None else {}),
        **({"embedder": answer.embedder} if answer.embedder is not None else {}),
        "reranker": answer.reranker,
        "engine": answer.engine,
        **({"stages": [asdict(stage) for stage in answer.stages]} if answer.stages else {}),
        "hits": hits,
    }
    return {**shape, "seconds": dict(answer.seconds)} if answer.seconds else shape


def hit_json(hit: Hit, rank: int, *, text: bool = True) -> dict[str, Any]:
    """Return a hit in the shape of `-f json`; what does not apply is left out."""
    passage = hit.passage
    shape = {
        "rank": rank,
        "doc_id": passage.doc_id,
        "passage_id": hit.passage_id,
        "score": hit.score,
        "rerank_score": hit.rerank_score,
        "probability": hit.probability,
        "retrieval_rank": hit.retrieval_rank,
        "retrieval_score": hit.retrieval_score,
        "retrieval": {name: asdict(place) for name, place in hit.places.items()} or None,
        "title": passage.title,
        "path": passage.path,
        "start_line": passage.start_line,
        "end_line": passage.end_line,
        "page": passage.page,
        "text": passage.text if text else None,
        "metadata": dict(passage.metadata),
        "duplicates": [_duplicate(*one) for one in hit.duplicates.items()] or None,
        "truncated": hit.truncated or None,
        "stale": hit.stale or None,
    }
    return {k: v for k, v in shape.items() if v is not None or k not in WHERE_THEY_APPLY}


def _duplicate(passage_id: int, passage: Passage) -> dict[str, Any]:
    return {
        "doc_id": passage.doc_id,
        "passage_id": passage_id,
        "path": passage.path,
        "start_line": passage.start_line,
    }


def columns(*, text: bool = True) -> list[str]:
    """Return the columns of the formats that have a row a hit."""
    return [name for name in COLUMNS if text or name != "text"]


def answer_rows(answer: Answer, *, text: bool = True) -> Iterator[dict[str, Any]]:
    """Yield a row a hit, with its query; what is an object or a list is JSON."""
    of_query = {"query_id": answer.query.query_id, "query": answer.query.text}
    if answer.fields:
        of_query["query_fields"] = _dumps(dict(answer.fields)).decode()
    for rank, hit in enumerate(answer.hits, start=1):
        shape = hit_json(hit, rank, text=text)
        shape["metadata"] = _dumps(shape["metadata"]).decode()
        for name in {"retrieval", "duplicates"} & shape.keys():
            shape[name] = _dumps(shape[name]).decode()
        shape |= of_query
        shape["truncated"], shape["stale"] = hit.truncated, hit.stale
        yield {name: shape.get(name) for name in columns(text=text)}


def write_parquet(rows: Iterable[dict[str, Any]], file: BinaryIO, *, text: bool = True) -> None:
    """Write rows as Parquet, a few thousand at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [(name, pa.type_for_alias(COLUMNS[name])) for name in columns(text=text)]
    schema, waiting = pa.schema(fields), iter(rows)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while block := list(islice(waiting, PARQUET_ROWS)):
            writer.write_table(pa.Table.from_pylist(block, schema))


def _dumps(value: object, *, indent: bool = False) -> bytes:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None)


def delimited_rows(rows: Iterable[Sequence[Any]], format: str) -> bytes:
    """Return rows as lines of CSV or TSV."""
    lines = []
    for row in rows:
        text = io.StringIO(newline="")
        # A cell is quoted for what ends a line, and readers take either sign for that.
        csv.writer(text, delimiter=DELIMITERS[format], lineterminator="\r\n").writerow(row)
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


def _trec(answer: Answer, tag: str) -> bytes:
    """Return a run whose scores strictly decrease in float32, documents of the same text among it.

    trec_eval reads scores as float32 and orders equal ones by document id, so ties would be
    measured in another order than the one shown.
    """
    query_id = without_spaces(answer.query.query_id)
    best: dict[str, float] = {}
    for hit in answer.hits:
        for passage in (hit.passage, *hit.duplicates.values()):
            best.setdefault(passage.doc_id, hit.score)
    scores = decreasing(best.values())
    lines = [
        f"{query_id} Q0 {without_spaces(doc_id)} {rank} {score:.9g} {tag}\n"
        for rank, (doc_id, score) in enumerate(zip(best, scores, strict=True), start=1)
    ]
    return "".join(lines).encode("utf-8", "surrogatepass")


def decreasing(scores: Iterable[float]) -> Iterator[float]:
    """Yield scores that strictly decrease in float32, each the nearest to what it was.

    >>> list(decreasing([1.0, 1.0, 0.5]))
    [1.0, 0.9999999403953552, 0.5]
    """
    ceiling = float("inf")
    for score in scores:
        nearest = min(_float32(score), ceiling)
        ceiling = _next_below(nearest)
        yield nearest


def _float32(value: float) -> float:
    nearest: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return nearest


def _next_below(value: float) -> float:
    """Return the next float32 below a float32."""
    if value == 0:
        return -(2.0**-149)
    bits = struct.unpack("<i", struct.pack("<f", value))[0]
    below: float = struct.unpack("<f", struct.pack("<i", bits - 1 if value > 0 else bits + 1))[0]
    return below


def _markdown(answer: Answer) -> bytes:
    lines = [f"## {_one_line(answer.query.text)}", ""]
    for rank, hit in enumerate(answer.hits, start=1):
        passage = hit.passage
        name = _one_line(passage.title or passage.doc_id).translate(_MARKDOWN)
        anchor = f"#L{passage.start_line}" if passage.start_line else ""
        target = quote(passage.path, safe="/:.~") + anchor if passage.path else ""
        shown = f"[{name}]({target})" if target else name
        lines.append(f"{rank}. {shown} ({hit.score:.3f})")
        quoted = best_lines(passage.text, answer.query.text).text
        lines += [f"   > {line}" for line in quoted.split("\n")]
    return ("\n".join(lines) + "\n\n").encode("utf-8", "surrogatepass")


_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\[]<>*_`"})


def _one_line(text: str) -> str:
    return " ".join(text.split())


def place(hit: Hit, query: str) -> str:
    """Return `path:line` of a hit's best line, as editors take it; the doc_id without a path."""
    passage = hit.passage
    if passage.path is None:
        return passage.doc_id
    if passage.start_line is None or passage.end_line is None:
        return passage.path
    offset = best_lines(passage.text, query, lines=1).line
    return f"{passage.path}:{min(passage.start_line + offset, passage.end_line)}"


def _paths(answer: Answer) -> bytes:
    lines = (place(hit, answer.query.text) for hit in answer.hits)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


LINES: dict[str, Callable[[Answer], bytes]] = {
    "md": _markdown,
    "paths": _paths,
}
