"""`ettin index`: build or update an index."""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.clusters import LOCAL
from ettin_cli.commands import options, unit_options as units
from ettin_cli.commands.context import Context, shared
from ettin_cli.commands.hints import rejected
from ettin_cli.console import Console, count
from ettin_cli.corpus import (
    BOILERPLATE,
    NEEDS_OCR,
    OCR_COMMAND,
    PICTURE_SUFFIXES,
    SKIPS,
    built_in_formats,
    ocr_installed,
    open_source,
)
from ettin_cli.errors import IndexNotFoundError, UsageError
from ettin_cli.index import Manifest, RecordedSource, find_index
from ettin_cli.indexing import BuildReport, BuildRequest
from ettin_cli.platforms import expanded, path_glob
from ettin_cli.settings import AUTO, DEFAULT_INDEX
from ettin_cli.text import Chunking, inert_line

# Suffixes that a report lists.
MOST_SUFFIXES = 5


@shared()
def index(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folder, file, BEIR folder, public collection by name, or - for JSONL on stdin. "
            f"Formats: {built_in_formats()}, and formats of installed plugins."
        ),
    ] = None,
    index: options.Index = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            envvar="ETTIN_EMBEDDER",
            help="auto, embedded, a name from ettin models, a hub id or a folder; by default that "
            "of the index, or auto for a new one.",
        ),
    ] = None,
    dimensions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Keep the first N dimensions of each vector (Matryoshka embedders).",
        ),
    ] = None,
    token_vectors: Annotated[
        str | None,
        typer.Option(
            metavar="BITS",
            help="Store compressed token vectors, from which -r embedded and multi-vector models "
            "score in milliseconds: 1, 2 or 4 bits a dimension, none, or auto (where the "
            "embedder has them; the default for a new index).",
        ),
    ] = None,
    chunk_size: Annotated[
        str | None,
        typer.Option(
            metavar="TOKENS",
            help="Maximum tokens per passage, or none to keep documents in one piece; "
            "by default the length that suits the embedder.",
        ),
    ] = None,
    chunk_overlap: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS", min=0, help="Tokens that a passage repeats from the previous one."
        ),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Index only files that match.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Skip files that match.")
    ] = None,
    id_field: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Field of a record's id, or a path such as meta.id; by default _id, id, doc_id or "
            "docno.",
        ),
    ] = None,
    text_field: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Field of a record's text, or a path to it; by default text, body, content, "
            "page_content, passage and the like, in any case.",
        ),
    ] = None,
    title_field: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD", help="Field of a record's title, or a path to it; by default title."
        ),
    ] = None,
    all_text: Annotated[
        bool,
        typer.Option(
            "--all-text",
            help="Also index content for machines: lock files, source maps, minified code, data "
            "URIs, base64 blocks, vector paths and embeddings.",
        ),
    ] = False,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODING",
            help="Encoding of text files, as in windows-1250; by default detected for each. "
            "A byte order mark takes precedence.",
        ),
    ] = None,
    main_content: Annotated[
        bool,
        typer.Option(
            "--main-content",
            help="Leave out navigation and boilerplate of HTML pages; needs the extra formats.",
        ),
    ] = False,
    ocr: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Recognise text in pictures and scanned pages of PDFs: auto (if the extra ocr is "
            "installed), always (also on pages with a text layer) or never; by default auto.",
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="LANGUAGE",
            help="Language of the stemmer, as in german, or none; english by default.",
        ),
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(
            metavar="FACTORY",
            help="auto, or a FAISS index factory string. SQ8 reads half the bytes of exact search, "
            "RaBitQfs about a fourteenth.",
        ),
    ] = None,
    shards: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Build a new index in N shards, or in as many as its size needs (auto), for more "
            "than 10 million passages; none builds one without shards. Answers are the same.",
        ),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE", help="Remove a source from the index.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the index from scratch.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what would change, without changing it.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Fail if another process is writing the index.")
    ] = False,
    on: units.On = LOCAL,
    workers: units.Workers = None,
    cpus_per_worker: units.CpusPerWorker = None,
    gpus_per_worker: units.GpusPerWorker = None,
    unit: units.UnitRows = None,
    *,
    context: Context,
) -> None:
    """Build an index of one or more sources, or update it.

    An update embeds only new and changed text, and drops deleted files. Without SOURCE,
    the recorded sources are updated. The same command resumes an interrupted run.

    --on ray embeds units of the passages on the Ray cluster at RAY_ADDRESS, or on one that is
    started on this machine; the index has the same bytes.

    Examples:
      ettin index docs notes.jsonl       # an index of both, in .ettin
      ettin index                        # later: update it
      ettin index beir/scifact -i scifact
      ettin index papers -i papers-index --include "*.pdf"
      ettin index docs --embedder nomic --dimensions 256 --rebuild
      ettin index corpus.jsonl -i /shared/corpus --shards auto --on ray
    """
    console = context.console
    context = context.on_every_gpu(here=on == LOCAL)
    reading = (
        *(include, exclude, id_field, text_field, title_field, all_text, encoding),
        *(main_content, ocr),
    )
    source = list(expanded(source or ()))
    if not source and any(reading):
        raise UsageError(
            "--include, --exclude, --id-field, --text-field, --title-field, --all-text, "
            "--encoding, --main-content and --ocr need a SOURCE",
            hint="pass the SOURCE again, with all of its options",
        )
    folder = _folder(index, source)
    chosen = units.unit_options(on, workers, cpus_per_worker, gpus_per_worker, unit, str(folder))
    added = context.session.sources(options.stdin_or(text) for text in source)
    for text in added:
        open_source(text)  # fails before a folder is made for the index
    request = BuildRequest(
        folder=folder,
        add=added,
        remove=list(map(str, context.session.sources(remove or ()))),
        source=RecordedSource(
            "",
            tuple(map(path_glob, include or ())),
            tuple(map(path_glob, exclude or ())),
            id_field,
            text_field,
            title_field,
            all_text=all_text,
            encoding=encoding,
            main_content=main_content,
            ocr=ocr or AUTO,
        ),
        embedder=embedder,
        dimensions=dimensions,
        token_vectors=token_vectors,
        chunking=Chunking.parsed(chunk_size, chunk_overlap),
        factory=factory,
        shards=shards,
        language=language,
        settings=context.settings,
        offline=context.offline,
        rebuild=rebuild,
        dry_run=dry_run,
        wait=not no_wait,
        placement=chosen.placement if chosen else None,
        unit_rows=(chosen.rows or chosen.usual_rows) if chosen else units.ROWS[0],
    )
    with options.resumable("to resume, run the same command", console):
        report = context.session.build_from(request)
    report_build(report, request.folder, console, dry_run=dry_run)
    if report.rejections:
        raise typer.Exit(options.REJECTED)


