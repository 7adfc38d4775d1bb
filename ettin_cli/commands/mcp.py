"""`ettin mcp`: search, read and rerank for agents, over stdin and stdout."""

import os
import shutil
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.commands import options
from ettin_cli.commands.context import Color, make_console
from ettin_cli.console import Console
from ettin_cli.errors import EttinError, IndexNotFoundError, UsageError
from ettin_cli.index import find_index, index_name, read_manifest
from ettin_cli.platforms import relative
from ettin_cli.serving.mcp import (
    SNIPPETS,
    Connection,
    Indexed,
    Routes,
    Tools,
    Wanted,
    bridge,
    claim_streams,
    instructions,
    prefix_of,
    require_mcp,
    update_index,
)
from ettin_cli.settings import AUTO


def mcp(
    index: options.Index = None,
    reranker: Annotated[
        str,
        typer.Option(
            "--reranker",
            "-r",
            metavar="MODEL",
            envvar="ETTIN_RERANKER",
            help="auto, 17m, 32m, 68m, 150m, 400m, 1b, embedded, none, a hub id or a folder.",
        ),
    ] = AUTO,
    allow_update: Annotated[
        bool, typer.Option("--allow-update", help="Let agents update the index.")
    ] = False,
    install: Annotated[
        str | None,
        typer.Option(
            metavar="AGENT",
            help=f"Print the settings for an agent, and end: {', '.join(SNIPPETS)}.",
        ),
    ] = None,
    color: Color = "auto",
) -> None:
    """Search, read and rerank for agents, over stdin and stdout.

    This is a server of the Model Context Protocol: an agent starts it, and ends it by closing its
    stdin. Its tools are search, fetch, rerank and status. The models are in another process, which
    several agents share and which is started if none is running.

    INDEX defaults to `.ettin` in the current folder or a parent.

    Examples:
      ettin mcp --install claude-code
      ettin mcp -i notes/.ettin -r 32m
    """
    console = make_console(color)
    require_mcp()
    if not hasattr(socket, "AF_UNIX"):
        raise EttinError(
            "ettin mcp needs Unix sockets, which this system lacks",
            hint="start ettin serve, and connect the agent to http://127.0.0.1:7480/mcp",
        )
    if install is not None:
        _show(install, index, reranker, console, allow_update=allow_update)
        return
    if os.isatty(0):
        console.notice("waiting for an agent on stdin; --install AGENT prints its settings")
    streams = claim_streams()
    folder = _folder(index)
    # An index that is made later is found by the next call.
    wanted = Wanted(_reranker(reranker), lambda: prefix_of(folder or _folder(None)))
    connection = Connection(wanted)
    tools = Tools(
        Routes(connection.client, connection.lost),
        here=_here,
        update=partial(update_index, folder) if allow_update and folder else None,
    )
    raise typer.Exit(bridge(streams, connection, tools, instructions(_indexed(folder))))


def _folder(index: Path | None) -> Path | None:
    """Return the folder of the index; None if none is given and there is none here."""
    named = index or os.environ.get("ETTIN_INDEX")
    try:
        folder = find_index(index)
    except IndexNotFoundError:
        return None
    if named:
        read_manifest(folder)
    return folder.resolve()


def _reranker(name: str) -> str:
    """Return the name of a reranker for a process with another working folder."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def _here(path: str) -> str:
    """Return a path below the root folder, in which the server runs, relative to this one."""
    return relative(f"/{path}")


def _indexed(folder: Path | None) -> list[Indexed]:
    if folder is None:
        return []
    sources = [source.location for source in read_manifest(folder).sources]
    return [Indexed(index_name(folder), sources)]


def _show(
    agent: str, index: Path | None, reranker: str, console: Console, *, allow_update: bool
) -> None:
    """Print the settings with which an agent starts this command."""
    if agent not in SNIPPETS:
        raise UsageError(f"unknown agent {agent!r}", hint=", ".join(SNIPPETS))
    words = [shutil.which("ettin") or str(Path(sys.argv[0]).resolve()), "mcp"]
    words += ["-i", str(index.resolve())] if index else []
    words += ["-r", _reranker(reranker)] if reranker != AUTO else []
    words += ["--allow-update"] if allow_update else []
    snippet = SNIPPETS[agent]
    console.line(snippet.text(words))
    console.notice(snippet.where)
