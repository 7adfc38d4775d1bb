"""Build the `ettin` command and turn expected failures into exit codes."""

import os
import signal
import sys
from typing import Annotated

import typer

from ettin_cli import __version__
from ettin_cli.commands import cache, models
from ettin_cli.commands.demo import demo
from ettin_cli.commands.eval import evaluate
from ettin_cli.commands.index import index
from ettin_cli.commands.inspect import info, verify
from ettin_cli.commands.rerank import rerank
from ettin_cli.commands.score import score
from ettin_cli.commands.search import search
from ettin_cli.console import Console
from ettin_cli.errors import EttinError

TERMINATED = 143

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
for command in (index, search, rerank, score, demo, info, verify):
    app.command()(command)
app.command("eval")(evaluate)
app.add_typer(models.app, name="models")
app.add_typer(cache.app, name="cache")


def _version(wanted: bool) -> None:
    if wanted:
        Console().line(f"ettin {__version__}")
        raise typer.Exit


@app.callback()
def ettin(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Two-stage retrieval: retrieve with embeddings, rerank with Ettin cross-encoders.

    Begin with: ettin demo, or ettin search "what to look for" FOLDER
    """


def main() -> None:
    """Run `ettin`; the one place where an expected failure becomes a message."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except EttinError as error:
        if os.environ.get("ETTIN_DEBUG") == "1":
            raise
        Console().error(error)
        raise SystemExit(error.exit_code) from None


def _terminated(_signal: int, _frame: object) -> None:
    sys.exit(TERMINATED)
