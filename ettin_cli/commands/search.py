"""`ettin search`: retrieve, rerank, print."""

import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from ettin_cli.calibration import Calibration, is_calibrated, load, not_calibrated
from ettin_cli.commands import options
from ettin_cli.commands.index import tell
from ettin_cli.console import Console
from ettin_cli.embedding import find_embedder, load_embedder, read_card
from ettin_cli.engines import EngineSettings
from ettin_cli.errors import CalibrationError, EttinError, IndexMismatchError, UsageError
from ettin_cli.export import format_for
from ettin_cli.hub import ModelFiles
from ettin_cli.index import Index
from ettin_cli.pipeline import BuildRequest, build_index, source_index
from ettin_cli.pipeline import search as search_index
from ettin_cli.queries import read_queries
from ettin_cli.ranking import SearchOptions
from ettin_cli.records import Answer, Hit, Query
from ettin_cli.reranking import find_reranker, load_reranker
from ettin_cli.settings import CANDIDATES, TOP_K


def search(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY [SOURCE]...",
            help="What to look for (- for a query a line on stdin), and where: files or folders.",
        ),
    ] = None,
    index: options.Index = None,
    reranker: options.Reranker = "auto",
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Hits to show.")] = TOP_K,
    candidates: Annotated[
        int, typer.Option("--candidates", "-c", min=1, help="Passages to score.")
    ] = CANDIDATES,
    by: Annotated[
        str, typer.Option(help="document: each counts once, by its best passage; or passage.")
    ] = "document",
    min_score: Annotated[float | None, typer.Option(help="Leave out hits below this.")] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Leave out hits less likely to be relevant; calibrated."),
    ] = None,
    blend: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the retrieval score in the final one.")
    ] = 0.0,
    filter: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="Only documents like this.")
    ] = None,
    path: Annotated[list[str] | None, typer.Option(help="Only files that fit this glob.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="File of queries: JSONL, TSV, or one a line.")
    ] = None,
    full_text: Annotated[
        bool, typer.Option("--full-text", help="Show whole passages in the table.")
    ] = False,
    open_: Annotated[
        bool, typer.Option("--open", help="Open the first hit in $VISUAL, $EDITOR or its program.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file.")] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format", "-f", help="auto, table, json, jsonl, csv, tsv, parquet, trec, md or paths."
        ),
    ] = "auto",
    exit_status: Annotated[
        bool, typer.Option("--exit-status", "-e", help="Exit with 4 if there is no hit.")
    ] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    batch_size: options.BatchSize = "auto",
    max_length: options.MaxLength = None,
    threads: options.Threads = None,
    trust_remote_code: options.TrustRemoteCode = False,
    offline: options.Offline = False,
    color: options.Color = "auto",
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Retrieve the best passages for a query, rerank them, and print the hits.

    With SOURCE an index of it is made or brought up to date in the cache first. Scores of an
    Ettin reranker are raw: they order well and are no probabilities.
    """
    console = options.console(color, quiet, verbose)
    engine = options.engine(device, dtype, batch_size, max_length, threads, trust_remote_code)
    wanted, sources = _arguments(query or [], queries)
    format = format_for(output, format)
    if by not in ("document", "passage"):
        raise UsageError(f"--by {by!r} is neither document nor passage")
    chosen = SearchOptions(
        top_k=top_k,
        candidates=candidates,
        by=cast(Literal["document", "passage"], by),
        min_score=min_score,
        min_probability=min_probability,
        blend=blend,
        filters=_filters(filter or []),
        paths=tuple(path or ()),
    )
    if min_probability is not None and reranker == "none":
        raise UsageError("--min-probability needs a reranker", hint="leave out -r none")
    rerank = None
    if reranker != "none":
        rerank = find_reranker(reranker, offline=offline, reporter=console)
    folder, rejected = _folder(sources, index, engine, offline, console)
    found = _run(Index(folder), wanted, rerank, chosen, engine, offline, console)
    tally = _Tally()
    console.answers(
        tally.watch(found),
        format=format,
        output=output,
        many=queries is not None or (query or [""])[0] == "-",
        full_text=full_text,
    )
    if open_:
        _open(tally.first)
    if exit_status and not tally.hits:
        raise typer.Exit(options.NO_HIT)
    if rejected:
        raise typer.Exit(options.REJECTED)


def _arguments(words: list[str], queries: Path | None) -> tuple[Iterable[Query], list[str]]:
    if queries is not None:
        return read_queries(queries), words
    if not words or not words[0].strip():
        raise UsageError(
            "empty QUERY" if words else "no QUERY", hint='ettin search "what to look for"'
        )
    if words[0] == "-":
        return read_queries(Path("-")), words[1:]
    return [Query("1", words[0])], words[1:]


def _filters(pairs: list[str]) -> dict[str, str]:
    filters = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"filter {pair!r} is not FIELD=VALUE")
        filters[name] = value
    return filters


def _folder(
    sources: list[str], index: Path | None, engine: EngineSettings, offline: bool, console: Console
) -> tuple[Path, bool]:
    """Return the index to search, and whether some of its sources were rejected just now."""
    if not sources:
        return options.find_index(index), False
    folder = index or source_index(sources, "auto")
    if folder.is_dir() and index is None:
        # `ettin cache` shows when an entry was last used.
        os.utime(folder)
    report = build_index(
        BuildRequest(folder=folder, add=sources, engine=engine, offline=offline), console
    )
    if report.written or report.rejections:
        tell(report, folder, console)
    return folder, bool(report.rejections)


def _run(
    index: Index,
    queries: Iterable[Query],
    rerank: ModelFiles | None,
    chosen: SearchOptions,
    engine: EngineSettings,
    offline: bool,
    console: Console,
) -> Iterator[Answer]:
    card = index.manifest.embedder
    files = find_embedder(card.name, offline=offline, reporter=console)
    if read_card(files).weights != card.weights:
        raise IndexMismatchError(
            f"{index.folder} was made by another version of {card.name}",
            hint=f"ettin index -i {index.folder} --rebuild",
        )
    needed = chosen.min_probability is not None
    if rerank and needed and not is_calibrated(index.folder, rerank):
        raise not_calibrated(index.folder, rerank)
    embedding = replace(engine, max_length=card.max_tokens)
    embedder = load_embedder(files, embedding, console)
    reranker = load_reranker(rerank, engine, console) if rerank else None
    if reranker:
        console.detail(f"reranking with {reranker.name} on {reranker.engine}")
    calibration = None
    if rerank and reranker:
        calibration = _calibration(index, rerank, reranker.max_tokens, needed, console)
    for answer in search_index(index, queries, embedder, reranker, chosen, console, calibration):
        yield replace(answer, hits=[_shown(hit) for hit in answer.hits])


def _calibration(
    index: Index, rerank: ModelFiles, max_tokens: int, needed: bool, console: Console
) -> Calibration | None:
    """Return the index's calibration for the reranker; None if it has none that can be used."""
    try:
        if needed or is_calibrated(index.folder, rerank):
            return load(index.folder, rerank, max_tokens)
    except CalibrationError as error:
        if needed:
            raise
        console.notice(f"hits have no probability: {error.problem}")
    return None


