"""`ettin eval`: measure retrieval and reranking on judged queries."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.clusters import LOCAL
from ettin_cli.collections import OpenCollection
from ettin_cli.commands import options, unit_options as units
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.eval_collections import (
    collections_of,
    evaluate_suite,
    for_collection,
    refuse,
    use_given,
)
from ettin_cli.commands.help import listed
from ettin_cli.commands.sources import index_of
from ettin_cli.console import (
    EVAL_FORMATS,
    Console,
    ToJudge,
    judge as judge_documents,
    show_evaluation,
)
from ettin_cli.errors import UsageError
from ettin_cli.evaluation import (
    GIVEN_METRICS,
    REPORT,
    Evaluation,
    EvaluationRequest,
    Evaluator,
    Outcome,
    Results,
    measure_runs,
    named_rerankers,
    parse_metrics,
    pool,
    require_calibratable,
    with_documents,
    write_evaluation,
)
from ettin_cli.evaluation.report import ReliabilityPlot
from ettin_cli.files import (
    QRELS,
    QUERIES,
    beir_file,
    read_qrels,
    read_queries,
    without_spaces,
)
from ettin_cli.index import Index, find_index
from ettin_cli.platforms import command_line
from ettin_cli.records import Query
from ettin_cli.searching import SearchOptions
from ettin_cli.settings import AUTO, CANDIDATES, DOCUMENT, METRICS, SAME, TRUNCATE

JUDGED = "judged"
JUDGED_DEPTH = 10


@shared()
def evaluate(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="COLLECTION",
            help="A BEIR folder, with corpus.jsonl, queries and qrels; or nanobeir/NAME, beir/NAME "
            "or mteb/TASK, with :SPLIT for other judgements; or all of nanobeir or mteb.",
        ),
    ] = None,
    index: options.Index = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Queries, in any format of ettin search.")
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judgements, in TREC or BEIR format.")
    ] = None,
    retriever: Annotated[
        list[str] | None,
        typer.Option(metavar="HOW", help="As in search; repeat to compare several."),
    ] = None,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            "-r",
            metavar="MODEL",
            envvar="ETTIN_RERANKER",
            help="As in search; repeat to compare several.",
        ),
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(
            "--candidates",
            "-c",
            metavar="DEPTHS",
            help="Passages to rerank, as in 10,20,50; judged reranks the judged documents. By "
            f"default {CANDIDATES}, or for nanobeir its own candidates, without retrieval.",
        ),
    ] = None,
    blend: Annotated[
        str,
        typer.Option(
            metavar="SHARES",
            help="Shares of the retrieval score in the final score, as in 0,0.2,auto.",
        ),
    ] = AUTO,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Metrics, by their names in ir_measures; systems are compared by the first. By "
            f"default {METRICS}, or {GIVEN_METRICS} for nanobeir's own candidates.",
        ),
    ] = None,
    by: options.By = DOCUMENT,
    fold: options.Fold = SAME,
    expand: options.Expand = False,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Evaluate a run made by any tool; repeat to compare several."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Write per-query values, runs and report.html.",
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option("--format", "-f", metavar="FORMAT", help=f"{listed(EVAL_FORMATS)}."),
    ] = "auto",
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Fit probabilities for search --min-probability."),
    ] = False,
    judge: Annotated[
        bool,
        typer.Option("--judge", help="Judge the top documents of the systems, into --qrels."),
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
    """Evaluate on judged queries: does reranking help, and at which depth?

    Each row is one system. The gain is over the same retriever without reranking (or over the
    first --run), with a 95 % confidence interval and a p-value. Both are corrected for the number
    of rows, so the interval excludes 0 exactly if p is below 0.05. With several --retriever,
    another column has the gain over the first one. JSON and CSV have the gains of every metric.
    Scores are cached, so a repeated sweep is fast.

    Each system is a search. The run that -o writes for it is identical to that of ettin search
    --queries -f trec with the same options and -k K, where K is the deepest cutoff of --metrics,
    at least 10.

    --calibrate uses all hits of every --retriever at the greatest depth of --candidates. Hits
    without a judgement count as irrelevant, as in the metrics.

    --on ray answers units of the queries on the Ray cluster at RAY_ADDRESS, or on one that is
    started on this machine. It needs -o; the results are the same, but for the times.

    A collection by name is downloaded to the cache of the hub once. nanobeir is 13 of them and
    their means: the candidates, documents and figures of sentence-transformers' evaluator, or with
    --candidates those of retrieval. mteb is the retrieval of MTEB(eng, v2), 10 of them. Both have
    a row with the figures published for Ettin models.

    Examples:
      ettin eval BEIR-FOLDER -r 17m -r 32m --candidates 10,20,50,100 -o measured
      ettin eval BEIR-FOLDER -r none --retriever dense --retriever hybrid
      ettin eval -i INDEX --queries q.tsv --qrels qrels.txt --blend 0,0.2,0.5
      ettin eval nanobeir -r 17m -r 32m
      ettin eval mteb/ArguAna -r 32m --candidates 100
      ettin eval --run mine.trec --run yours.trec --qrels qrels.txt
      ettin eval -i INDEX --queries q.tsv --qrels mine.qrels --judge
    """
    console = context.console
    context = context.on_every_gpu(here=on == LOCAL)
    if format not in EVAL_FORMATS:
        raise UsageError(f"unsupported format {format!r}", hint=", ".join(EVAL_FORMATS))
    chosen = units.unit_options(
        *(on, workers, cpus_per_worker, gpus_per_worker, unit),
        *(None if output is None else str(output), units.QUERIES),
    )
    if run and (calibrate or judge or chosen):
        raise UsageError("--calibrate, --judge, --on and --unit cannot be combined with --run")
    _require_folder(output)
    named = [] if run else collections_of(folder, context.session)
    given = use_given(named, candidates)
    wanted = parse_metrics(metrics or (GIVEN_METRICS if given else METRICS))
    if run:
        asked = list(read_queries(options.stdin_or(queries))) if queries else []
        relevant = read_qrels(options.stdin_or(_given(qrels, "--qrels", folder, QRELS)))
        found = measure_runs(list(map(options.stdin_or, run)), relevant, wanted, asked)
        _show(console, found, format, output)
        return
    depths, shares = _depths(candidates or str(CANDIDATES)), _blends(blend)
    session = context.session
    names = reranker or ["auto"]
    models = named_rerankers(names, session.models)
    if calibrate:
        require_calibratable(models)
    searched = SearchOptions(by=by, fold=fold)
    request = EvaluationRequest(
        retriever or [AUTO], models, depths, shares, wanted, expand, long, searched, exact
    )
    if given or len(named) > 1:
        passed: list[tuple[str, object]] = [("--index", index), ("--queries", queries)]
        passed += [("--qrels", qrels), ("--calibrate", calibrate), ("--judge", judge)]
        passed += [("--on", on != LOCAL), ("--unit", unit)]
        if given:
            passed += [("--retriever", retriever), ("--blend", blend != AUTO)]
            passed += [("--expand", expand), ("--exact", exact)]
            passed += [("--by", by != DOCUMENT), ("--fold", fold != SAME)]
        refuse(dict(passed), named)
        evaluate_suite(str(folder), named, request, given, context, format, output)
        return
    one = named[0] if named else None
    request = for_collection(request, one)
    _check_units(chosen, queries, judge=judge)
    asked = _queries(queries, folder, one)
    own_qrels = one is not None and qrels is None and not judge
    judged_in = None if own_qrels else _given(qrels, "--qrels", folder, () if judge else QRELS)
    opened, rejected = (
        index_of([str(folder)], index, context) if folder else (Index(find_index(index)), False)
    )
    evaluator = Evaluator(opened, session.models, request)
    with ExitStack() as held:
        source = queries or folder or opened.folder
        results = _results(held, evaluator, names, source, output, chosen, console)
        if judge and judged_in:
            _judge(evaluator, asked, judged_in, console)
        else:
            relevant = _relevant(judged_in, one)
            name = str(folder or opened.folder)
            remarks = [one.origin] if one else []
            found, outcome = evaluator.measure(name, asked, relevant, remarks, results)
            show_evaluation(console, found, format)
            plots: list[ReliabilityPlot] = []
            try:
                plots += _calibrate(evaluator, outcome, console) if calibrate else []
            finally:
                if output:
                    _write(console, with_documents(found, opened), output, plots)
    if rejected:
        raise typer.Exit(options.REJECTED)


def _require_folder(output: Path | None) -> None:
    if output and output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file", hint="-o FOLDER")


def _check_units(chosen: units.UnitOptions | None, queries: Path | None, *, judge: bool) -> None:
    if chosen is None:
        return
    if queries:
        units.check_queries(queries)
    if judge:
        raise UsageError("--judge cannot be combined with --on and --unit")


def _results(
    held: ExitStack,
    evaluator: Evaluator,
    names: Sequence[str],
    queries: Path,
    output: Path | None,
    chosen: units.UnitOptions | None,
    console: Console,
) -> Results | None:
    """Return how the systems are run in units; None: without."""
    if chosen is None or output is None:
        how = "to resume, run the same command; scores so far are kept"
        held.enter_context(options.resumable(how, console))
        return None
    from ettin_cli.commands.eval_units import results_in_units

    return results_in_units(held, evaluator, names, queries, output, chosen, console)


def _calibrate(
    evaluator: Evaluator, outcome: Outcome, console: Console
) -> Iterator[ReliabilityPlot]:
    """Fit a map from scores to probabilities for each reranker, and save it with the index."""
    for one in evaluator.calibrate(outcome):
        found = one.calibration
        console.summary(
            f"{one.reranker} is calibrated on {found.basis}; {found.method}, log loss "
            f"{found.log_losses[found.method]:.3f}: {one.path}"
        )
        if found.doubt:
            console.notice(f"warning: {found.doubt}")
        bins = [(part.predicted, part.observed, part.count) for part in found.reliability]
        told = f"Fitted to {found.basis}."
        yield ReliabilityPlot(one.reranker, found.method, bins, found.log_losses, told)


def _judge(evaluator: Evaluator, queries: Sequence[Query], qrels: Path, console: Console) -> None:
    """Ask for judgements of the top documents of every system, in the terminal."""
    queries = [replace(one, query_id=without_spaces(one.query_id)) for one in queries]
    outcome = evaluator.run(queries, {})
    runs = [
        {query_id: [doc_id for doc_id, _ in found] for query_id, found in measured.run.items()}
        for measured in [outcome.baseline, *outcome.systems]
    ]
    texts = {query.query_id: query.text for query in queries}
    rows, index = outcome.rows, evaluator.index
    items = [
        _to_judge(index, query_id, texts[query_id], doc_id, rows[query_id][doc_id])
        for query_id, doc_ids in pool(runs, JUDGED_DEPTH).items()
        for doc_id in doc_ids
    ]
    judge_documents(
        items, qrels, console=console, resume_command=command_line(["ettin", *sys.argv[1:]])
    )


def _to_judge(index: Index, query_id: str, query: str, doc_id: str, row: int) -> ToJudge:
    import numpy as np

    [passage] = index.read(np.array([row]))
    place = passage.path or passage.doc_id
    return ToJudge(query_id, query, doc_id, passage.title, place, passage.text)


def _show(console: Console, found: Evaluation, format: str, output: Path | None) -> None:
    show_evaluation(console, found, format)
    if output:
        _write(console, found, output)


def _write(
    console: Console,
    found: Evaluation,
    output: Path,
    plots: Sequence[ReliabilityPlot] = (),
) -> None:
    write_evaluation(output, found, plots)
    console.summary(f"wrote {output / REPORT}, with the queries that changed most")


def _queries(path: Path | None, folder: Path | None, named: OpenCollection | None) -> list[Query]:
    if named and path is None:
        return named.queries
    return list(read_queries(options.stdin_or(_given(path, "--queries", folder, QUERIES))))


def _relevant(path: Path | None, named: OpenCollection | None) -> dict[str, dict[str, int]]:
    if named and path is None:
        return named.qrels
    assert path is not None
    return read_qrels(options.stdin_or(path))


def _given(path: Path | None, option: str, folder: Path | None, names: Sequence[str] = ()) -> Path:
    """Return the file passed with an option, or else the one in a BEIR folder."""
    if path is None and folder is not None and names:
        return beir_file(folder, names)
    if path is None:
        raise UsageError(
            f"missing {option}", hint="ettin eval BEIR-FOLDER, or -i INDEX with both files"
        )
    return path


def _depths(text: str) -> list[int]:
    """Return the depths in ascending order; an empty list stands for the judged documents."""
    if text == JUDGED:
        return []
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise UsageError(
            f"--candidates {text!r} is neither a list of depths nor {JUDGED}", hint="10,20,50"
        )
    return sorted({int(word) for word in words})


def _blends(text: str) -> list[float | str]:
    try:
        return [options.blend_of(word.strip()) for word in text.split(",")]
    except UsageError:
        problem = f"--blend {text!r} is not a list of shares from 0 to 1 or {AUTO}"
        raise UsageError(problem, hint="0,0.2,0.5") from None
