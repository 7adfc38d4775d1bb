"""`ettin index`: build an index, or bring one up to date."""

from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.chunking import Chunking
from ettin_cli.commands import options
from ettin_cli.console import Console
from ettin_cli.errors import UsageError
from ettin_cli.index import RecordedSource
from ettin_cli.pipeline import BuildReport, BuildRequest, build_index
from ettin_cli.settings import DEFAULT_INDEX

SHOWN_REJECTIONS = 20


def index(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="Folder, document, table, BEIR folder, or - for JSONL on stdin."),
    ] = None,
    index: options.Index = None,
    embedder: Annotated[
        str | None,
        typer.Option(envvar="ETTIN_EMBEDDER", help="auto, embedded, a hub id or a folder."),
    ] = None,
    chunk_size: Annotated[
        str | None, typer.Option(help="Tokens a passage, or none for whole documents.")
    ] = None,
    chunk_overlap: Annotated[
        int | None, typer.Option(min=0, help="Tokens a passage repeats of the one before.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Only files that fit this glob.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No files that fit this glob.")] = None,
    id_field: Annotated[str | None, typer.Option(help="A record's id field.")] = None,
    text_field: Annotated[str | None, typer.Option(help="A record's text field.")] = None,
    factory: Annotated[
        str | None, typer.Option(help="auto, or a FAISS index factory string.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Drop this source.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Start from nothing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Fail if another process writes the index.")
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
    """Build the index of one or more sources, or bring it up to date.

    A second run embeds only what is new or changed and drops what is gone. Without SOURCE the
    recorded sources are brought up to date. An interrupted run goes on where it stopped.
    """
    console = options.console(color, quiet, verbose)
    request = BuildRequest(
        folder=index or Path(DEFAULT_INDEX),
        add=source or [],
        remove=remove or [],
        source=RecordedSource("", tuple(include or ()), tuple(exclude or ()), id_field, text_field),
        embedder=embedder,
        chunking=_chunking(chunk_size, chunk_overlap),
        factory=factory,
        engine=options.engine(device, dtype, batch_size, max_length, threads, trust_remote_code),
        offline=offline,
        rebuild=rebuild,
        dry_run=dry_run,
        wait=not no_wait,
    )
    with options.goes_on("the same command goes on where it stopped", console):
        report = build_index(request, console)
    tell(report, request.folder, console, dry_run=dry_run)
    if report.rejections:
        raise typer.Exit(options.REJECTED)


def _chunking(size: str | None, overlap: int | None) -> Chunking | None:
    if size is None and overlap is None:
        return None
    if size in (None, "auto"):
        return Chunking("auto", overlap or 0)
    if size == "none":
        return Chunking(None, overlap or 0)
    if size is None or not size.isdigit() or int(size) < 1:
        raise UsageError(f"chunk size {size!r} is neither a number of tokens nor none")
    if overlap and overlap >= int(size):
        raise UsageError(f"chunk overlap {overlap} is not smaller than chunk size {size}")
    return Chunking(int(size), overlap or 0)


def tell(report: BuildReport, folder: Path, console: Console, *, dry_run: bool = False) -> None:
    """Say what a run did, and name what it could not read."""
    plan = report.plan
    for rejection in report.rejections[:SHOWN_REJECTIONS]:
        console.notice(f"rejected {rejection}")
    if len(report.rejections) > SHOWN_REJECTIONS:
        console.notice(f"and {len(report.rejections) - SHOWN_REJECTIONS} more were rejected")
    if plan.skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(plan.skipped.items()))
        console.notice(f"skipped {reasons}")
    files = (
        f"{len(plan.new)} new, {len(plan.changed)} changed, {plan.unchanged} unchanged, "
        f"{len(plan.gone)} gone"
    )
    if dry_run:
        console.notice(f"{folder}: {files} files; nothing was done")
        return
    if report.manifest is None:
        return
    counts = report.manifest.counts
    if not report.written:
        console.notice(f"{folder} is up to date: {counts.passages:,} passages")
        return
    console.notice(f"{files} files; {report.embedded:,} passages embedded, {report.reused:,} kept")
    console.notice(
        f"{folder}: {counts.documents:,} documents, {counts.passages:,} passages, "
        f"{report.manifest.factory} (recall {report.manifest.recall:.3f})"
    )
    if counts.truncated:
        console.notice(
            f"{counts.truncated:,} passages are longer than the embedder reads "
            f"({report.manifest.embedder.max_tokens} tokens); the rest of them is not searched"
        )