def _shown(hit: Hit) -> Hit:
    """Return a hit with its path relative to the working folder, when it lies below that."""
    path = hit.passage.path
    if path is None or not Path(path).is_relative_to(Path.cwd()):
        return hit
    shown = Path(path).relative_to(Path.cwd()).as_posix()
    return replace(hit, passage=replace(hit.passage, path=shown))


def _open(hit: Hit | None) -> None:
    """Open a hit in the user's editor, at its line, or in the program for its kind of file."""
    if hit is None or hit.passage.path is None:
        raise EttinError("there is no file to open", hint="--open needs a hit that has a path")
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not editor or hit.passage.start_line is None:
        typer.launch(hit.passage.path)
        return
    if Path(editor[0]).stem in ("code", "codium", "cursor"):
        place = ["--goto", f"{hit.passage.path}:{hit.passage.start_line}"]
    else:
        place = [f"+{hit.passage.start_line}", hit.passage.path]
    try:
        subprocess.run([*editor, *place], check=False)
    except OSError as error:
        raise EttinError(f"cannot run {editor[0]}: {error.strerror}", hint="set EDITOR") from error


class _Tally:
    """Counts hits as they pass, and keeps the first."""

    def __init__(self) -> None:
        self.hits = 0
        self.first: Hit | None = None

    def watch(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        for answer in answers:
            self.hits += len(answer.hits)
            if self.first is None and answer.hits:
                self.first = answer.hits[0]
            yield answer
