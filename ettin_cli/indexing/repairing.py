"""Repair an index: keep what is whole, read again what can be, embed only what has no vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.errors import CorpusError
from ettin_cli.index import (
    FileEntry,
    Generation,
    Index,
    RecordedSource,
    Remains,
    forget_unfinished,
    remove_leftovers,
    writing,
)
from ettin_cli.indexing.building import BuildReport, Run, disk_errors
from ettin_cli.indexing.planning import Plan, base_of, is_there, make_plan
from ettin_cli.indexing.requests import BuildRequest, settle_recipe
from ettin_cli.records import Reporter
from ettin_cli.storage import STREAM

if TYPE_CHECKING:
    from ettin_cli.index import Passages


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair found and did; `built` is None if there was nothing to do.

    Args:
        damaged: Paths of the files that were damaged or missing.
        lost: Names of the files or documents that could be had from nowhere; "-" stands for the
            records from standard input.
    """

    damaged: Sequence[str]
    built: BuildReport | None = None
    lost: Sequence[str] = ()


def repair_index(request: BuildRequest, reporter: Reporter) -> RepairReport:
    """Make a damaged index whole, as a new generation, and say what that took.

    Where the passages and the list of files are whole the sources are not looked at; else they
    are read as they are now. A text that has a vector which can be relied on keeps it.

    Raises:
        IndexDamagedError: The manifest is damaged.
        IndexMismatchError: The embedder is not what it was.
        CorpusError: A source is gone that is needed.
    """
    folder = request.folder
    with writing(folder, wait=request.wait, reporter=reporter), disk_errors(folder):
        remains = Remains(folder)
        damaged = [str(remains.generation / name) for name in remains.damaged]
        if not damaged:
            remove_leftovers(folder)
            forget_unfinished(folder, remains.manifest.embedder)
            return RepairReport(damaged)
        files, recipe = settle_recipe(request, remains.manifest, reporter)
        sources = remains.manifest.sources
        passages = remains.passages
        if passages is not None and remains.knows_files:
            run = Run(request, recipe, files, remains, Plan(), reporter)
            entries = partial(_copied, run.generation, passages, remains.files)
            return RepairReport(damaged, run.complete(entries, sources))
        sources = _sources(remains, folder)
        plan = make_plan(folder, sources, remains)
        built = Run(request, recipe, files, remains, plan, reporter).finish(sources)
        return RepairReport(damaged, built, _lost(remains, plan, folder))


def _copied(
    generation: Generation, passages: Passages, files: Sequence[FileEntry]
) -> list[FileEntry]:
    """Copy every passage of the old generation, whose files are as they are listed."""
    entries = []
    for number, entry in enumerate(files):
        entries.append(replace(entry, first=generation.passages.rows))
        generation.passages.copy(passages.table.slice(entry.first, entry.passages), number)
    return entries


def _sources(remains: Remains, folder: Path) -> tuple[RecordedSource, ...]:
    """Return the sources whose documents can be had, from themselves or from what is whole."""
    for source in remains.manifest.sources:
        if not is_there(source, folder):
            location = base_of(folder) / source.location
            raise CorpusError(
                f"cannot repair {folder}: source {location} is gone",
                code="cannot-repair",
                folder=folder,
                source=location,
            )
    kept = remains.passages is not None and any(not entry.path for entry in remains.files)
    return tuple(s for s in remains.manifest.sources if kept or s.location != STREAM)


def _lost(remains: Remains, plan: Plan, folder: Path) -> list[str]:
    lost = plan.gone
    if remains.passages is not None:
        before = dict.fromkeys(remains.passages.table.column("doc_id").to_pylist())
        now = set(Index(folder).doc_ids())
        lost = [doc_id for doc_id in before if doc_id not in now]
    without = len(plan.sources) < len(remains.manifest.sources)
    return [STREAM, *lost] if without and STREAM not in lost else lost
