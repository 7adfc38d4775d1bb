"""`ettin mine`: hard negatives for training, mined from an index."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.clusters import LOCAL
from ettin_cli.commands import options, unit_options as units
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.jsonl import check_jsonl, write_jsonl
from ettin_cli.commands.mined_rows import MinedRows
from ettin_cli.commands.output_options import check_apart
from ettin_cli.commands.sources import index_of
from ettin_cli.console import Console
from ettin_cli.corpus import RecordError
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.files import read_qrels, read_queries
from ettin_cli.files.requests import Example, read_rows, rejection
from ettin_cli.index import Index, find_index
from ettin_cli.records import Qrels, Query, Rejection
from ettin_cli.searching import require_retriever
from ettin_cli.settings import AUTO, CANDIDATES, NEGATIVES, PROBED_ROWS
from ettin_cli.training import MiningOptions, example_with_positive

# The split that is mined of a public collection: the others are to evaluate on.
TRAIN = "train"
_HINT = "ettin mine beir/NAME, or ettin mine -i INDEX --queries FILE --qrels FILE"


@shared()
def mine(
    collection: Annotated[
        str | None,
        typer.Argument(
            metavar="COLLECTION",
            help="A public collection by name, as in beir/fiqa: its split train, or with :SPLIT "
            "another.",
        ),
    ] = None,
    index: options.Index = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rows with query and positive; with --qrels, queries as in ettin search.",
        ),
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Judgements that define the positives, in TREC or BEIR format."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write JSONL here, not to stdout; with a slash at the end, to a folder of parts.",
        ),
    ] = None,
    retriever: options.RetrieverName = AUTO,
    negatives: Annotated[
        int, typer.Option(metavar="N", min=1, help="Maximum negatives per query.")
    ] = NEGATIVES,
    candidates: Annotated[
        int, typer.Option("--candidates", "-c", metavar="N", min=1, help="Passages to retrieve.")
    ] = CANDIDATES,
    skip_top: Annotated[
        int, typer.Option(metavar="N", min=0, help="Skip the top N passages that are not positive.")
    ] = 0,
    max_score_ratio: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            min=0,
            max=1,
            help="Maximum score of a negative, as a share of the query's lowest positive.",
        ),
    ] = None,
    reranker: Annotated[
        str | None,
        typer.Option(
            "--reranker",
            "-r",
            metavar="MODEL",
            help="Apply --max-score-ratio to the scores of this reranker, not of retrieval; MODEL "
            "as in search.",
        ),
    ] = None,
    on: units.On = LOCAL,
    workers: units.Workers = None,
    cpus_per_worker: units.CpusPerWorker = None,
    gpus_per_worker: units.GpusPerWorker = None,
    unit: units.UnitQueries = None,
    *,
    context: Context,
) -> None:
    """Mine hard negatives: passages that rank high but are not positive.

    Each query becomes one row: query_id, query, positive and negatives (lists of texts), and
    negative_ids. The hardest negatives come first. Positives are the best passages of the
    documents judged relevant in --qrels, or the texts of the rows; rows of the same query are
    merged. A passage that contains a positive, or is contained in one, is never a negative.
    --max-score-ratio drops negatives that score too close to the query's lowest positive. If too
    few are left, raise -c.

    With COLLECTION, the documents, queries and judgements are downloaded to the cache of the hub.

    --on ray mines units of the queries on the Ray cluster at RAY_ADDRESS, or on one that is started
    on this machine; the output has the same bytes.

    Examples:
      ettin mine beir/fiqa -o mined.jsonl
      ettin mine -i INDEX --queries q.jsonl --qrels qrels.tsv -o mined.jsonl
      ettin mine -i INDEX --queries pairs.jsonl --max-score-ratio 0.95 -o m.jsonl
      ettin score --pairs mined.jsonl -r 150m -o scored.jsonl
    """
    console = context.console
    require_retriever(retriever)
    chosen_units = units.unit_options(
        *(on, workers, cpus_per_worker, gpus_per_worker, unit, output, units.QUERIES)
    )
    target = units.output_path(output)
    if chosen_units is None or not chosen_units.in_folder:
        check_jsonl(target, "mined.jsonl")
    chosen = MiningOptions(negatives, candidates, skip_top, max_score_ratio)
    chosen.require_margin(reranker)
    if collection is not None:
        if queries or qrels:
            raise UsageError(f"{collection} has queries and judgements of its own", hint=_HINT)
        sought = _of_collection(collection, index, context)
    else:
        sought = _of_files(index, queries, qrels, target, chosen_units, console)
    chosen = replace(chosen, ignores_own=sought.ignores_own)
    mined = MinedRows(negatives)
    if chosen_units:
        assert target is not None
        from ettin_cli.commands.mine_units import MineUnits, mine_in_units

        opened = Index(find_index(sought.index))
        job = MineUnits.of(opened, context.session.models, retriever, reranker, chosen)
        work = (job, sought.queries, sought.qrels, opened, sought.source, target)
        mined.add(mine_in_units(*work, chosen_units, console))
    else:
        found = context.session.mine(
            *(sought.index, sought.queries, sought.qrels),
            retriever=retriever,
            negatives=negatives,
            candidates=candidates,
            skip_top=skip_top,
            max_score_ratio=max_score_ratio,
            reranker=reranker,
            ignores_own=sought.ignores_own,
        )
        write_jsonl(mined.rows(found), target)
    mined.tell(console, judged=sought.qrels is not None, margin=max_score_ratio is not None)
    if sought.rejected():
        raise typer.Exit(options.REJECTED)


@dataclass(frozen=True, slots=True)
class _Sought:
    """The queries to mine for.

    Args:
        index: The folder of the index; None: the default index.
        qrels: None: the queries are rows with their positives.
        source: The file or the collection of the queries.
        rejected: Returns whether any row or document was rejected, once all are read.
    """

    index: Path | None
    queries: Iterable[Query | Example]
    qrels: Qrels | None
    source: Path
    rejected: Callable[[], bool]
    ignores_own: bool = False


def _of_files(
    index: Path | None,
    queries: Path | None,
    qrels: Path | None,
    output: Path | None,
    chosen: units.UnitOptions | None,
    console: Console,
) -> _Sought:
    """Check the files before anything is loaded, and return what is in them."""
    queries = _checked(queries, "--queries")
    if chosen:
        units.check_queries(queries)
    if qrels is not None and str(qrels) == str(queries) == options.STDIN:
        raise UsageError("stdin can be read only once", hint="pass one of the two as a file")
    check_apart(output, (queries, qrels))
    if qrels is None:
        rows = _Rows(queries, console)
        return _Sought(index, rows, None, queries, lambda: bool(rows.rejected))
    judged = read_qrels(options.stdin_or(_checked(qrels, "--qrels")))
    asked = read_queries(options.stdin_or(queries))
    return _Sought(index, asked, judged, queries, lambda: False)


def _of_collection(name: str, index: Path | None, context: Context) -> _Sought:
    """Return the queries of a public collection, whose documents are indexed."""
    found = context.session.collection(name, split=TRAIN)
    if found is None:
        raise UsageError(f"{name} is not a public collection", hint=_HINT)
    context.console.notice(found.origin)
    opened, rejected = index_of(list(map(str, found.corpus)), index, context)
    with opened:
        folder = opened.folder
    own = found.collection.ignores_own
    return _Sought(folder, found.queries, found.qrels, Path(name), lambda: rejected, own)


def _checked(path: Path | None, option: str) -> Path:
    if path is None:
        raise UsageError(f"missing {option}", hint=_HINT)
    options.check_file(path)
    return path


class _Rows:
    """The rows of a file that have a query and a positive; others are reported and counted."""

    def __init__(self, path: Path, console: Console) -> None:
        self.path, self.console = path, console
        self.rejected = 0

    def __iter__(self) -> Iterator[Example]:
        """Yield the rows as they are read.

        Raises:
            CorpusError: The file cannot be read, or has no such rows.
        """
        # Rejections are reported once there is a valid row; without one, the first is the error.
        waiting: list[Rejection] = []
        valid = False
        for row in read_rows(options.stdin_or(self.path), "queries and their positives"):
            try:
                found = example_with_positive(row[0])
                valid = True
                reasons = [RecordError(reason) for reason in found.reasons]
            except RecordError as error:
                found, reasons = None, [error]
            waiting += [rejection(str(self.path), row, reason) for reason in reasons]
            if valid:
                self._report(waiting)
            elif len(waiting) == PROBED_ROWS:
                break
            if found:
                yield found
        if not valid:
            raise CorpusError(
                str(waiting[0]) if waiting else f"{self.path} has no queries",
                hint='a row is {"query": "...", "positive": "..."}; or pass --qrels FILE',
            )

    def _report(self, rejections: list[Rejection]) -> None:
        self.rejected += len(rejections)
        for one in rejections:
            self.console.notice(f"rejected {one}")
        rejections.clear()
