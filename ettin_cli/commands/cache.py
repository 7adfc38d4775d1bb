"""`ettin cache`: list and clear the cache folder."""

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from ettin_cli.collections import FOOTERS, LISTINGS
from ettin_cli.commands import options
from ettin_cli.commands.context import Color, make_console
from ettin_cli.commands.help import PlainCommand, PlainGroup
from ettin_cli.console import Console, count, size
from ettin_cli.errors import EttinError, IndexBusyError, OutputError, UsageError
from ettin_cli.index import read_manifest, writing
from ettin_cli.models import recall
from ettin_cli.records import Silence
from ettin_cli.settings import INDEXES, cache_folder
from ettin_cli.storage import folder_size

DAY_S = 86_400
# Files of datasets with their commits, and the rows and columns of those in Parquet.
RECORDS = (LISTINGS, FOOTERS)

app = typer.Typer(cls=PlainGroup, add_completion=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def cache(context: typer.Context) -> None:
    """List and clear the cache: indexes of SOURCE, scores of ettin eval.

    Without COMMAND, the entries are listed. ETTIN_CACHE_DIR sets the folder. It also has records
    of the datasets of the hub; their files, and models, are not in it.

    Examples:
      ettin cache
      ettin cache clear --older-than 30
    """
    if context.invoked_subcommand is None:
        list_cache()


@app.command("list", cls=PlainCommand)
def list_cache(color: Color = "auto") -> None:
    """List the entries of the cache with size and time of last use.

    Example:
      ettin cache list
    """
    console = make_console(color)
    rows = [
        [name, size(_size(path)), _age(path), _sources(path)] for name, path in entries().items()
    ]
    if rows:
        console.rows(["entry", "size", "last used", "of"], rows, right="size")
    held = count(len(rows), "entry", "entries")
    console.notice(f"{cache_folder()}: {held}, {size(_total())}")


@app.command("clear", cls=PlainCommand)
def clear(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="ENTRY", help="Names from ettin cache list; all by default."),
    ] = None,
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, help="Only entries not used for this many days."),
    ] = None,
) -> None:
    """Remove entries of the cache, or all of them.

    Removed entries are recreated when they are needed. Without the record of a dataset, the hub is
    asked for its newest commit.

    Examples:
      ettin cache clear                      # all of it
      ettin cache clear datasets.json
      ettin cache clear --older-than 30
      ettin cache clear indexes/docs-9a5742bc7e883700
    """
    console = Console()
    known = entries()
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise UsageError(f"unknown cache entry {unknown[0]!r}", hint="ettin cache list")
    removed = freed = 0
    for name in dict.fromkeys(names or known):
        path = known[name]
        if older_than is not None and time.time() - path.stat().st_mtime < older_than * DAY_S:
            continue
        room = _size(path)
        try:
            _remove(path)
        except IndexBusyError as error:
            console.notice(f"kept {name}: {error.problem}")
        except OSError as error:
            raise OutputError(f"cannot remove {path}: {error.strerror}") from error
        else:
            removed, freed = removed + 1, freed + room
    console.notice(f"{count(removed, 'entry', 'entries')} removed, {size(freed)} freed")


def entries() -> dict[str, Path]:
    """Return the cache entries by name, most recently used first.

    Of small files, those with records of datasets are listed.
    """
    records = [path for name in RECORDS if (path := cache_folder() / name).is_file()]
    paths = [*cache_folder().glob("*/*"), *records]
    paths.sort(key=lambda path: -path.stat().st_mtime)
    return {path.relative_to(cache_folder()).as_posix(): path for path in paths}


def _remove(path: Path) -> None:
    if path.parent.name == INDEXES:
        # Fails while another process is writing the index.
        with writing(path, wait=False, reporter=Silence()):
            pass
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _sources(path: Path) -> str:
    """Return the recorded sources of an index, or the datasets of a record; else ""."""
    if path.parent == cache_folder():
        known = (key.partition("@")[0] for key, value in recall(path.name).items() if value)
        return " ".join(sorted(set(known)))
    if path.parent.name != INDEXES:
        return ""
    try:
        sources = read_manifest(path).sources
    except EttinError:
        return ""
    return " ".join(options.recorded(path, source) for source in sources)


def _size(path: Path) -> int:
    return folder_size(path) if path.is_dir() else path.stat().st_size


def _total() -> int:
    return folder_size(cache_folder()) if cache_folder().is_dir() else 0


def _age(path: Path) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
