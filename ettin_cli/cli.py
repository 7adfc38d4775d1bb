"""Build the `ettin` command and turn expected failures into exit codes."""

import io
import os
import signal
import sys
from typing import Annotated

import typer

from ettin_cli import __version__
from ettin_cli.commands import cache, models, options
from ettin_cli.commands.bench import bench
from ettin_cli.commands.demo import demo
from ettin_cli.commands.eval import evaluate
from ettin_cli.commands.help import PlainCommand, PlainGroup
from ettin_cli.commands.index import index
from ettin_cli.commands.inspect import info, verify
from ettin_cli.commands.rerank import rerank
from ettin_cli.commands.score import score
from ettin_cli.commands.search import search
from ettin_cli.console import Console, quietly_closed
from ettin_cli.errors import EttinError

app = typer.Typer(
    cls=PlainGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)
for command in (index, search, rerank, score, bench, demo, info, verify):
    app.command(cls=PlainCommand)(command)
app.command("eval", cls=PlainCommand)(evaluate)
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
    """Two-stage retrieval: retrieve with embeddings, rerank with Ettin.

    Begin with one of these:
      ettin demo
      ettin search "what to look for" FOLDER
    """


def main() -> None:
    """Run `ettin`; the one place where an expected failure becomes a message."""
    signal.signal(signal.SIGTERM, _terminated)
    _open_streams()
    try:
        app()
    except (EttinError, OSError) as error:
        if os.environ.get("ETTIN_DEBUG") == "1":
            raise
        raise SystemExit(_told(error)) from None
    except SystemExit as end:
        # Typer makes an exit code of 1 of a pipe whose reader has gone.
        if isinstance(end.__context__, BrokenPipeError):
            quietly_closed()
            raise SystemExit(0) from None
        # A command that says how to go on has said so without a context.
        if end.code == options.INTERRUPTED and not end.__suppress_context__:
            Console().notice("interrupted")
        raise


def _open_streams() -> None:
    """Give a process that was started without stdout or stderr a place to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w")))


def _told(error: EttinError | OSError) -> int:
    """Say what failed, and return the exit code."""
    if isinstance(error, EttinError):
        Console().error(error)
        return error.exit_code
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else "reading or writing failed: "
    Console().error(EttinError(f"{where}{what}", hint="ETTIN_DEBUG=1 shows where"))
    # What is left to write to a full disk would fail once more at the very end.
    quietly_closed()
    return 1


def _terminated(_signal: int, _frame: object) -> None:
    sys.exit(options.TERMINATED)
