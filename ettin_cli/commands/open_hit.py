"""`--open`: open a hit in the user's editor, or in the default program for its file."""

import os
import shlex
import subprocess
from pathlib import Path

import typer

from ettin_cli.errors import EttinError
from ettin_cli.files.writers import place
from ettin_cli.records import Hit

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
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not editor or line is None:
        typer.launch(path)
        return
    at_line = [f"+{line}", path]
    if Path(editor[0]).stem in EDITORS_OF_PLACES:
        at_line = ["--goto", f"{path}:{line}"]
    try:
        subprocess.run([*editor, *at_line], check=False)
    except OSError as error:
        raise EttinError(f"cannot run {editor[0]}: {error.strerror}", hint="set EDITOR") from error
