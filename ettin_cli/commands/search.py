"""`ettin search`: retrieve candidates, rerank them, print the hits."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.clusters import LOCAL
from ettin_cli.commands import options, output_options as writing, unit_options as units
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.open_hit import open_hit
from ettin_cli.commands.search_input import as_asked, asked_queries, read_whole
from ettin_cli.commands.search_output import write_search
from ettin_cli.commands.search_summary import AnswerCounts, remarks
from ettin_cli.errors import UsageError
from ettin_cli.files import ResumableOutput
from ettin_cli.index import Index, find_index
from ettin_cli.models.engines import EngineSettings
from ettin_cli.models.rerankers import require_long
from ettin_cli.platforms import path_glob
from ettin_cli.searching import (
    RerankerCascade,
    SearchOptions,
    parsed,
    require_no_scores,
    require_retriever,
)
from ettin_cli.searching.calibration import calibration_checksum
from ettin_cli.settings import AUTO, CANDIDATES, DOCUMENT, SAME, TOP_K, TRUNCATE


@shared()
def search(
    query: Annotated[
        str | None,
        typer.Argument(help="What to look for; - reads one query per line from stdin."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders and public collections by name, to search instead of INDEX."
        ),
    ] = None,
    index: options.Index = None,
    reranker: options.Reranker = "auto",
    retriever: options.RetrieverName = AUTO,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", metavar="N", min=1, help="Hits to show.")
    ] = TOP_K,
    candidates: Annotated[
        int, typer.Option("--candidates", "-c", metavar="N", min=1, help="Passages to retrieve.")
    ] = CANDIDATES,
    by: options.By = DOCUMENT,
    min_score: Annotated[
        float | None, typer.Option(metavar="X", help="Drop hits that score below X.")
    ] = None,
    min_probability: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=1,
            help="Drop hits with a probability below P; see ettin eval --calibrate.",
        ),
    ] = None,
    blend: Annotated[
        str,
        typer.Option(
            metavar="W",
            help="Share of the retrieval score in the final score, from 0 to 1; auto: the best "
            "measured for the reranker.",
        ),
    ] = AUTO,
    filter: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="Search only documents with this metadata."),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Search only files whose path below SOURCE matches."),
    ] = None,
    fold: options.Fold = SAME,
    expand: options.Expand = False,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Read queries from a file, without QUERY: JSONL with _id and text, CSV or TSV "
            "with a header, id TAB text, TREC topics, or one per line.",
        ),
    ] = None,
    full_text: Annotated[
        bool, typer.Option("--full-text", help="Show full passages in the table.")
    ] = False,
    open_: Annotated[
        bool,
        typer.Option(
            "--open", help="Open the first hit in $VISUAL, $EDITOR or the default program."
        ),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to a file, which appears once complete; with a slash at the end, to a "
            "folder of parts.",
        ),
    ] = None,
    resume: writing.Resume = False,
    format: writing.Format = "auto",
    tag: writing.Tag = None,
    exit_status: Annotated[
        bool, typer.Option("--exit-status", "-e", help="Exit with 4 if there are no hits.")
    ] = False,
    long: options.Long = TRUNCATE,
    exact: options.Exact = False,
    on: units.On = LOCAL,
    workers: units.Workers = None,
    cpus_per_worker: units.CpusPerWorker = None,
    gpus_per_worker: units.GpusPerWorker = None,
    unit: units.UnitQueries = None,
    *,
    context: Context,
) -> None:
    """Retrieve passages for a query, rerank them, print the best.

    INDEX defaults to `.ettin` in the current folder or a parent. With SOURCE, an index is built or
    updated in the cache first, with the embedder in ETTIN_EMBEDDER. Scores of an Ettin reranker
    are raw logits: use them for ranking, not as probabilities.

    QUERY can have requirements:
      "a phrase"     the phrase must occur
      -word          the word must not occur; also -"word"
      field:value    value must occur in this metadata field, or in title
      -field:value   value must not occur there

    field:value is text if no document has the field, and -word if it may be an option of a
    command: a single letter, after a command such as git, or written so in a document. In
    quotes, as in -"word", it never is.

    Queries from a file or stdin, and QUERY with --retriever dense or multi-vector, are taken
    literally.

    --on ray answers units of a file of queries on the Ray cluster at RAY_ADDRESS, or on one that
    is started on this machine; the output has the same bytes, but for the times in JSON.

    Examples:
      ettin search "can I bring my dog" docs          # search a folder
      ettin search "can I bring my dog" -k 3 --path "*.md"
      ettin search --queries queries.tsv -r 32m -o run.trec
      ettin search "can I bring my dog" -r embedded:50,150m
    """
    console = context.console
    chosen_units = units.unit_options(
        *(on, workers, cpus_per_worker, gpus_per_worker, unit, output, units.QUERIES)
    )
    target = units.output_path(output)
    in_folder = bool(chosen_units and chosen_units.in_folder)
    wanted, sources = asked_queries(query, source or [], queries)
    format = writing.answer_format(format, target, console, in_folder=in_folder)
    tag = writing.run_tag(tag, format)
    _check_units(chosen_units, queries, opened=open_)
    writing.check_resume(target, resume=resume and chosen_units is None)
    _check_output(target, queries, sources, resume=resume, exit_status=exit_status)
    require_retriever(retriever)
    chosen = SearchOptions(
        top_k=top_k,
        candidates=candidates,
        by=by,
        min_score=min_score,
        min_probability=min_probability,
        blend=options.blend_of(blend),
        filters=_filters(filter or []),
        paths=tuple(map(path_glob, path or [])),
        fold=fold,
    )
    require_long(long, reranked=reranker != "none")
    if reranker == "none":
        require_no_scores(chosen)
    session, rejected = context.session, False
    opened = None if sources else Index(find_index(index))
    rerankers = session.find_rerankers(reranker)
    if opened is None:
        # Only here, since it reads every format of documents.
        from ettin_cli.commands.sources import index_of

        opened, rejected = index_of(sources, index, context)
    typed = query if queries is None and query != "-" else None
    if typed:
        asked, chosen = parsed(typed, chosen, retriever, opened)
        wanted = [asked]
    searcher = session.searcher(
        opened, rerankers, retriever=retriever, expand=expand, long=long, exact=exact
    )
    run = partial(searcher.search_many, options=chosen)
    found, refresh = AnswerCounts(), options.refresh(opened.folder)
    resumed = False
    key = partial(_key, opened, rerankers, context.settings)
    job = (retriever, expand, chosen, long, exact, format, tag)
    if chosen_units:
        assert queries is not None
        assert target is not None
        from ettin_cli.commands.search_units import SearchFiles, search_in_units

        files = SearchFiles(queries, target, format, tag, key(job), resume)
        found = search_in_units(
            searcher, wanted, reranker, chosen, files, chosen_units, console, refresh
        )
    elif queries is not None and writing.appears_complete(target):
        file = ResumableOutput(target, format, key(job), text=True, resume=resume, tag=tag)
        resumed = write_search(run, list(wanted), file, found, refresh, console)
    else:
        console.answers(
            found.watch(as_asked(run(read_whole(wanted, queries)), typed)),
            format=format,
            output=target,
            many=queries is not None or query == "-",
            full_text=full_text,
            tag=tag,
            refresh=refresh,
        )
    for notice in () if resumed else remarks(found, opened, retriever, chosen):
        console.notice(notice)
    if open_:
        open_hit(*(found.first or (None, None)))
    if exit_status and not found.hits:
        raise typer.Exit(options.NO_HIT)
    if rejected:
        raise typer.Exit(options.REJECTED)


def _check_output(
    output: Path | None,
    queries: Path | None,
    sources: list[str],
    *,
    resume: bool,
    exit_status: bool,
) -> None:
    if resume and queries is None:
        raise UsageError("--resume needs --queries", hint="--queries FILE -o run.trec")
    if resume and exit_status:
        raise UsageError("-e cannot be combined with --resume", hint="leave out -e")
    writing.check_apart(output, [queries, *sources])


def _check_units(chosen: units.UnitOptions | None, queries: Path | None, *, opened: bool) -> None:
    if chosen is None:
        return
    units.check_queries(queries)
    if opened:
        raise UsageError("--open cannot be combined with --on ray, --unit or a folder of parts")


def _key(
    index: Index, rerank: RerankerCascade | None, engine: EngineSettings, job: tuple[object, ...]
) -> str:
    """Return a hash of everything but the queries that determines the output."""
    kept = [keep for _, keep in rerank.before] if rerank else []
    # Paths in the answers are relative to the working folder.
    here = (str(index.generation.resolve()), str(Path.cwd()))
    every = rerank.every if rerank else []
    calibrated = [calibration_checksum(index.folder, one) for one in every]
    return writing.fingerprint(every, engine, kept, calibrated, here, *job)


def _filters(pairs: list[str]) -> tuple[tuple[str, str], ...]:
    filters = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"filter {pair!r} is not FIELD=VALUE")
        filters.append((name, value))
    return tuple(filters)
