"""`--open`: open a hit in the user's editor, or in the default program for its file."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import PureWindowsPath

import typer

from ettin_cli import platforms
from ettin_cli.errors import EttinError
from ettin_cli.files.writers import place
from ettin_cli.records import Hit

# Characters that cmd.exe interprets in an argument of a batch file.
SPECIAL = set('"%&|<>^!\r\n')
EDITORS_OF_PLACES = ("code", "codium", "cursor")


def open_hit(hit: Hit | None, query: str | None) -> None:
    """Open a hit at its best line.

    Args:
        query: The words that the best line has.

    Raises:
        EttinError: The hit has no file, or the editor cannot be run.
    """
    if hit is None or query is None or hit.passage.path is None:
        raise EttinError("no file to open", hint="--open needs a hit that has a path")
    path, line = hit.passage.path, None
    if hit.passage.start_line is not None:
        line = place(hit, query).removeprefix(f"{path}:")
    path = f"./{path}" if path.startswith("-") else path
    editor = _editor()
    if not editor or line is None:
        _launch(path)
        return
    at_line = [f"+{line}", path]
    # The name of a Windows path is also that of others.
    if PureWindowsPath(editor[0]).stem.lower() in EDITORS_OF_PLACES:
        at_line = ["--goto", f"{path}:{line}"]
    try:
        subprocess.run(_runnable([*editor, *at_line]), check=False)
    except OSError as error:
        raise EttinError(f"cannot run {editor[0]}: {error.strerror}", hint="set EDITOR") from error


def _editor() -> list[str]:
    """Return the words of the user's editor; empty if none is set."""
    text = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        return platforms.split_command(text)
    except ValueError as error:
        raise EttinError(f"cannot run {text}: {error}", hint="set EDITOR") from error


def _runnable(words: Sequence[str]) -> list[str]:
    """Return a command whose program Windows finds: `code` there is the batch file code.cmd.

    Raises:
        EttinError: It is a batch file, and a word has a character that cmd.exe would interpret.
    """
    program, *arguments = words
    if platforms.WINDOWS:
        program = shutil.which(program) or program
    batch = program.lower().endswith((".cmd", ".bat"))
    if batch and any(SPECIAL.intersection(word) for word in arguments):
        raise EttinError(
            f"cannot pass {arguments[-1]} to the batch file {program}",
            hint="set EDITOR to a program that ends in .exe",
        )
    return [program, *arguments]


def _launch(path: str) -> None:
    """Open a file in its default program."""
    if not platforms.WINDOWS:
        typer.launch(path)
        return
    # Typer runs `start`, which is no program there, and ignores that it fails.
    try:
        os.startfile(path)  # type: ignore[attr-defined]
    except OSError as error:
        raise EttinError(f"cannot open {path}: {error.strerror}", hint="set EDITOR") from error
