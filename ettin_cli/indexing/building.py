"""Build or update an index: read, chunk, embed new passages, switch generations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.corpus import ALWAYS, ignored_plugins, require_main_content, require_ocr
from ettin_cli.errors import EttinError, IndexNotFoundError, OutputError
from ettin_cli.index import (
    BuildRecipe,
    Counts,
    FileEntry,
    Generation,
    Index,
    IntactParts,
    Manifest,
    Missing,
    RecordedSource,
    forget_unfinished,
    read_manifest,
    remove_leftovers,
    remove_unnamed,
    require_intact,
    whole_of,
    writing,
)
from ettin_cli.indexing.embedding_units import embed_in_units
from ettin_cli.indexing.planning import IndexPlan, make_plan
from ettin_cli.indexing.reading import CorpusReader, recognized_pages
from ettin_cli.indexing.requests import (
    BuildRequest,
    settle_recipe,
    settle_shards,
    settle_sources,
)
from ettin_cli.models import ModelFiles, load_embedder, with_tokens
from ettin_cli.records import Advance, EmbedderCard, Rejection, Reporter, no_progress
from ettin_cli.runtime import Loaded
from ettin_cli.settings import READING
from ettin_cli.text.lexical import Terms

if TYPE_CHECKING:
    import pyarrow as pa

    from ettin_cli.indexing.reading import Cut


@dataclass(frozen=True, slots=True, repr=False)
class BuildReport:
    """The result of a run.

    Args:
        manifest: None after a dry run without an existing index.
        left_out: Content for machines in the files read by this run, counted by kind.
        notices: About files that were read by this run, each with the file's path.
        recognized: The numbers of pages, and of files, in which this run looked for text by OCR.
    """

    plan: IndexPlan
    manifest: Manifest | None
    written: bool = False
    embedded: int = 0
    reused: int = 0
    rejections: Sequence[Rejection] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    notices: Sequence[str] = ()
    recognized: tuple[int, int] = (0, 0)

    def __repr__(self) -> str:
        counts = self.manifest.counts if self.manifest else Counts()
        return (
            f"<ettin build report: {counts.documents:,} documents, {counts.passages:,} passages, "
            f"{self.embedded:,} embedded, {len(self.rejections):,} rejected>"
        )


def build_index(
    request: BuildRequest, reporter: Reporter, loaded: Loaded | None = None
) -> BuildReport:
    """Build or update the index of some sources, and return a report.

    Args:
        loaded: Shares the embedder with other users; None: it is loaded for this run alone.

    Raises:
        IndexMismatchError: The index was made with another embedder or chunking.
        IndexBusyError: Another process is writing the index and `wait` is off.
        CorpusError: A source does not exist.
    """
    require_whole(request.folder)
    if request.dry_run:
        return _dry_run(request)
    with (
        writing(request.folder, wait=request.wait, reporter=reporter),
        disk_errors(request.folder),
    ):
        old, manifest = _opened(request)
        sources = settle_sources(request, manifest)
        if any(source.main_content for source in sources):
            require_main_content()
        if any(source.ocr == ALWAYS for source in sources):
            require_ocr()
        division = settle_shards(request, manifest)
        files, recipe = settle_recipe(request, manifest, reporter)
        reread = old is not None and old.manifest.reading != READING
        plan = make_plan(request.folder, sources, old, stream=request.stream, reread=reread)
        if reread:
            reporter.notice(
                f"{request.folder} is from an earlier version: every file is read again"
            )
        for notice in ignored_plugins(planned.file.name for planned in plan.files):
            reporter.notice(notice)
        if old and plan.up_to_date and _same(old, recipe, sources):
            return _untouched(plan, old)
        if division:
            from ettin_cli.indexing.sharding import ShardedBuild, opened_shards

            shards = opened_shards(old) if old else None
            if old:
                old.close()
            sharded = ShardedBuild(
                request, recipe, files, division, manifest, shards, reporter, loaded
            )
            return sharded.finish(plan, sources)
        if old:
            require_intact(request.folder)
        run = GenerationBuild(request, recipe, files, old, reporter, loaded)
        return run.finish(plan, sources)


def require_whole(folder: Path) -> None:
    """Check that an index is not a shard of another, which alone may change it.

    Raises:
        EttinError: It is one.
    """
    whole = whole_of(folder)
    if whole != folder:
        raise EttinError(
            f"{folder} is a shard of {whole}; update or repair that",
            code="not-an-index",
            folder=folder,
        )


def _dry_run(request: BuildRequest) -> BuildReport:
    old, manifest = _opened(request)
    sources = settle_sources(request, manifest)
    settle_shards(request, manifest)
    plan = make_plan(request.folder, sources, old, stream=request.stream)
    return BuildReport(plan, manifest, rejections=plan.rejections)


def _untouched(plan: IndexPlan, index: Index) -> BuildReport:
    remove_leftovers(index.folder)
    remove_unnamed(index.folder)
    recognized_pages(index.folder).clear()
    forget_unfinished(index.folder, index.manifest.embedder)
    again = [rejection for entry in index.files for rejection in entry.rejections]
    plan.skipped.update(entry.skipped for entry in index.files if entry.skipped)
    return BuildReport(plan, index.manifest, rejections=[*plan.rejections, *again])


def _opened(request: BuildRequest) -> tuple[Index | None, Manifest | None]:
    """Return the index and its manifest; for a rebuild only the manifest, if it is intact."""
    try:
        if request.rebuild:
            return None, read_manifest(request.folder)
        old = Index(request.folder)
        return old, old.manifest
    except IndexNotFoundError:
        return None, None
    except EttinError:
        if request.rebuild and request.add:
            return None, None
        raise


def _same(old: Index, recipe: BuildRecipe, sources: tuple[RecordedSource, ...]) -> bool:
    manifest = old.manifest
    return (
        manifest.sources == sources
        and manifest.reading == recipe.reading
        and recipe.factory in (manifest.asked, manifest.factory)
        and recipe.language == manifest.language
        and (manifest.tokens.codec if manifest.tokens else None) == recipe.tokens
        and (old.token_lists is not None) == recipe.token_lists
        and old.lexicon.made_by == Terms(recipe.language).made_by
    )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn disk errors into a one-line `OutputError` that states which index is in force."""
    before = _in_force(folder)
    try:
        yield
    except OSError as error:
        # Arrow puts its own text before the system's.
        reason = os.strerror(error.errno) if error.errno else error
        if _in_force(folder) == before:
            state = "the index is unchanged"
        else:
            state = "the new index is in place, but may not survive a power failure"
        raise OutputError(
            f"cannot write {folder}: {reason}; {state}",
            code="index-unwritable",
            folder=folder,
        ) from error


