"""`ettin mine`: hard negatives for training, mined from an index."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ettin_cli.commands import options
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.jsonl import check_jsonl, write_jsonl
from ettin_cli.commands.output_options import check_apart
from ettin_cli.commands.sources import index_of
from ettin_cli.console import Console, count
from ettin_cli.corpus import RecordError
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.files import read_qrels, read_queries
from ettin_cli.files.requests import Example, read_rows, rejection
from ettin_cli.records import Rejection
from ettin_cli.searching import require_retriever
from ettin_cli.settings import AUTO, CANDIDATES, NEGATIVES
from ettin_cli.training import Mined, example_with_positive

# After this many invalid rows without a valid one, the file is taken for another kind.
PROBED_ROWS = 100
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
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write JSONL here, not to stdout."),
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

    Examples:
      ettin mine beir/fiqa -o mined.jsonl
      ettin mine -i INDEX --queries q.jsonl --qrels qrels.tsv -o mined.jsonl
      ettin mine -i INDEX --queries pairs.jsonl --max-score-ratio 0.95 -o m.jsonl
      ettin score --pairs mined.jsonl -r 150m -o scored.jsonl
    """
    console = context.console
    require_retriever(retriever)
    check_jsonl(output, "mined.jsonl")
    how: dict[str, Any] = {
        "retriever": retriever,
        "negatives": negatives,
        "candidates": candidates,
        "skip_top": skip_top,
        "max_score_ratio": max_score_ratio,
        "reranker": reranker,
    }
    rejected = False
    if collection is not None:
        if queries or qrels:
            raise UsageError(f"{collection} has queries and judgements of its own", hint=_HINT)
        mined, rejected = _of_collection(collection, index, context, how)
        rows = None
    else:
        queries = _checked(queries, "--queries")
        if qrels is not None and str(qrels) == str(queries) == options.STDIN:
            raise UsageError("stdin can be read only once", hint="pass one of the two as a file")
        check_apart(output, (queries, qrels))
        rows = _Rows(queries, console)
        mined = context.session.mine(
            index,
            iter(rows) if qrels is None else read_queries(options.stdin_or(queries)),
            None if qrels is None else read_qrels(options.stdin_or(_checked(qrels, "--qrels"))),
            **how,
        )
    tally = _Tally(negatives, judged=collection is not None or qrels is not None)
    write_jsonl(tally.rows(mined), output)
    tally.tell(console, margin=max_score_ratio is not None)
    if rejected or (rows and rows.rejected):
        raise typer.Exit(options.REJECTED)


def _of_collection(
    name: str, index: Path | None, context: Context, how: dict[str, Any]
) -> tuple[Iterator[Mined], bool]:
    """Return what is mined from a public collection, and whether any input was rejected."""
    found = context.session.collection(name, split=TRAIN)
    if found is None:
        raise UsageError(f"{name} is not a public collection", hint=_HINT)
    context.console.notice(found.origin)
    queries, qrels = found.queries, found.qrels
    opened, rejected = index_of(list(map(str, found.corpus)), index, context)
    with opened:
        folder = opened.folder
    ignores_own = found.collection.ignores_own
    return context.session.mine(folder, queries, qrels, ignores_own=ignores_own, **how), rejected


def _checked(path: Path | None, option: str) -> Path:
    if path is None:
        raise UsageError(f"missing {option}", hint=_HINT)
    if str(path) != options.STDIN and not path.is_file():
        raise CorpusError(f"no such file: {path}")
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


class _Tally:
    """Turns mined negatives into rows, and counts."""

    def __init__(self, wanted: int, *, judged: bool) -> None:
        self.wanted, self.judged = wanted, judged
        self.queries = self.written = self.negatives = 0
        self.unindexed = self.without = self.fewer = self.dropped = self.truncated = 0

    def rows(self, mined: Iterable[Mined]) -> Iterator[dict[str, Any]]:
        """Yield one row per query that has a positive and a negative."""
        for one in mined:
            self.queries += 1
            self.unindexed += not one.indexed
            self.dropped += one.dropped
            self.truncated += one.truncated
            if not one.positives:
                continue
            self.without += not one.negatives
            self.fewer += 0 < len(one.negatives) < self.wanted
            if one.negatives:
                self.written += 1
                self.negatives += len(one.negatives)
                yield one.to_dict()

    def tell(self, console: Console, *, margin: bool) -> None:
        """Report what was mined, and what was left out."""
        end = "skipped" if self.judged else "mined by text alone"
        for number, told in (
            (self.unindexed, f"without a positive in the index, {end}"),
            (self.without, "without a negative, skipped; raise -c to retrieve more"),
            (self.fewer, f"with fewer negatives than {self.wanted:,}"),
        ):
            if number:
                console.notice(f"{count(number, 'query', 'queries')} {told}")
        if self.truncated:
            console.notice(
                f"{count(self.truncated, 'text')} truncated at the reranker's token limit"
            )
        dropped = f", {self.dropped:,} dropped by --max-score-ratio" if margin else ""
        console.summary(
            f"{count(self.negatives, 'negative')} for {self.written:,} of "
            f"{count(self.queries, 'query', 'queries')}{dropped}"
        )
