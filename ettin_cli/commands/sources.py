"""SOURCE in commands that search: files and folders with an index in the cache."""

import os
from pathlib import Path

from ettin_cli.commands import options
from ettin_cli.commands.context import Context
from ettin_cli.commands.index import report_build
from ettin_cli.index import Index


def index_of(sources: list[str], index: Path | None, context: Context) -> tuple[Index, bool]:
    """Return an up-to-date index of the sources, and whether any input was rejected."""
    if index == Path(os.environ.get("ETTIN_INDEX") or os.devnull):
        # ETTIN_INDEX is searched without SOURCE; a search must not add to it.
        index = None
    with options.resumable("to resume, run the same command", context.console):
        opened, report = context.session.index_of(map(options.stdin_or, sources), into=index)
    if report.written or report.rejections:
        report_build(report, opened.folder, context.console)
    return opened, bool(report.rejections)
