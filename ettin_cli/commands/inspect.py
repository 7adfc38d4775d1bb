"""`ettin info` and `ettin verify`: what an index holds, and whether it is intact."""

from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.commands import options
from ettin_cli.commands.context import Color, Context, make_console, shared
from ettin_cli.commands.hints import rejected
from ettin_cli.console import Console, count, size
from ettin_cli.index import (
    Counts,
    Index,
    Manifest,
    bytes_a_vector,
    bytes_of_tokens,
    damaged_files,
    find_index,
)
from ettin_cli.indexing import BuildRequest, RepairReport, out_of_date, repair_index


def info(
    index: options.Index = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if the index is out of date.")
    ] = False,
    color: Color = "auto",
) -> None:
    """Show what an index holds, and which files have changed since.

    New, changed and deleted files of the sources are counted. Run ettin index to update the
    index.

    Examples:
      ettin info
      ettin info -i notes-index
      ettin info --check || ettin index      # in a script
    """
    console = make_console(color)
    folder = find_index(index)
    found = Index(folder)
    plan = out_of_date(folder, found)
    manifest = found.manifest
    named: dict[object, str] = {None: "complete documents", "auto": "sized for the embedder"}
    chunks = named.get(manifest.chunk_size, f"up to {manifest.chunk_size} tokens")
    rows = [
        ("index", str(folder)),
        ("documents", f"{manifest.counts.documents:,}"),
        *_left_out(manifest.counts),
        ("passages", f"{manifest.counts.passages:,} ({chunks}, overlap {manifest.chunk_overlap})"),
        ("embedder", f"{manifest.embedder.name} ({manifest.embedder.weights[:12]})"),
        ("vectors", _vectors(found)),
        *_tokens(found),
        ("recall", ", ".join([f"{manifest.recall:.3f} of the exact top 100", *_depth(manifest)])),
        ("terms", _words(found)),
        ("built", manifest.created),
        *_shards(found),
        ("size", size(_bytes(found))),
        *(("source", options.recorded(folder, source)) for source in manifest.sources),
        (
            "changes",
            f"{len(plan.new):,} new, {len(plan.changed):,} changed, {len(plan.gone):,} gone",
        ),
    ]
    console.rows(["", ""], rows)
    if check and not plan.up_to_date:
        console.notice(f"{folder} is out of date: {options.refresh(folder)}")
        raise typer.Exit(1)


def _words(index: Index) -> str:
    language = index.manifest.language
    if language is None:
        return f"none; to add them: ettin index -i {index.folder}"
    endings = "not stemmed" if language == "none" else f"stemmed ({language})"
    return f"{len(index.lexicon):,} distinct, {endings}"


def _vectors(index: Index) -> str:
    dimensions = f"{index.manifest.embedder.dimension} dimensions"
    return f"{dimensions}, {index.manifest.factory}, {bytes_a_vector(index.parts):,} bytes each"


def _shards(index: Index) -> list[tuple[str, str]]:
    """Return a row for the number of shards and their sizes, if there are any."""
    shards = index.manifest.shards
    if not shards:
        return []
    sizes = sorted({min(s.passages for s in shards), max(s.passages for s in shards)})
    each = " to ".join(f"{passages:,}" for passages in sizes)
    return [("shards", f"{len(shards):,}, of {each} passages")]


def _bytes(index: Index) -> int:
    return sum(file.bytes for manifest in _manifests(index) for file in manifest.files.values())


def _manifests(index: Index) -> list[Manifest]:
    """Return the manifests of an index and of its shards."""
    return [index.manifest, *index.parts] if index.manifest.shards else [index.manifest]


def _tokens(index: Index) -> list[tuple[str, str]]:
    made = index.manifest.tokens
    if made is None:
        return []
    parts = [
        f"{made.bits} bit a dimension" if made.bits == 1 else f"{made.bits} bits a dimension",
        f"{bytes_of_tokens(index.parts):,} bytes a passage",
    ]
    if made.error is not None:
        parts.append(f"MaxSim differs by {made.error:.3f} on average")
    return [("tokens", ", ".join(parts))]


def _depth(manifest: Manifest) -> list[str]:
    """Return the FAISS search parameters for which the recall was measured."""
    return [f"{name} {value}" for name, value in sorted(manifest.search.items(), reverse=True)]


def _left_out(counts: Counts) -> list[tuple[str, str]]:
    """Return rows for rejected and truncated inputs, if any."""
    rows = []
    if counts.rejected:
        unread = count(counts.rejected, "file or record", "files or records")
        rows.append(("rejected", f"{unread} could not be read"))
    if counts.truncated:
        cut = count(counts.truncated, "passage")
        rows.append(("truncated", f"{cut} beyond the embedder's token limit"))
    return rows


@shared("max_length")
def verify(
    index: options.Index = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Keep the intact parts and rebuild the rest.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Fail if another process is writing the index.")
    ] = False,
    *,
    context: Context,
) -> None:
    """Verify the checksum of every file of an index, or repair it.

    The exit code is 1 if a file is damaged. --repair embeds only passages that have lost their
    vectors. Damaged passages are read again from the sources as they are now. The exit code is 3
    if some could not be recovered.

    Examples:
      ettin verify
      ettin verify -i notes-index --repair
    """
    console = context.console
    folder = find_index(index)
    if not repair:
        _check(folder, console)
        return
    request = BuildRequest(
        folder, settings=context.settings, offline=context.offline, wait=not no_wait
    )
    with options.resumable("to resume, run the same command", console):
        report = repair_index(request, console)
    _tell_repaired(report, folder, console)
    if report.lost or (report.built and report.built.rejections):
        raise typer.Exit(options.REJECTED)


def _check(folder: Path, console: Console) -> None:
    damaged = damaged_files(folder)
    for path in damaged:
        console.line(f"damaged: {path}")
    if damaged:
        console.notice(f"to repair it: {options.command('verify', folder)} --repair")
        raise typer.Exit(1)
    number = sum(len(manifest.files) for manifest in _manifests(Index(folder)))
    console.line(f"{folder} is intact: {count(number, 'file')}")


def _tell_repaired(report: RepairReport, folder: Path, console: Console) -> None:
    """Report what was damaged, what was made again and what is lost."""
    for path in report.damaged:
        console.line(f"damaged: {path}")
    if report.built is None or report.built.manifest is None:
        console.line(f"{folder} is intact: nothing to repair")
        return
    for rejection in report.built.rejections:
        console.notice(rejected(rejection))
    for name in report.lost:
        what = f"the records from standard input; pass them again: ettin index - -i {folder}"
        console.notice(f"lost {what if name == '-' else name}")
    embedded = count(report.built.embedded, "passage")
    console.summary(
        f"{folder} is repaired: {embedded} embedded again, {report.built.reused:,} kept, "
        f"{len(report.lost):,} lost"
    )
