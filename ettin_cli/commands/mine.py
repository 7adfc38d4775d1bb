"""`ettin mine`: hard negatives for training, mined from an index."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ettin_cli.commands import options
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.jsonl import check_jsonl, write_jsonl
from ettin_cli.commands.output_options import check_apart
from ettin_cli.console import Console, count
from ettin_cli.corpus import RecordError
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.files import read_qrels, read_queries
from ettin_cli.files.requests import Spool, example, read_rows, rejection
from ettin_cli.index import Index, find_index
from ettin_cli.records import Rejection
from ettin_cli.searching import choose_retriever, require_retriever
from ettin_cli.settings import AUTO, CANDIDATES
from ettin_cli.training import (
    NEGATIVES,
    Examples,
    Mined,
    MiningOptions,
    Sought,
    judged,
    mine as mine_index,
)

# After this many invalid rows without a valid one, the file is taken for another kind.
PROBED_ROWS = 100


@shared()
def mine(
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

    Examples:
      ettin mine -i INDEX --queries q.jsonl --qrels qrels.tsv -o mined.jsonl
      ettin mine -i INDEX --queries pairs.jsonl --max-score-ratio 0.95 -o m.jsonl
      ettin score --pairs mined.jsonl -r 150m -o scored.jsonl
    """
    console = context.console
    if reranker is not None and max_score_ratio is None:
        raise UsageError("-r needs --max-score-ratio", hint="--max-score-ratio 0.95")
    require_retriever(retriever)
    check_jsonl(output, "mined.jsonl")
    queries = _checked(queries, "--queries")
    if qrels is not None and str(qrels) == str(queries) == options.STDIN:
        raise UsageError("stdin can be read only once", hint="pass one of the two as a file")
    check_apart(output, (queries, qrels))
    opened = Index(find_index(index))
    chosen = MiningOptions(negatives, candidates, skip_top, max_score_ratio)
    models = context.session.models
    found = models.find_reranker(reranker) if reranker else None
    with ExitStack() as stack:
        rejected = 0
        if qrels is not None:
            asked = list(read_queries(options.stdin_or(queries)))
            relevant = read_qrels(options.stdin_or(_checked(qrels, "--qrels")))
            sought: Iterator[Sought] = judged(opened, asked, relevant)
            total = len(asked)
        else:
            examples = Examples(stack.enter_context(Spool()))
            rejected = _read(queries, examples, console)
            sought, total = examples.sought(opened, console), len(examples)
        model = models.reranker(found) if found else None
        embedder = partial(models.embedder_of, opened)
        retrieve = choose_retriever(retriever, opened, embedder, console)
        tally = _Tally(chosen, judged=qrels is not None)
        mined = mine_index(opened, sought, total, retrieve, model, chosen, console)
        write_jsonl(tally.rows(mined), output)
    tally.tell(console)
    if rejected:
        raise typer.Exit(options.REJECTED)


def _checked(path: Path | None, option: str) -> Path:
    if path is None:
        raise UsageError(
            f"missing {option}", hint="ettin mine -i INDEX --queries FILE --qrels FILE"
        )
    if str(path) != options.STDIN and not path.is_file():
        raise CorpusError(f"no such file: {path}")
    return path


def _read(path: Path, examples: Examples, console: Console) -> int:
    """Read rows of queries and their positives, and return the number of rejected ones.

    Raises:
        CorpusError: The file cannot be read, or has no such rows.
    """
    waiting: list[Rejection] = []
    rejected = 0
    for row in read_rows(options.stdin_or(path), "queries and their positives"):
        try:
            found = example(row[0])
            if not any(text.strip() for text in found.positives):
                raise RecordError('"positive" has no text')
            examples.add(found)
            reasons = [RecordError(reason) for reason in found.reasons]
        except RecordError as error:
            reasons = [error]
        waiting += [rejection(str(path), row, reason) for reason in reasons]
        if examples:
            rejected += _told(waiting, console)
        elif len(waiting) == PROBED_ROWS:
            break
    if not examples:
        raise CorpusError(
            str(waiting[0]) if waiting else f"{path} has no queries",
            hint='a row is {"query": "...", "positive": "..."}; or pass --qrels FILE',
        )
    return rejected


def _told(rejections: list[Rejection], console: Console) -> int:
    told = len(rejections)
    for one in rejections:
        console.notice(f"rejected {one}")
    rejections.clear()
    return told


class _Tally:
    """Turns mined negatives into rows, and counts."""

    def __init__(self, chosen: MiningOptions, *, judged: bool) -> None:
        self.chosen, self.judged = chosen, judged
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
            self.fewer += 0 < len(one.negatives) < self.chosen.negatives
            if one.negatives:
                self.written += 1
                self.negatives += len(one.negatives)
                yield _row(one)

    def tell(self, console: Console) -> None:
        """Report what was mined, and what was left out."""
        end = "skipped" if self.judged else "mined by text alone"
        for number, told in (
            (self.unindexed, f"without a positive in the index, {end}"),
            (self.without, "without a negative, skipped; raise -c to retrieve more"),
            (self.fewer, f"with fewer negatives than {self.chosen.negatives:,}"),
        ):
            if number:
                console.notice(f"{count(number, 'query', 'queries')} {told}")
        if self.truncated:
            console.notice(
                f"{count(self.truncated, 'text')} truncated at the reranker's token limit"
            )
        margin = (
            f", {self.dropped:,} dropped by --max-score-ratio"
            if self.chosen.max_score_ratio
            else ""
        )
        console.summary(
            f"{count(self.negatives, 'negative')} for {self.written:,} of "
            f"{count(self.queries, 'query', 'queries')}{margin}"
        )


def _row(mined: Mined) -> dict[str, Any]:
    return {
        "query_id": mined.query.query_id,
        "query": mined.query.text,
        "positive": list(mined.positives),
        "negatives": [passage.content for passage in mined.negatives],
        "negative_ids": [passage.doc_id for passage in mined.negatives],
    }
