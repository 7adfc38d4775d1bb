"""`ettin info` and `ettin verify`: what an index holds, and whether it is whole."""

from typing import Annotated

import typer

from ettin_cli.commands import options
from ettin_cli.console import count, size
from ettin_cli.index import Counts, Index
from ettin_cli.pipeline import out_of_date
from ettin_cli.storage import folder_size


def info(
    index: options.Index = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 when the index is out of date.")
    ] = False,
    color: options.Color = "auto",
) -> None:
    """Show what is in an index, and what has changed since.

    Files of the sources that are new, changed or gone are counted; ettin index brings the index
    up to date.

    Examples:
      ettin info
      ettin info -i notes-index
      ettin info --check || ettin index      # in a script
    """
    console = options.console(color)
    folder = options.find_index(index)
    found = Index(folder)
    plan = out_of_date(folder, found)
    manifest = found.manifest
    named: dict[object, str] = {None: "whole documents", "auto": "of what the embedder reads"}
    chunks = named.get(manifest.chunk_size, f"of up to {manifest.chunk_size} tokens")
    rows = [
        ("index", str(folder)),
        ("documents", f"{manifest.counts.documents:,}"),
        *_left_out(manifest.counts),
        ("passages", f"{manifest.counts.passages:,} ({chunks}, overlap {manifest.chunk_overlap})"),
        ("embedder", f"{manifest.embedder.name} ({manifest.embedder.weights[:12]})"),
        ("vectors", f"{manifest.embedder.dimension} dimensions, {manifest.factory}"),
        ("recall", f"{manifest.recall:.3f} of the exact top 100"),
        ("made", manifest.created),
        ("size", size(folder_size(found.generation))),
        *(("source", options.recorded(folder, source)) for source in manifest.sources),
        (
            "since",
            f"{len(plan.new):,} new, {len(plan.changed):,} changed, {len(plan.gone):,} gone",
        ),
    ]
    console.rows(["", ""], rows)
    if check and not plan.up_to_date:
        console.notice(f"{folder} is out of date: {options.refresh(folder)}")
        raise typer.Exit(1)


def _left_out(counts: Counts) -> list[tuple[str, str]]:
    """Return what of the sources cannot be found, if anything."""
    rows = []
    if counts.rejected:
        unread = count(counts.rejected, "file or record", "files or records")
        rows.append(("rejected", f"{unread} could not be read"))
    if counts.truncated:
        cut = count(counts.truncated, "passage")
        rows.append(("truncated", f"{cut} longer than what the embedder reads"))
    return rows


def verify(index: options.Index = None, color: options.Color = "auto") -> None:
    """Check every file of an index by its checksum.

    The exit code is 1 if one of them is damaged.

    Examples:
      ettin verify
      ettin verify -i notes-index
    """
    console = options.console(color)
    folder = options.find_index(index)
    found = Index(folder)
    damaged = found.damaged_files()
    for path in damaged:
        console.line(f"damaged: {path}")
    if damaged:
        console.notice(f"rebuild it: {options.refresh(folder)} --rebuild")
        raise typer.Exit(1)
    console.line(f"{folder} is whole: {count(len(found.manifest.files), 'file')}")
