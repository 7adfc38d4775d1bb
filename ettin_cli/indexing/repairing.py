"""Repair an index: keep intact parts, reread sources, embed only passages without a vector."""

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
    IntactParts,
    RecordedSource,
    damaged_files,
    forget_unfinished,
    read_manifest,
    remove_leftovers,
    remove_unnamed,
    writing,
)
from ettin_cli.indexing.building import BuildReport, GenerationBuild, disk_errors, require_whole
from ettin_cli.indexing.drafts import OldShards
from ettin_cli.indexing.planning import IndexPlan, base_of, is_there, make_plan
from ettin_cli.indexing.requests import BuildRequest, Division, settle_recipe
from ettin_cli.indexing.sharding import ShardedBuild, intact_shards
from ettin_cli.records import Reporter
from ettin_cli.storage import STREAM

if TYPE_CHECKING:
    from ettin_cli.index import Passages


@dataclass(frozen=True, slots=True)
class RepairReport:
    """The result of a repair; `built` is None if nothing was damaged.

    Args:
        damaged: Paths of the damaged or missing files.
        lost: Names of the files or documents that could not be recovered; "-" stands for the
            records from standard input.
    """

    damaged: Sequence[str]
    built: BuildReport | None = None
    lost: Sequence[str] = ()


def repair_index(request: BuildRequest, reporter: Reporter) -> RepairReport:
    """Rebuild a damaged index as a new generation, and return a report.

    If the passages and the list of files are intact, the sources are not read; else they are read
    in their current state. Texts with an intact vector keep it.

    Raises:
        IndexDamagedError: The manifest is damaged.
        IndexMismatchError: The embedder has changed.
        CorpusError: A required source is gone.
    """
    folder = request.folder
    require_whole(folder)
    with writing(folder, wait=request.wait, reporter=reporter), disk_errors(folder):
        if read_manifest(folder).shards:
            return _repair_shards(request, reporter)
        remains = IntactParts(folder)
        damaged = [str(remains.generation / name) for name in remains.damaged]
        if not damaged:
            remove_leftovers(folder)
            forget_unfinished(folder, remains.manifest.embedder)
            return RepairReport(damaged)
        files, recipe = settle_recipe(request, remains.manifest, reporter)
        sources = remains.manifest.sources
        passages = remains.passages
        if passages is not None and remains.knows_files:
            recipe = replace(recipe, reading=remains.manifest.reading)
            run = GenerationBuild(request, recipe, files, remains, reporter)
            entries = partial(_copied, run.generation, passages, remains.files)
            return RepairReport(damaged, run.complete(entries, sources))
        sources = _sources(remains, folder)
        plan = make_plan(folder, sources, remains)
        built = GenerationBuild(request, recipe, files, remains, reporter).finish(plan, sources)
        return RepairReport(damaged, built, _lost(remains, plan, folder))


def _repair_shards(request: BuildRequest, reporter: Reporter) -> RepairReport:
    """Make the damaged shards of an index again."""
    folder, manifest = request.folder, read_manifest(request.folder)
    damaged = damaged_files(folder)
    if not damaged:
        remove_leftovers(folder)
        remove_unnamed(folder)
        forget_unfinished(folder, manifest.embedder)
        return RepairReport(damaged)
    files, recipe = settle_recipe(request, manifest, reporter)
    remains = intact_shards(folder, manifest, damaged)
    if remains.complete:
        recipe = replace(recipe, reading=manifest.reading)
        run = ShardedBuild(request, recipe, files, Division(), manifest, remains, reporter)
        return RepairReport(damaged, run.complete(manifest.sources))
    sources = _sources(remains, folder)
    plan = make_plan(folder, sources, remains)
    run = ShardedBuild(request, recipe, files, Division(), manifest, remains, reporter)
    built = run.finish(plan, sources)
    without = remains.lost_stream or len(plan.sources) < len(manifest.sources)
    lost = [*([STREAM] if without else []), *plan.gone, *_lost_documents(remains, folder)]
    return RepairReport(damaged, built, list(dict.fromkeys(lost)))


def _lost_documents(remains: OldShards, folder: Path) -> list[str]:
    """Return the documents that the index lacks now, of shards whose list of files was lost."""
    listless = [
        shard.passages
        for shard in remains.shards
        if isinstance(shard, IntactParts) and shard.passages is not None and not shard.knows_files
    ]
    if not listless:
        return []
    with Index(folder) as index:
        now = set(index.doc_ids())
    before = [one for part in listless for one in part.table.column("doc_id").to_pylist()]
    return [doc_id for doc_id in dict.fromkeys(before) if doc_id not in now]


def _copied(
    generation: Generation, passages: Passages, files: Sequence[FileEntry]
) -> list[FileEntry]:
    """Copy every passage of the old generation, file by file, and return the new entries."""
    entries = []
    for number, entry in enumerate(files):
        entries.append(replace(entry, first=generation.passages.rows))
        generation.passages.copy(passages.table.slice(entry.first, entry.passages), number)
    return entries


def _sources(remains: IntactParts | OldShards, folder: Path) -> tuple[RecordedSource, ...]:
    """Return the sources whose documents can be read again or copied from intact passages."""
    for source in remains.manifest.sources:
        if not is_there(source, folder):
            location = base_of(folder) / source.location
            raise CorpusError(
                f"cannot repair {folder}: source {location} no longer exists",
                code="cannot-repair",
                folder=folder,
                source=location,
            )
    kept = any(not entry.path for entry in remains.files) and (
        isinstance(remains, OldShards) or remains.passages is not None
    )
    return tuple(s for s in remains.manifest.sources if kept or s.location != STREAM)


def _lost(remains: IntactParts, plan: IndexPlan, folder: Path) -> list[str]:
    lost = plan.gone
    if remains.passages is not None:
        before = dict.fromkeys(remains.passages.table.column("doc_id").to_pylist())
        now = set(Index(folder).doc_ids())
        lost = [doc_id for doc_id in before if doc_id not in now]
    without = len(plan.sources) < len(remains.manifest.sources)
    return [STREAM, *lost] if without and STREAM not in lost else lost
