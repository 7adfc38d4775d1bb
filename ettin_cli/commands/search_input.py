"""The input of `ettin search`: queries and sources."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ettin_cli.collections import is_collection_name
from ettin_cli.commands import options
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.files import read_queries
from ettin_cli.platforms import exists, expanded
from ettin_cli.records import Answer, Query
from ettin_cli.searching import as_typed


def asked_queries(
    query: str | None, sources: list[str], queries: Path | None
) -> tuple[Iterable[Query], list[str]]:
    """Return the queries and the sources; with `--queries`, every argument is a source.

    Raises:
        CorpusError: A file does not exist.
        UsageError: The query is missing, or stdin is used twice.
    """
    if queries is not None and query is not None:
        sources = [query, *sources]
    sources = list(expanded(sources))
    hint = "put a QUERY of several words in quotes"
    if queries is not None:
        hint = "with --queries, every argument is a SOURCE"
    for source in sources:
        if source != "-" and not exists(Path(source)) and not is_collection_name(source):
            raise CorpusError(f"cannot open {source}: no such file", hint=hint)
    from_stdin = str(queries) if queries is not None else query
    if [from_stdin, *sources].count("-") > 1:
        raise UsageError("stdin can be read only once", hint="pass one of the two as a file")
    if queries is not None:
        if from_stdin != "-" and not exists(queries):
            raise CorpusError(
                f"no such file: {queries}", hint="--queries takes a file, or - for stdin"
            )
        return read_queries(options.stdin_or(queries)), sources
    if query is None or not query.strip():
        raise UsageError(
            "missing QUERY" if query is None else "empty QUERY",
            hint='ettin search "what to look for"',
        )
    if query == "-":
        return read_queries(options.stdin()), sources
    return [Query("1", options.utf8(query, "QUERY"))], sources


def read_whole(wanted: Iterable[Query], file: Path | None) -> Iterable[Query]:
    """Return the queries of a file as a list, so that more than a window are known.

    Those of a pipe are answered while it is read.
    """
    return list(wanted) if file is not None and file.is_file() else wanted


def as_asked(answers: Iterable[Answer], query: str | None) -> Iterator[Answer]:
    """Yield answers with the query as it was typed, including its syntax."""
    for answer in answers:
        yield answer if query is None else as_typed(answer, query)