def _in_force(folder: Path) -> str | None:
    """Return the name of the generation in force, or None if it cannot be read."""
    with suppress(EttinError):
        return read_manifest(folder).generation
    return None


class GenerationBuild:
    """A new generation being built."""

    def __init__(
        self,
        request: BuildRequest,
        recipe: BuildRecipe,
        files: ModelFiles,
        old: Index | IntactParts | None,
        reporter: Reporter,
        loaded: Loaded | None = None,
    ) -> None:
        self.request, self.recipe, self.files = request, recipe, files
        self.old, self.reporter = old, reporter
        self.embedding = Embedding(files, recipe.embedder, request, reporter, loaded)
        self.generation = Generation(request.folder, recipe, old)

    def finish(self, plan: IndexPlan, sources: tuple[RecordedSource, ...]) -> BuildReport:
        """Read, embed and commit; on any failure the index stays unchanged."""
        sink = GenerationSink(self.generation)
        before = len(self.old.manifest.sources) if self.old else 0
        reader = CorpusReader(
            *(self.request, self.recipe, self.files, plan, self.reporter, sink),
            partial(_rows, self.old),
            before,
        )

        def read() -> list[FileEntry]:
            reader.read_all(sources)
            return sink.entries

        try:
            report = self.complete(read, sources)
        finally:
            reader.close()
        reader.recognized.clear()
        return replace(
            report,
            plan=plan,
            rejections=[*plan.rejections, *report.rejections],
            left_out=reader.left_out,
            notices=reader.notices,
            recognized=(reader.recognizer.pages, reader.recognizer.files),
        )

    def complete(
        self, add_passages: Callable[[], list[FileEntry]], sources: tuple[RecordedSource, ...]
    ) -> BuildReport:
        """Add passages, embed and commit; on any failure the index stays unchanged."""
        try:
            entries = add_passages()
            missing = self.generation.missing()
            self.embedding.complete(missing)
            with self._tracked_lists(missing.to_list) as advance:
                missing.write_lists(advance)
            documents = sum(entry.documents for entry in entries)
            with self.reporter.track("indexing terms", len(missing.stored), "passages") as advance:
                manifest = self.generation.commit(entries, sources, documents, advance)
            remove_unnamed(self.request.folder)
        except BaseException:
            self.generation.abandon()
            raise
        return BuildReport(
            IndexPlan(),
            manifest,
            written=True,
            embedded=missing.total,
            reused=missing.reused,
            rejections=[rejection for entry in entries for rejection in entry.rejections],
        )

    def _tracked_lists(self, vectors: int) -> AbstractContextManager[Advance]:
        if not vectors:
            return nullcontext(no_progress)
        return self.reporter.track("clustering token vectors", vectors, "vectors")


