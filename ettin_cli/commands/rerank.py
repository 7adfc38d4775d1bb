"""`ettin rerank`: rerank candidates that another system retrieved."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from ettin_cli.clusters import LOCAL
from ettin_cli.commands import options, output_options as writing, unit_options as units
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.hints import rejected
from ettin_cli.console import Console, Tally, count
from ettin_cli.errors import UsageError
from ettin_cli.files import Digested, ResumableOutput
from ettin_cli.files.requests import RequestFields, RequestFile, cut_requests, open_requests
from ettin_cli.files.writers import RUN_NAME, Layout, is_run
from ettin_cli.models.rerankers import require_long
from ettin_cli.records import Answer, Query, Rejection, Request, Share, Stage
from ettin_cli.searching import (
    Models,
    NamedRerankers,
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
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to a file; with a slash at the end, to a folder of parts.",
        ),
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
    on: units.On = LOCAL,
    workers: units.Workers = None,
    cpus_per_worker: units.CpusPerWorker = None,
    gpus_per_worker: units.GpusPerWorker = None,
    unit: units.UnitRows = None,
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

    --on ray reranks units of a file on the Ray cluster at RAY_ADDRESS, or on one that is started
    on this machine; the output has the same bytes. The rows of a query must then be adjacent.

    Examples:
      ettin rerank candidates.jsonl -r 32m -o reranked.jsonl --resume
      ettin rerank run.trec --queries queries.tsv --corpus docs -o reranked.trec
      ettin rerank top1000.tsv --fields qid,pid,query,passage -o reranked.trec
      ettin rerank candidates.jsonl -r 32m -o parts/ --on ray --workers 8
      cat candidates.jsonl | ettin rerank - -k 3 | jq -r '.hits[0].doc_id'
    """
    console = context.console
    require_long(long, reranked=True)
    chosen_units = units.unit_options(on, workers, cpus_per_worker, gpus_per_worker, unit, output)
    target = units.output_path(output)
    format = _format(format, target, chosen_units, console)
    writing.check_resume(target, resume=resume and chosen_units is None)
    _check(input, queries, reranker)
    writing.check_apart(target, (input, queries, corpus))
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
    models = context.on_every_gpu(here=on == LOCAL).session.models
    cascade = models.find_rerankers(reranker)
    job = _Job(console, models, cascade, chosen, long, text=not no_text, tag=tag)
    if chosen_units:
        _check_cuttable(input, queries or corpus)
        assert target is not None
        job.write_units(_UnitRun(input, named, reranker, format, resume, target), chosen_units)
        job.report()
        if job.rejected:
            raise typer.Exit(options.REJECTED)
        return
    with open_requests(
        options.stdin_or(input),
        named,
        queries=queries and options.stdin_or(queries),
        corpus=corpus and options.stdin_or(corpus),
    ) as requests:
        if not writing.appears_complete(target):
            job.show(requests, target, format)
        else:
            key = job.fingerprint(named, format)
            with ResumableOutput(
                target, format, key, text=not no_text, resume=resume, tag=tag
            ) as file:
                job.write(requests, file)
    job.report()
    if job.rejected:
        raise typer.Exit(options.REJECTED)


def _format(
    format: str, target: Path | None, chosen: units.UnitOptions | None, console: Console
) -> str:
    """Return the output format, which for a folder of parts is JSONL unless it is given."""
    if chosen is None:
        return writing.answer_format(format, target, console)
    from ettin_cli.commands.rerank_units import check_format

    format = writing.answer_format(format, target, console, in_folder=chosen.in_folder)
    check_format(format)
    return format


def _check_cuttable(input: Path, run: Path | str | None) -> None:
    if str(input) == "-":
        raise UsageError("stdin cannot be cut into units", hint="write it to a file first")
    if run is not None:
        raise UsageError(
            "a TREC run cannot be cut into units",
            hint="rerank the output of ettin search --queries FILE -o candidates.jsonl instead",
        )


class _UnitRun(NamedTuple):
    """What `ettin rerank` does in units."""

    input: Path
    fields: RequestFields
    reranker: str
    format: str
    resume: bool
    target: Path


def _check(input: Path, queries: Path | None, reranker: str) -> None:
    """Reject invalid options before anything is loaded."""
    if reranker == "none":
        raise UsageError("ettin rerank needs a reranker", hint="-r embedded")
    for path in (input, queries):
        if path is not None:
            options.check_file(path)


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
                    end, digest = window.end, watched.digest_of(window.end)
                    target.write(window.answers, window.rejections, end, digest)
                watched.check()
                target.finish()
        if self.tally.queries or not mark.items:
            self.console.report(self.tally)

    def write_units(self, run: _UnitRun, chosen: units.UnitOptions) -> None:
        """Write answers to a file or a folder, in units that are reranked apart."""
        from ettin_cli.commands.in_units import UnitRun
        from ettin_cli.commands.part_format import PartFormat
        from ettin_cli.commands.rerank_units import RerankUnits

        layout = Layout(True, self.text, self.tag)
        part = PartFormat(run.format, layout, complete=chosen.in_folder)
        rows = chosen.rows or chosen.usual_rows
        kind = cut_requests(run.input, run.fields, rows).lists
        job = RerankUnits(
            NamedRerankers.of(self.cascade.every, self.models),
            run.reranker,
            run.input,
            run.fields,
            kind,
            self.chosen,
            self.long,
            part,
        )
        recipe = self.fingerprint(run.fields, run.format)
        work = UnitRun(
            *(run.input, run.target, "reranking", recipe, part.suffix),
            *(b"" if part.made else part.begin, part.made),
        )
        counts = work.run(
            chosen,
            lambda rows: cut_requests(run.input, run.fields, rows).pieces,
            job,
            self.console,
            resume=run.resume,
        )
        self.is_run = is_run(run.format)
        self.rejects = run.target.with_name(f"{run.target.name}.rejects.jsonl")
        self._add(counts)
        self.console.report(self.tally)

    def _add(self, counts: Mapping[str, int]) -> None:
        """Add the counts of all units."""
        self.rejected, self.unscored = counts["rejected"], counts["unscored"]
        self.repeated, self.scoreless = counts["repeated"], counts["scoreless"]
        self.unnamed = counts["unnamed"]
        tally = self.tally
        tally.queries, tally.hits = counts["queries"], counts["hits"]
        tally.truncated = counts["truncated"]
        steps = self.cascade.every if self.cascade.before else []
        tally.stages = [
            Stage(one.name, "", counts[f"scored {at}"], 0, counts[f"kept {at}"])
            for at, one in enumerate(steps)
        ]
        if tally.queries:
            tally.last = Answer(Query("", ""), (), None, self.cascade.name, "")

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