def _folder(index: Path | None, source: list[str] | None) -> Path:
    """Return the index to write: a new one here, or without SOURCE one here or in a parent."""
    if index is None and not source:
        with suppress(IndexNotFoundError):
            return find_index(None)
    return index or Path(DEFAULT_INDEX)


def report_build(
    report: BuildReport, folder: Path, console: Console, *, dry_run: bool = False
) -> None:
    """Report what a run did, and every file and record that it could not read."""
    plan = report.plan
    for rejection in report.rejections:
        console.notice(rejected(rejection))
    for notice in report.notices:
        console.notice(notice)
    for what, names in (("new", plan.new), ("changed", plan.changed), ("gone", plan.gone)):
        for name in names:
            console.detail(f"{what}: {name}")
    apart = (*SKIPS, NEEDS_OCR)
    if skipped := {why: number for why, number in plan.skipped.items() if why not in apart}:
        reasons = ", ".join(f"{number:,} {why}" for why, number in sorted(skipped.items()))
        console.summary(f"skipped {reasons}")
    pictures = Counter({one: plan.binary[one] for one in PICTURE_SUFFIXES if one in plan.binary})
    if binary := plan.binary - pictures:
        console.summary(f"binary files: {_by_suffix(binary)}")
    if plan.unknown:
        console.summary(
            f"text files of unknown formats: {_by_suffix(plan.unknown)}; "
            '--include "*" --include "*.SUFFIX" indexes those of a suffix as text'
        )
    _report_ocr(report, pictures, console)
    _report_left_out(report, console)
    files = (
        f"files: {len(plan.new):,} new, {len(plan.changed):,} changed, {len(plan.gone):,} gone, "
        f"{plan.unchanged:,} unchanged"
    )
    if dry_run:
        console.notice(f"{folder}: {files}; dry run, nothing was written")
    elif report.manifest is not None:
        _report_build(report, report.manifest, folder, files, console)


def _by_suffix(suffixes: Counter[str]) -> str:
    """Return the number of files of the most frequent suffixes, and of the other ones."""
    named = [(suffix, number) for suffix, number in suffixes.most_common(MOST_SUFFIXES) if suffix]
    more = suffixes.total() - sum(number for _, number in named)
    shown = [f"{number:,} {inert_line(suffix)}" for suffix, number in named]
    shown += [f"{more:,} other" if named else f"{more:,} without a suffix"] if more else []
    return ", ".join(shown)


def _report_ocr(report: BuildReport, pictures: Counter[str], console: Console) -> None:
    """Report what text was recognised in, and the pictures and pages that were left out."""
    pages, files = report.recognized
    if files:
        console.summary(f"OCR of {count(pages, 'page')} in {count(files, 'file')}")
    how = "--ocr auto" if ocr_installed() else OCR_COMMAND
    if pictures:
        counts = ", ".join(f"{number:,} {suffix}" for suffix, number in pictures.most_common())
        console.summary(f"pictures: {counts}; to recognise their text: {how}")
    if missed := report.plan.skipped[NEEDS_OCR]:
        console.summary(f"{count(missed, 'file')} {NEEDS_OCR}; to recognise them: {how}")


def _report_left_out(report: BuildReport, console: Console) -> None:
    """Report the content for machines and the boilerplate that is not indexed."""
    plan = report.plan
    left_out = {why: plan.skipped[why] for why in SKIPS if plan.skipped[why]}
    left_out |= report.left_out
    if lines := left_out.pop(BOILERPLATE, 0):
        console.summary(f"left out {lines:,} lines of boilerplate")
    if left_out:
        counts = ", ".join(count(number, what) for what, number in sorted(left_out.items()))
        console.summary(f"left out {counts}; --all-text indexes them")


def _report_build(
    report: BuildReport, manifest: Manifest, folder: Path, files: str, console: Console
) -> None:
    counts = manifest.counts
    passages = count(counts.passages, "passage")
    parts = f" in {count(len(manifest.shards), 'shard')}" if manifest.shards else ""
    if not report.written:
        console.summary(f"{folder} is up to date: {passages}{parts}")
        return
    embedded = count(report.embedded, "passage")
    console.summary(f"{files}; {embedded} embedded, {report.reused:,} kept")
    searched = f"{manifest.factory} (recall {manifest.recall:.3f})"
    console.summary(
        f"{folder}: {count(counts.documents, 'document')}, {passages}{parts}, "
        f"{searched if counts.passages else 'nothing to search'}"
    )
    if counts.truncated:
        console.notice(
            f"{counts.truncated:,} of {passages} truncated at the embedder's limit of "
            f"{manifest.embedder.max_tokens:,} tokens; text beyond it is not searched"
        )
