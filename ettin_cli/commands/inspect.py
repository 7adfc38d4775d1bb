"""`ettin info`, `ettin verify` and `ettin models`: what is there, and whether it is whole."""

from typing import Annotated

import typer

from ettin_cli.commands import options
from ettin_cli.console import Console
from ettin_cli.hub import EMBEDDED, on_this_machine
from ettin_cli.index import Index
from ettin_cli.pipeline import out_of_date
from ettin_cli.settings import ETTIN_MODELS, MINILM_ID
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
    chunks = "whole documents" if manifest.chunk_size is None else f"{manifest.chunk_size} tokens"
    rows = [
        ("index", str(folder)),
        ("documents", f"{manifest.counts.documents:,}"),
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


def models() -> None:
    """List the models known by name, with their published quality and whether they are here."""
    rows = [
        [
            model.alias,
            model.hub_id,
            f"{model.parameters / 1e6:,.0f}M",
            f"{model.max_tokens:,}",
            f"{model.ndcg10:.4f}",
            "yes" if on_this_machine(model.alias) else "no",
        ]
        for model in ETTIN_MODELS.values()
    ]
    here = "yes" if on_this_machine(EMBEDDED) else "no"
    rows.append([EMBEDDED, f"{MINILM_ID}, no Ettin: a stand-in", "23M", "256", "", here])
    headers = ["name", "model", "size", "tokens", "nDCG@10", "here"]
    Console().rows(headers, rows, right="size tokens nDCG@10")
