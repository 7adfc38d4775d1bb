"""`ettin cache`: what our cache folder holds, and clearing it."""

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.console import Console
from ettin_cli.errors import IndexBusyError, OutputError, UsageError
from ettin_cli.index import writing
from ettin_cli.records import Silence
from ettin_cli.settings import INDEXES, cache_folder
from ettin_cli.storage import folder_size

DAY_S = 86_400

app = typer.Typer(help="List and clear our cache: indexes of SOURCE, exports, scores.")


@app.callback(invoke_without_command=True)
def cache(context: typer.Context) -> None:
    """List and clear our cache: indexes of SOURCE, exports, scores."""
    if context.invoked_subcommand is None:
        list_cache()


@app.command("list")
def list_cache() -> None:
    """List what the cache holds, with sizes and when each was last used."""
    console = Console()
    rows = [
        [f"{path.parent.name}/{path.name}", f"{_size(path) / 1e6:,.1f} MB", _age(path)]
        for path in entries()
    ]
    if rows:
        console.rows(["entry", "size", "last used"], rows, right="size")
    console.notice(f"{cache_folder()}: {_total() / 1e6:,.1f} MB in {len(rows)} entries")


@app.command("clear")
def clear(
    names: Annotated[
        list[str] | None, typer.Argument(help="Entries as they are listed; all if left out.")
    ] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, help="Only what was not used for this many days.")
    ] = None,
) -> None:
    """Remove entries of the cache; what they held is made again when it is needed."""
    console = Console()
    known = {f"{path.parent.name}/{path.name}": path for path in entries()}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise UsageError(f"no entry {unknown[0]} in the cache", hint="ettin cache list")
    freed = 0
    for name in names or known:
        path = known[name]
        if older_than is not None and time.time() - path.stat().st_mtime < older_than * DAY_S:
            continue
        size = _size(path)
        try:
            _remove(path)
        except IndexBusyError as error:
            console.notice(f"{name} is left alone: {error.problem}")
        except OSError as error:
            raise OutputError(f"cannot remove {path}: {error.strerror}") from error
        else:
            freed += size
    console.notice(f"{freed / 1e6:,.1f} MB freed")


def entries() -> list[Path]:
    """Return what is kept, the most recently used first; small facts are not counted."""
    groups = cache_folder().glob("*/*")
    return sorted(groups, key=lambda path: -path.stat().st_mtime)


def _remove(path: Path) -> None:
    if path.parent.name == INDEXES:
        # An index that is being written belongs to the process that writes it.
        with writing(path, wait=False, reporter=Silence()):
            pass
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _size(path: Path) -> int:
    return folder_size(path) if path.is_dir() else path.stat().st_size


def _total() -> int:
    return folder_size(cache_folder()) if cache_folder().is_dir() else 0


def _age(path: Path) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
