"""Answers -> the bytes of a format. Knows records, and no terminal."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from ettin_cli.errors import OutputError, UsageError
from ettin_cli.ranking import best_passages
from ettin_cli.records import Answer, Hit
from ettin_cli.snippets import best_lines
from ettin_cli.storage import replacing

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
    "retrieval_rank": "int32",
    "retrieval_score": "float64",
    "title": "string",
    "path": "string",
    "start_line": "int32",
    "end_line": "int32",
    "page": "int32",
    "truncated": "bool",
    "stale": "bool",
    "text": "string",
    "metadata": "string",
}
RUN_NAME = "ettin"


def format_for(output: Path | None, wanted: str) -> str:
    """Return the format: as wanted, else by the output's suffix, else still `auto`.

    Raises:
        UsageError: There is no such format, or none has this suffix.
    """
    if wanted not in FORMATS:
        raise UsageError(f"no format {wanted!r}", hint=f"one of {', '.join(FORMATS)}")
    if wanted != "auto" or output is None or str(output) == "-":
        return wanted
    found = SUFFIXES.get(output.suffix.lower())
    if found is None:
        known = " ".join(SUFFIXES)
        raise UsageError(
            f"no format has the suffix of {output}", hint=f"name it with -f, or use {known}"
        )
    return found


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when it is complete.

    A device or a pipe, such as /dev/null, is written to as it is and never replaced.

    Raises:
        OutputError: It cannot be written; whatever was there before is still there.
    """
    try:
        special = path.exists() and not path.is_file()
        with nullcontext(path) if special else replacing(path) as draft, draft.open("wb") as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}", hint="choose another place with -o"
        ) from error


def write_answers(answers: Iterable[Answer], format: str, file: BinaryIO, *, many: bool) -> None:
    """Write answers as they come.

    Args:
        format: One of FORMATS but `auto` and `table`.
        many: Whether `json` is an array of answers rather than one answer.
    """
    if format == "json":
        _write_json(answers, file, many=many)
    elif format == "parquet":
        _write_parquet(answers, file)
    else:
        if format in ("csv", "tsv"):
            file.write(_delimited([list(COLUMNS)], format))
        for answer in answers:
            file.write(LINES[format](answer))
            file.flush()


def answer_json(answer: Answer) -> dict[str, Any]:
    """Return an answer in the shape of `-f json`."""
    return {
        "query_id": answer.query.query_id,
        "query": answer.query.text,
        "embedder": answer.embedder,
        "reranker": answer.reranker,
        "engine": answer.engine,
        "hits": [hit_json(hit, rank) for rank, hit in enumerate(answer.hits, start=1)],
        "seconds": dict(answer.seconds),
    }


def hit_json(hit: Hit, rank: int) -> dict[str, Any]:
    """Return a hit in the shape of `-f json`; what does not apply is left out."""
    passage = hit.passage
    shape = {
        "rank": rank,
        "doc_id": passage.doc_id,
        "passage_id": hit.passage_id,
        "score": hit.score,
        "rerank_score": hit.rerank_score,
        "retrieval_rank": hit.retrieval_rank,
        "retrieval_score": hit.retrieval_score,
        "title": passage.title,
        "path": passage.path,
        "start_line": passage.start_line,
        "end_line": passage.end_line,
        "page": passage.page,
        "text": passage.text,
        "metadata": dict(passage.metadata),
        "truncated": hit.truncated or None,
        "stale": hit.stale or None,
    }
    where_they_apply = ("rerank_score", "page", "truncated", "stale")
    return {k: v for k, v in shape.items() if v is not None or k not in where_they_apply}


def _dumps(value: object, *, indent: bool = False) -> bytes:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None)


def _write_json(answers: Iterable[Answer], file: BinaryIO, *, many: bool) -> None:
    shapes = (_dumps(answer_json(answer), indent=True) for answer in answers)
    if not many:
        file.write(b"".join(shapes) + b"\n")
        return
    between = b"[\n"
    for shape in shapes:
        file.write(between + shape)
        between = b",\n"
    file.write(b"\n]\n" if between == b",\n" else b"[]\n")


def _jsonl(answer: Answer) -> bytes:
    return _dumps(answer_json(answer)) + b"\n"


def _rows(answer: Answer) -> Iterator[dict[str, Any]]:
    for rank, hit in enumerate(answer.hits, start=1):
        shape = hit_json(hit, rank)
        shape["metadata"] = _dumps(shape["metadata"]).decode()
        shape["query_id"] = answer.query.query_id
        shape["truncated"], shape["stale"] = hit.truncated, hit.stale
        yield {name: shape.get(name) for name in COLUMNS}


def _delimited(rows: Iterable[list[Any]], format: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t" if format == "tsv" else ",", lineterminator="\n").writerows(
        rows
    )
    return text.getvalue().encode("utf-8", "surrogatepass")


def _csv(answer: Answer) -> bytes:
    return _delimited((list(row.values()) for row in _rows(answer)), "csv")


def _tsv(answer: Answer) -> bytes:
    return _delimited((list(row.values()) for row in _rows(answer)), "tsv")


def _write_parquet(answers: Iterable[Answer], file: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for answer in answers:
            rows = list(_rows(answer))
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema))


def _trec(answer: Answer) -> bytes:
    """Return a run whose scores strictly decrease in float32.

    trec_eval reads scores as float32 and orders equal ones by document id, so ties would be
    measured in another order than the one shown.
    """
    query_id = _without_spaces(answer.query.query_id)
    lines, ceiling = [], float("inf")
    for rank, hit in enumerate(best_passages(answer.hits), start=1):
        score = min(_float32(hit.score), ceiling)
        ceiling = _next_below(score)
        doc_id = _without_spaces(hit.passage.doc_id)
        lines.append(f"{query_id} Q0 {doc_id} {rank} {score:.9g} {RUN_NAME}\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


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


def _without_spaces(name: str) -> str:
    """Return an id with its white space percent-encoded, which would split a TREC line."""
    return "".join(quote(sign) if sign.isspace() else sign for sign in name) or "%20"


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
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": _tsv,
    "trec": _trec,
    "md": _markdown,
    "paths": _paths,
}
