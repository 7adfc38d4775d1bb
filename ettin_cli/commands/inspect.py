"""`ettin info` and `ettin verify`: what an index holds, and whether it is whole."""

from typing import Annotated

import typer

from ettin_cli.commands import options
from ettin_cli.console import Console
from ettin_cli.index import Counts, Index
from ettin_cli.pipeline import out_of_date
from ettin_cli.storage import folder_size


def info(
    index: options.Index = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 when the index is out of date.")
    ] = False,
) -> None:
    """Show what is in an index, how it was made, and what has changed since."""
    folder = options.find_index(index)
    found = Index(folder)
    plan = out_of_date(folder, found)
    manifest, console = found.manifest, Console()
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
        ("size", f"{folder_size(found.generation) / 1e6:,.1f} MB"),
        *(("source", source.location) for source in manifest.sources),
        (
            "since",
            f"{len(plan.new)} new, {len(plan.changed)} changed, {len(plan.gone)} gone",
        ),
    ]
    console.rows(["", ""], rows)
    if check and not plan.up_to_date:
        console.notice(f"{folder} is out of date: ettin index -i {folder}")
        raise typer.Exit(1)


def _left_out(counts: Counts) -> list[tuple[str, str]]:
    """Return what of the sources cannot be found, if anything."""
    rows = []
    if counts.rejected:
        rows.append(("rejected", f"{counts.rejected:,} files or records could not be read"))
    if counts.truncated:
        rows.append(("truncated", f"{counts.truncated:,} passages, beyond what the embedder reads"))
    return rows


def verify(index: options.Index = None) -> None:
    """Check every file of an index by its checksum; exit with 1 if one is damaged."""
    folder = options.find_index(index)
    found, console = Index(folder), Console()
    damaged = found.damaged_files()
    for path in damaged:
        console.line(f"damaged: {path}")
    if damaged:
        console.notice(f"rebuild it: ettin index -i {folder} --rebuild")
        raise typer.Exit(1)
    console.line(f"{folder} is whole: {len(found.manifest.files)} files")
