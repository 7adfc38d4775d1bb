"""`ettin rerank`: rerank candidates that another system retrieved."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.commands import options, output_options as writing
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.hints import rejected
from ettin_cli.console import Console, Tally, count
from ettin_cli.errors import CorpusError, UsageError
from ettin_cli.files import Digested, ResumableOutput
from ettin_cli.files.requests import RequestFields, RequestFile, open_requests
from ettin_cli.files.writers import RUN_NAME, is_run
from ettin_cli.models.rerankers import require_long
from ettin_cli.records import Rejection, Request, Share
from ettin_cli.searching import (
    Models,
    RerankerCascade,
    SearchOptions,
    Window,
    rerank as rerank_requests,
)
from ettin_cli.settings import PASSAGE, TRUNCATE

EVERY = sys.maxsize
NO_ID = (
    "positions from 0 are used as ids, which cannot be evaluated against judgements; "
    "set the field with --id-field"
)


@shared()
def rerank(
    input: Annotated[
        Path, typer.Argument(help="JSONL, CSV, TSV, Parquet or a TREC run; - reads JSONL.")
    ],
    reranker: options.Reranker = "auto",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file.")
    ] = None,
    format: writing.Format = "auto",
    resume: writing.Resume = False,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k", "-k", metavar="N", min=1, help="Hits to keep per query; all by default."
        ),
    ] = None,
    max_documents: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Score only the first N documents of each query."),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="X", help="Drop hits that score below X.")
    ] = None,
    blend: Annotated[
        float,
        typer.Option(
            metavar="W", min=0, max=1, help="Share of the input's scores in the final score."
        ),
    ] = 0.0,
    no_text: Annotated[bool, typer.Option("--no-text", help="Leave texts out of hits.")] = False,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Queries of a TREC run.")
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Documents of a TREC run.")
    ] = None,
    tag: writing.Tag = None,
    fields: writing.Fields = None,
    query_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Field of the query text.")
    ] = None,
    documents_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Field of the query's documents.")
    ] = None,
    text_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Field of the document text.")
    ] = None,
    id_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Field of the document id.")
    ] = None,
    long: options.Long = TRUNCATE,
    *,
    context: Context,
) -> None:
    """Rerank candidates that another system retrieved.

    Each line or row of INPUT holds a query with its documents, a query and one document, a query
    with its positive and negatives, or a request of RankLLM or Anserini. A TREC run needs
    --queries and --corpus; the field options and --fields then apply to those. A field can be a
    dotted path: node.text.

    All other fields are copied to the answers. CSV, TSV and Parquet hold them as JSON in
    `query_fields` and `metadata`. The names that an answer itself uses are not copied: query_id,
    query, reranker, engine and hits.

    Examples:
      ettin rerank candidates.jsonl -r 32m -o reranked.jsonl --resume
      ettin rerank run.trec --queries queries.tsv --corpus docs -o reranked.trec
      ettin rerank top1000.tsv --fields qid,pid,query,passage -o reranked.trec
      cat candidates.jsonl | ettin rerank - -k 3 | jq -r '.hits[0].doc_id'
    """
    console = context.console
    require_long(long, reranked=True)
    format = writing.answer_format(format, output, console)
    writing.check_resume(output, resume=resume)
    _check(input, queries, reranker)
    writing.check_apart(output, (input, queries, corpus))
    tag = writing.run_tag(tag, format)
    named = RequestFields(
        query_field, documents_field, text_field, id_field, writing.columns(fields)
    )
    chosen = SearchOptions(
        top_k=top_k or EVERY,
        candidates=max_documents or EVERY,
        by=PASSAGE,
        min_score=min_score,
        blend=blend,
    )
    models = context.session.models
    cascade = models.find_rerankers(reranker)
    job = _Job(console, models, cascade, chosen, long, text=not no_text, tag=tag)
    with open_requests(
        options.stdin_or(input),
        named,
        queries=queries and options.stdin_or(queries),
        corpus=corpus and options.stdin_or(corpus),
    ) as requests:
        if not writing.appears_complete(output):
            job.show(requests, output, format)
        else:
            key = job.fingerprint(named, format)
            with ResumableOutput(
                output, format, key, text=not no_text, resume=resume, tag=tag
            ) as target:
                job.write(requests, target)
    job.report()
    if job.rejected:
        raise typer.Exit(options.REJECTED)


def _check(input: Path, queries: Path | None, reranker: str) -> None:
    """Reject invalid options before anything is loaded."""
    if reranker == "none":
        raise UsageError("ettin rerank needs a reranker", hint="-r embedded")
    for path in (input, queries):
        if path is not None and str(path) != "-" and not path.is_file():
            raise CorpusError(f"no such file: {path}")


class _Job:
    """Reranks requests, and reports at the end what was left out or replaced."""

    def __init__(
        self,
        console: Console,
        models: Models,
        cascade: RerankerCascade,
        chosen: SearchOptions,
        long: str,
        *,
        text: bool,
        tag: str = RUN_NAME,
    ) -> None:
        self.console, self.models, self.cascade = console, models, cascade
        self.chosen, self.long, self.text = chosen, long, text
        self.tag, self.is_run = tag, False
        self.tally = Tally(many=True)
        self.rejected = self.unscored = self.repeated = self.scoreless = self.unnamed = 0
        self.rejects: Path | None = None

    def fingerprint(self, fields: RequestFields, format: str) -> str:
        """Return a hash of everything but the input that determines the bytes of the output."""
        kept = [keep for _, keep in self.cascade.before]
        options = (kept, self.chosen, self.long, self.text, fields, format, self.tag)
        return writing.fingerprint(self.cascade.every, self.models.settings, *options)

    def show(self, requests: RequestFile, output: Path | None, format: str) -> None:
        """Write answers to stdout as they arrive."""
        self.is_run = is_run(format)
        windows = self._windows(requests.items, requests.share)
        self.console.answers(
            (answer for window in windows for answer in window.answers),
            format=format,
            output=output,
            many=True,
            text=self.text,
            tag=self.tag,
        )

    def write(self, requests: RequestFile, target: ResumableOutput) -> None:
        """Write answers to a file, after those of an earlier run."""
        mark, self.rejects, self.is_run = target.mark, target.rejects, is_run(target.format)
        self.rejected = mark.rejects
        if mark.items:
            self.console.notice(f"resuming after {count(mark.answers, 'query', 'queries')}")
        if not target.finished:
            with options.resumable("to resume, run the same command with --resume", self.console):
                watched = Digested(requests.items, mark)
                for window in self._windows(watched, requests.share, mark.items):
                    end, digest = window.end, watched.digest()
                    target.write(window.answers, window.rejections, end, digest)
                watched.check()
                target.finish()
        if self.tally.queries or not mark.items:
            self.console.report(self.tally)

    def _windows(
        self, items: Iterable[Request | Rejection], share: Share, done: int = 0
    ) -> Iterator[Window]:
        reranker, before = self.models.rerankers(self.cascade, self.long)
        windows = rerank_requests(
            items,
            reranker,
            self.chosen,
            self.console,
            share=share,
            done=done,
            before=before,
        )
        for window in windows:
            self._count(window)
            yield window

    def _count(self, window: Window) -> None:
        # Without a file of rejects, each is reported here.
        for rejection in window.rejections if self.rejects is None else ():
            self.console.notice(rejected(rejection))
        self.rejected += len(window.rejections)
        self.unscored += window.unscored
        self.repeated += window.repeated
        self.scoreless += window.scoreless
        if window.unnamed and not self.unnamed and self.is_run:
            # At once, so that nobody waits for an unusable run.
            self.console.notice(f"a document has no id: {NO_ID}")
        self.unnamed += window.unnamed
        for answer in window.answers:
            self.tally.add(answer)

    def report(self) -> None:
        """Report what was left out or replaced."""
        if self.unnamed:
            self.console.notice(f"{count(self.unnamed, 'document')} without an id: {NO_ID}")
        if self.unscored:
            what = count(self.unscored, "document")
            self.console.notice(f"{what} beyond --max-documents skipped")
        if self.repeated:
            what = count(self.repeated, "document")
            lost = ", left out of the run" if self.is_run else ""
            self.console.notice(f"{what} with a duplicate id{lost}")
        if self.scoreless and self.chosen.blend:
            what = count(self.scoreless, "query", "queries")
            self.console.notice(f"{what} without scores: --blend used 1/rank")
        if self.rejected:
            where = f"; reasons in {self.rejects}" if self.rejects else ""
            what = count(self.rejected, "row or document", "rows or documents")
            self.console.notice(f"rejected {what}{where}")
