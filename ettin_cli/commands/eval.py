"""`ettin eval`: measure retrieval and reranking on judged queries."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.calibration import Calibration, fit, save
from ettin_cli.commands import options
from ettin_cli.commands.help import listed
from ettin_cli.commands.indexes import embedder_of, index_of, require_retrievers, retriever_of
from ettin_cli.console import Console
from ettin_cli.console.judging import judge as judge_documents
from ettin_cli.console.measured import FORMATS, show_evaluation
from ettin_cli.console.sheet import ToJudge
from ettin_cli.duplicates import SAME
from ettin_cli.engines import EngineSettings
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.evaluation.files import REPORT, write_evaluation
from ettin_cli.evaluation.measuring import (
    evaluation_of,
    judged_queries,
    measure_runs,
    with_documents,
)
from ettin_cli.evaluation.pooling import pool
from ettin_cli.evaluation.report import ReliabilityPlot
from ettin_cli.evaluation.results import Evaluation
from ettin_cli.evaluation.sweep import Labelled, Outcome, Sweep, run_sweep
from ettin_cli.index import Index
from ettin_cli.loading import Loaded
from ettin_cli.metrics import parse_metrics
from ettin_cli.pipeline import AUTO, Retriever
from ettin_cli.pipeline.cascade import Step, cascade_name
from ettin_cli.pipeline.rerankers import FoundRerankers, cached_reranker, find_rerankers
from ettin_cli.queries import read_queries
from ettin_cli.ranking import DOCUMENT, SearchOptions
from ettin_cli.records import Qrels, Query, TimedReranker
from ettin_cli.resolved import ResolvedReranker
from ettin_cli.settings import CANDIDATES, ETTIN_MODELS, MAX, TRUNCATE
from ettin_cli.trec import read_qrels, without_spaces

Before = dict[str, list[Step[TimedReranker]]]

METRICS = "nDCG@10,RR@10,R@100"
JUDGED = "judged"
JUDGED_DEPTH = 10
QUERIES = ("queries.jsonl", "queries.tsv")
QRELS = ("qrels.tsv", "qrels/test.tsv")


def evaluate(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="BEIR-FOLDER", help="Has corpus.jsonl, queries and qrels."),
    ] = None,
    index: options.Index = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The queries, in any form of ettin search.")
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judgements, in TREC or BEIR form.")
    ] = None,
    retriever: Annotated[
        list[str] | None,
        typer.Option(metavar="HOW", help="As in search; several are compared."),
    ] = None,
    reranker: Annotated[
        list[str] | None,
        typer.Option(
            "--reranker",
            "-r",
            metavar="MODEL",
            envvar="ETTIN_RERANKER",
            help="As in search; several are compared.",
        ),
    ] = None,
    candidates: Annotated[
        str,
        typer.Option("--candidates", "-c", metavar="DEPTHS", help="As in 10,20,50; or judged."),
    ] = str(CANDIDATES),
    blend: Annotated[
        str, typer.Option(metavar="SHARES", help="Of the retrieval score, as in 0,0.2,0.5.")
    ] = "0",
    metrics: Annotated[
        str,
        typer.Option(metavar="NAMES", help="As in ir_measures; systems are compared by the first."),
    ] = METRICS,
    by: options.By = DOCUMENT,
    fold: options.Fold = SAME,
    expand: options.Expand = False,
    run: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Measure a run made by any tool; several are compared."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Write values by query, runs and report.html.",
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option("--format", "-f", metavar="FORMAT", help=f"{listed(FORMATS)}."),
    ] = "auto",
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Learn probabilities for search --min-probability."),
    ] = False,
    judge: Annotated[
        bool, typer.Option("--judge", help="Judge what the systems found, into --qrels.")
    ] = False,
    long: options.Long = TRUNCATE,
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
    """Measure on judged queries: does reranking help, and how deep?

    Prints one row per system. The gain is over the same retriever without reranking (or over the
    first --run), with a 95 % interval and a p. Both are corrected together for the number of rows:
    the interval excludes 0 exactly where p is below 0.05. With several --retriever, a column of
    its own has the gain over the first one. json and csv have the gains of every metric. Scores
    are cached, so the same sweep is fast the next time.

    A system is a search: the run that -o writes for it is that of ettin search --queries -f trec
    with the same options and -k K, where K is the deepest cutoff of --metrics, at least 10.

    --calibrate learns from all hits of the deepest --candidates, of every --retriever. Hits
    without a judgement count as irrelevant there, as they do in the metrics.

    Examples:
      ettin eval BEIR-FOLDER -r 17m -r 32m --candidates 10,20,50,100 -o measured
      ettin eval BEIR-FOLDER -r none --retriever dense --retriever hybrid
      ettin eval -i INDEX --queries q.tsv --qrels qrels.txt --blend 0,0.2,0.5
      ettin eval --run mine.trec --run yours.trec --qrels qrels.txt
      ettin eval -i INDEX --queries q.tsv --qrels mine.qrels --judge
    """
    console = options.console(color, quiet, verbose)
    engine = options.engine(device, dtype, batch_size, max_length, threads, trust_remote_code)
    options.check_long(long)
    if format not in FORMATS:
        raise UsageError(f"no format {format!r} here", hint=", ".join(FORMATS))
    wanted = parse_metrics(metrics)
    if run and (calibrate or judge):
        raise UsageError("a run made elsewhere can be measured, not calibrated or judged")
    if run:
        asked = list(read_queries(options.stdin_or(queries))) if queries else []
        judged = read_qrels(options.stdin_or(given(qrels, "--qrels", folder, QRELS)))
        found = measure_runs([options.stdin_or(one) for one in run], judged, wanted, asked)
        show_evaluation(console, found, format)
        if output:
            _write(console, found, output)
        return
    depths, shares = _depths(candidates), _blends(blend)
    searched = SearchOptions(by=by, fold=fold)
    require_retrievers(retriever or ())
    models = _models(reranker or ["auto"], offline, console)
    _check(models, long, calibrate=calibrate)
    asked = list(read_queries(options.stdin_or(given(queries, "--queries", folder, QUERIES))))
    judged_in = given(qrels, "--qrels", folder, () if judge else QRELS)
    loaded = Loaded()
    opened, rejected = (
        index_of([str(folder)], index, engine, offline, console, loaded)
        if folder
        else (Index(options.find_index(index)), False)
    )
    job = _Job(console, engine, loaded, models, long, opened)
    retrievers = job.retrievers(retriever or [AUTO], offline, expand=expand)
    rerankers, before = job.rerankers()
    sweep = Sweep(retrievers, rerankers, depths, shares, wanted, before, searched)
    with options.goes_on("the same command goes on; what was scored is kept", console):
        if judge:
            job.judge(asked, sweep, judged_in)
        else:
            found, outcome = job.measure(
                str(folder or opened.folder), asked, read_qrels(options.stdin_or(judged_in)), sweep
            )
            show_evaluation(console, found, format)
            plots: list[ReliabilityPlot] = []
            try:
                plots += (
                    job.calibrate(outcome, list(retrievers) if depths else []) if calibrate else []
                )
            finally:
                if output:
                    _write(console, with_documents(found, job.index), output, plots)
    if rejected:
        raise typer.Exit(options.REJECTED)


def _check(models: Mapping[str, FoundRerankers], long: str, *, calibrate: bool) -> None:
    """Make sure that there are the rerankers that options need."""
    for option, asked in (("--calibrate", calibrate), ("--long max", long == MAX)):
        if asked and not models:
            raise UsageError(f"{option} needs a reranker", hint="leave out -r none")
    if calibrate and (several := [name for name, found in models.items() if found.before]):
        raise UsageError(
            f"--calibrate learns from one reranker's own candidates, not from {several[0]}",
            hint="name rerankers one by one",
        )


class _Job:
    """An index, and the rerankers that are tried on it."""

    def __init__(
        self,
        console: Console,
        engine: EngineSettings,
        loaded: Loaded,
        models: Mapping[str, FoundRerankers],
        long: str,
        index: Index,
    ) -> None:
        self.console, self.engine, self.models, self.index = console, engine, models, index
        self.long, self.loaded = long, loaded
        self.tried: dict[str, TimedReranker] = {}
        self.known: dict[str, TimedReranker] = {}

    def retrievers(
        self, names: Sequence[str], offline: bool, *, expand: bool
    ) -> dict[str, Retriever]:
        """Return the retrievers by their names, each plain and, if asked for, expanding too."""
        # Loaded once, for all of them.
        model = self.engine, offline, self.console, self.loaded
        embedder = cache(partial(embedder_of, self.index, *model))
        found = [
            retriever_of(name, self.index, embedder, self.console, expand=more)
            for name in names
            for more in ((False, True) if expand else (False,))
        ]
        return {one.name: one for one in found}

    def rerankers(self) -> tuple[dict[str, TimedReranker], Before]:
        """Return the rerankers by their names, and those before them."""
        before: Before = {}
        for name, found in self.models.items():
            before[name] = [Step(self._reranker(one), keep) for one, keep in found.before]
            self.tried[name] = self._reranker(found.last)
        return self.tried, before

    def _reranker(self, found: ResolvedReranker) -> TimedReranker:
        """Return a reranker that is loaded, once, when a pair has no score yet."""
        if found.name not in self.known:
            self.known[found.name] = cached_reranker(
                found, self.engine, self.long, self.console, self.loaded
            )
        return self.known[found.name]

    def measure(
        self, name: str, queries: Sequence[Query], qrels: Qrels, sweep: Sweep
    ) -> tuple[Evaluation, Outcome]:
        """Answer the judged queries with every system, and compare."""
        judged, kept, notes = judged_queries(queries, qrels)
        if self.long == MAX:
            notes.append("texts too long for a reranker are scored by the best of their windows")
        outcome = run_sweep(self.index, judged, kept, sweep, self.console)
        return evaluation_of(name, outcome, judged, kept, sweep, notes), outcome

    def calibrate(self, outcome: Outcome, retrievers: Sequence[str]) -> list[ReliabilityPlot]:
        """Learn a map from scores to probabilities for each reranker, and keep it by the index."""
        plots = []
        for name, labelled in outcome.labelled.items():
            found = _fitted(labelled, retrievers)
            tokens = self.tried[name].card.max_tokens
            path = save(self.index.folder, self.models[name].last, tokens, found, long=self.long)
            self.console.summary(
                f"{name} is calibrated by {found.basis}; {found.method}, log loss "
                f"{found.log_losses[found.method]:.3f}: {path}"
            )
            if found.doubt:
                self.console.notice(f"warning: {found.doubt}")
            bins = [(one.predicted, one.observed, one.count) for one in found.reliability]
            told = f"Learnt from {found.basis}."
            plots.append(ReliabilityPlot(name, found.method, bins, found.log_losses, told))
        return plots

    def judge(self, queries: Sequence[Query], sweep: Sweep, qrels: Path) -> None:
        """Have the best documents of every system judged in the terminal."""
        queries = [replace(one, query_id=without_spaces(one.query_id)) for one in queries]
        outcome = run_sweep(self.index, queries, {}, sweep, self.console)
        runs = [
            {query_id: [doc_id for doc_id, _ in found] for query_id, found in measured.run.items()}
            for measured in [outcome.baseline, *outcome.systems]
        ]
        pooled = pool(runs, JUDGED_DEPTH)
        texts = {query.query_id: query.text for query in queries}
        items = [
            self._to_judge(query_id, texts[query_id], doc_id, outcome.rows[query_id][doc_id])
            for query_id, doc_ids in pooled.items()
            for doc_id in doc_ids
        ]
        judge_documents(
            items, qrels, console=self.console, go_on=shlex.join(["ettin", *sys.argv[1:]])
        )

    def _to_judge(self, query_id: str, query: str, doc_id: str, row: int) -> ToJudge:
        import numpy as np

        [passage] = self.index.read(np.array([row]))
        place = passage.path or passage.doc_id
        return ToJudge(query_id, query, doc_id, passage.title, place, passage.text)


def _fitted(labelled: Sequence[Labelled], retrievers: Sequence[str]) -> Calibration:
    import numpy as np

    scores = np.array([one.score for one in labelled], np.float32)
    relevant = np.array([one.relevant for one in labelled], np.bool_)
    return fit(
        scores,
        relevant,
        [one.query_id for one in labelled],
        judged=sum(one.judged for one in labelled),
        retrievers=retrievers,
    )


def _write(
    console: Console,
    found: Evaluation,
    output: Path,
    plots: Sequence[ReliabilityPlot] = (),
) -> None:
    write_evaluation(output, found, plots)
    console.summary(f"{output / REPORT} shows it, with the queries that changed most")


def given(path: Path | None, option: str, folder: Path | None, names: Sequence[str] = ()) -> Path:
    """Return the file that an option names, else the one that a BEIR folder has."""
    if path is None and folder is not None:
        if not folder.is_dir():
            raise CorpusError(f"there is no folder {folder}")
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None and names:
            raise CorpusError(f"{folder} has no {names[0]}", hint=f"name the file with {option}")
    if path is None:
        raise UsageError(f"no {option}", hint="ettin eval BEIR-FOLDER, or -i INDEX with both files")
    return path


def _models(names: Sequence[str], offline: bool, console: Console) -> dict[str, FoundRerankers]:
    """Return the models by short names; `none` is always measured and needs no model."""
    wanted = [name for name in dict.fromkeys(names) if name != "none"]
    found = [find_rerankers(name, offline=offline, reporter=console) for name in wanted]
    return {_short(one): one for one in found}


def _short(found: FoundRerankers) -> str:
    aliases = {model.hub_id: model.alias for model in ETTIN_MODELS.values()}
    *before, last = [aliases.get(one.name, one.name) for one in found.every]
    keeps = [keep for _, keep in found.before]
    return cascade_name(zip(before, keeps, strict=True), last)


def _depths(text: str) -> list[int]:
    """Return the depths, smallest first; none stands for the judged documents."""
    if text == JUDGED:
        return []
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise UsageError(f"--candidates {text!r} is neither depths nor {JUDGED}", hint="10,20,50")
    return sorted({int(word) for word in words})


def _blends(text: str) -> list[float]:
    try:
        shares = sorted({float(word) for word in text.split(",")})
    except ValueError:
        shares = []
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise UsageError(f"--blend {text!r} is not shares from 0 to 1", hint="0,0.2,0.5")
    return shares
