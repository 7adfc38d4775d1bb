"""`ettin demo`: index and search the corpus that ships with the package."""

from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.commands import options
from ettin_cli.commands.context import Color
from ettin_cli.commands.index import index
from ettin_cli.commands.search import search
from ettin_cli.console import Console, count
from ettin_cli.corpus import ISLAND_STATION, copy_samples, sample_corpus
from ettin_cli.models import EMBEDDED
from ettin_cli.platforms import command_line
from ettin_cli.settings import INDEXES, cache_folder

QUESTIONS = (
    "what do I do when somebody gets hurt",
    "the generator does not start",
    "can I bring my dog",
)


def demo(
    copy: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Copy the sample corpora into FOLDER instead; nothing there is overwritten.",
        ),
    ] = None,
    color: Color = "auto",
) -> None:
    """Index a sample corpus and answer questions about it, offline.

    Nothing is downloaded. The demo prints the commands it runs, so you can vary them.

    Examples:
      ettin demo
      ettin demo --copy sample_corpora
    """
    console = Console(color=color)
    if copy is not None:
        _copy(copy, console)
        return
    corpus = shortest(sample_corpus(ISLAND_STATION))
    folder = cache_folder() / INDEXES / "demo"
    # Another installation, with its corpus elsewhere, may have made the folder.
    rebuild = folder.exists()
    shown = ["index", str(corpus), "-i", str(folder), *(["--rebuild"] if rebuild else [])]
    _announce(console, shown)
    try:
        index([str(corpus)], index=folder, rebuild=rebuild, offline=True, color=color)
    except typer.Exit as end:
        if end.exit_code != options.REJECTED:
            raise
    for question in QUESTIONS:
        _announce(console, ["search", question, "-i", str(folder), "-r", EMBEDDED, "-k", "3"])
        search(question, index=folder, reranker=EMBEDDED, top_k=3, format="table", color=color)
    console.line("")
    console.line("To try more on a copy of the sample corpora:")
    console.line("  ettin demo --copy sample_corpora")
    console.line("To search your own documents, with Ettin 32m if the hub can be reached:")
    console.line(f"  {command_line(['ettin', 'search', 'what to look for', 'FOLDER'])}")


def _copy(folder: Path, console: Console) -> None:
    """Copy the sample corpora, and report which files were there already."""
    made = copy_samples(folder)
    present = f", {made.present} already there" if made.present else ""
    console.notice(f"{folder}: {count(made.copied, 'file')} copied{present}")
    for path in made.kept:
        console.notice(f"{path} is kept, since it has other content than the sample")


def _announce(console: Console, words: list[str]) -> None:
    console.line("")
    console.line(f"$ ettin {command_line(words)}")


def shortest(path: Path) -> Path:
    """Return a path relative to the working folder if it is below it, else unchanged."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
