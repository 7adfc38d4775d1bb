"""Build the `ettin` command and turn expected failures into exit codes."""

import io
import os
import sys
from collections.abc import Mapping
from typing import Annotated, ClassVar

import typer

from ettin_cli import __version__, console
from ettin_cli.commands import LazyGroup, Listed, hint_of
from ettin_cli.errors import (
    INTERRUPTED,
    TERMINATED,
    EttinError,
    InvalidArgumentError,
    missing_torch,
)
from ettin_cli.platforms import piped
from ettin_cli.runtime import interruption, quieten


class Commands(LazyGroup):
    """The commands of `ettin`; the module of a command is imported when it is called."""

    listed: ClassVar[Mapping[str, Listed]] = {
        "index": Listed(
            "ettin_cli.commands.index:index",
            "Build an index of one or more sources, or update it.",
        ),
        "search": Listed(
            "ettin_cli.commands.search:search",
            "Retrieve passages for a query, rerank them, print the best.",
        ),
        "rerank": Listed(
            "ettin_cli.commands.rerank:rerank",
            "Rerank candidates that another system retrieved.",
        ),
        "score": Listed(
            "ettin_cli.commands.score:score",
            "Score how well each TEXT answers QUERY, best first.",
        ),
        "mine": Listed(
            "ettin_cli.commands.mine:mine",
            "Mine hard negatives: passages that rank high but are not positive.",
        ),
        "eval": Listed(
            "ettin_cli.commands.eval:evaluate",
            "Evaluate on judged queries: does reranking help, and at which depth?",
        ),
        "train": Listed(
            "ettin_cli.commands.train:train",
            "Train a reranker on teacher scores, or on positives and negatives.",
        ),
        "serve": Listed(
            "ettin_cli.commands.serve:serve",
            "Rerank, embed and search for other programs, over HTTP.",
        ),
        "mcp": Listed(
            "ettin_cli.commands.mcp:mcp",
            "Search, read and rerank for agents, over stdin and stdout.",
        ),
        "bench": Listed(
            "ettin_cli.commands.bench:bench",
            "Compare the speed of rerankers with sentence-transformers.",
        ),
        "demo": Listed(
            "ettin_cli.commands.demo:demo",
            "Index a sample corpus and answer questions about it, offline.",
        ),
        "info": Listed(
            "ettin_cli.commands.inspect:info",
            "Show what an index holds, and which files have changed since.",
        ),
        "verify": Listed(
            "ettin_cli.commands.inspect:verify",
            "Verify the checksum of every file of an index, or repair it.",
        ),
        "models": Listed(
            "ettin_cli.commands.models:app",
            "List, show and download models.",
        ),
        "cache": Listed(
            "ettin_cli.commands.cache:app",
            "List and clear the cache: indexes of SOURCE, scores of ettin eval.",
        ),
    }


app = typer.Typer(
    cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)


def _version(wanted: bool) -> None:
    if wanted:
        console.Console().line(f"ettin {__version__}")
        raise typer.Exit


@app.callback()
def ettin(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Two-stage retrieval: retrieve candidates, rerank them with Ettin.

    Start with one of these:
      ettin demo
      ettin search "what to look for" FOLDER
    """


def main() -> None:
    """Run `ettin`, and print expected failures as messages."""
    try:
        _open_streams()
        quieten()
        with interruption.heeded():
            _run()
    except KeyboardInterrupt:
        # Interrupted before the command began, or while its end was being reported.
        console.Console().notice("interrupted")
        raise SystemExit(INTERRUPTED) from None


def _run() -> None:
    try:
        # It would expand globs in every argument, also in queries.
        app(windows_expand_args=False)
    except BaseException as error:
        code = interruption.struck() or (isinstance(error, KeyboardInterrupt) and INTERRUPTED)
        if code and not _is_done(error):
            _cut_short(error, code)
            raise SystemExit(code) from None
        # Typer exits with 1 when the reader of a pipe has gone, if it is told by EPIPE.
        cause = error.__context__ if isinstance(error, SystemExit) else error
        if isinstance(cause, BrokenPipeError):
            console.quietly_closed()
            raise SystemExit(0) from None
        failure = missing_torch(error) or error
        if isinstance(failure, (EttinError, OSError)) and os.environ.get("ETTIN_DEBUG") != "1":
            raise SystemExit(_reported(failure)) from None
        raise


def _is_done(error: BaseException) -> bool:
    """Return whether a command had finished its work before the signal came."""
    unfinished = (EttinError.exit_code, InvalidArgumentError.exit_code, INTERRUPTED, TERMINATED)
    return isinstance(error, SystemExit) and error.code not in unfinished


def _cut_short(error: BaseException, code: int) -> None:
    """Report that a signal ended the command, whichever exception that became on its way here."""
    ended = isinstance(error, SystemExit) and error.code == code
    if not ended:
        interruption.show(error)
    # A command that has printed how to resume raises without a context.
    if code == INTERRUPTED and not (ended and error.__suppress_context__):
        console.Console().notice("interrupted")


def _open_streams() -> None:
    """Open stdout and stderr if they are missing, and let them escape what they cannot encode."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w")))
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = piped(sys.stdout)


def _reported(error: EttinError | OSError) -> int:
    """Print what failed, and return the exit code."""
    if isinstance(error, EttinError):
        console.Console().error(error.problem, hint_of(error))
        return error.exit_code
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else "reading or writing failed: "
    console.Console().error(f"{where}{what}", "set ETTIN_DEBUG=1 for a traceback")
    # Flushing the rest to a full disk at exit would fail again.
    console.quietly_closed()
    return 1