@dataclass(frozen=True, slots=True)
class Embedding:
    """Embeds the texts of a run that have no vector yet; the embedder is loaded if there is any."""

    files: ModelFiles
    card: EmbedderCard
    request: BuildRequest
    reporter: Reporter
    loaded: Loaded | None

    def complete(self, missing: Missing, label: str = "embedding") -> None:
        """Embed the missing texts of a generation, and finish its vectors."""
        if missing.total and (placement := self.request.placement):
            embed_in_units(missing, placement, self.request, self.reporter, label)
        elif missing.total:
            settings, reporter = self.request.settings, self.reporter
            embedder = load_embedder(self.files, settings, reporter, self.card, self.loaded)
            reporter.detail(f"{label} with {embedder.card.name} on {embedder.backend}")
            at_once: int = getattr(embedder, "at_once", 1)
            with reporter.track(label, missing.total, "passages") as advance:
                if missing.tokens:
                    missing.embed_tokens(with_tokens(embedder).embed_tokens, advance, at_once)
                else:
                    missing.embed(embedder.embed_documents, advance, at_once)
        missing.finish()


class GenerationSink:
    """Writes passages into a generation."""

    def __init__(self, generation: Generation) -> None:
        self.passages = generation.passages
        self.entries: list[FileEntry] = []
        self.first = self.documents = self.truncated = 0

    def begin(self, before: FileEntry | None) -> None:
        """Begin a file that is read."""
        self.first, self.documents, self.truncated = self.passages.rows, 0, 0

    def add(self, doc_id: str, passages: Iterable[Cut]) -> None:
        """Add a document of the file that was begun."""
        self.documents += 1
        for passage, truncated in passages:
            self.passages.add(passage, len(self.entries))
            self.truncated += truncated

    def end(self, entry: FileEntry) -> None:
        """End the file that was begun."""
        added = replace(entry, first=self.first, passages=self.passages.rows - self.first)
        self.entries.append(replace(added, documents=self.documents, truncated=self.truncated))

    def copy(
        self, entry: FileEntry, before: FileEntry, tables: Sequence[pa.Table], *, same: bool
    ) -> None:
        """Add an unchanged file with its rows of the old generation."""
        entry = replace(entry, first=self.passages.rows)
        for table in tables:
            self.passages.copy(table, len(self.entries))
        self.entries.append(entry)


def _rows(old: Index | IntactParts | None, entry: FileEntry) -> Sequence[pa.Table] | None:
    """Return the rows of an unchanged file in the old generation; None if they are lost."""
    if old is None or old.passages is None:
        return None
    return [old.passages.table.slice(entry.first, entry.passages)]
