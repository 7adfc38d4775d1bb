"""Build or update an index: read, chunk, embed new passages, switch generations."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.corpus import (
    ALWAYS,
    NEEDS_OCR,
    NEVER,
    Fields,
    Ocr,
    RecognizedPages,
    Recognizer,
    close_processes,
    ignored_plugins,
    read_file,
    require_main_content,
    require_ocr,
)
from ettin_cli.errors import EttinError, IndexNotFoundError, OutputError
from ettin_cli.index import (
    WORK,
    BuildRecipe,
    Counts,
    FileEntry,
    Generation,
    Index,
    IntactParts,
    Manifest,
    RecordedSource,
    entry_for,
    forget_unfinished,
    is_unchanged,
    portable,
    read_manifest,
    remove_leftovers,
    require_intact,
    touched,
    writing,
)
from ettin_cli.indexing.document_ids import DocumentIds
from ettin_cli.indexing.planning import IndexPlan, PlannedFile, base_of, make_plan
from ettin_cli.indexing.requests import BuildRequest, settle_recipe, settle_sources
from ettin_cli.models import ModelFiles, load_embedder, load_token_counter, with_tokens
from ettin_cli.models.engines import cpu_threads
from ettin_cli.records import (
    Advance,
    Document,
    Rejection,
    Reporter,
    TokenCounter,
    no_progress,
)
from ettin_cli.runtime import Loaded
from ettin_cli.settings import READING
from ettin_cli.storage import STREAM
from ettin_cli.text import SPECIAL_TOKENS, Chunking, chunk
from ettin_cli.text.lexical import Terms

if TYPE_CHECKING:
    import pyarrow as pa


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
        if old:
            require_intact(request.folder)
        run = GenerationBuild(request, recipe, files, old, plan, reporter, loaded)
        return run.finish(sources)


def _dry_run(request: BuildRequest) -> BuildReport:
    old, manifest = _opened(request)
    sources = settle_sources(request, manifest)
    plan = make_plan(request.folder, sources, old, stream=request.stream)
    return BuildReport(plan, manifest, rejections=plan.rejections)


def recognized_pages(folder: Path) -> RecognizedPages:
    """Return the pages recognised by an interrupted run, beside its vectors."""
    return RecognizedPages(folder / WORK / "ocr" / "pages.jsonl")


def _untouched(plan: IndexPlan, index: Index) -> BuildReport:
    remove_leftovers(index.folder)
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
        plan: IndexPlan,
        reporter: Reporter,
        loaded: Loaded | None = None,
    ) -> None:
        self.request, self.recipe, self.files = request, recipe, files
        self.old, self.plan, self.reporter, self.loaded = old, plan, reporter, loaded
        names = [source.name for source in plan.sources]
        self.ids = DocumentIds(names, before=len(old.manifest.sources) if old else 0)
        self.counter: TokenCounter | None = None
        self.left_out: Counter[str] = Counter()
        self.notices: list[str] = []
        self.chunking = Chunking(recipe.chunk_size, recipe.chunk_overlap)
        self.generation = Generation(request.folder, recipe, old)
        self.recognized = recognized_pages(request.folder)
        self.recognizer = Recognizer(cpu_threads(request.settings), self.recognized)

    @cached_property
    def reads(self) -> int:
        """The number of passage tokens that fit after the embedder's prompt."""
        embedder = self.recipe.embedder
        prompt = embedder.document_prompt
        return embedder.max_tokens - (len(self.token_counter().offsets(prompt)) if prompt else 0)

    def finish(self, sources: tuple[RecordedSource, ...]) -> BuildReport:
        """Read, embed and commit; on any failure the index stays unchanged."""
        return self.complete(partial(self._read_all, sources), sources)

    def complete(
        self, add_passages: Callable[[], list[FileEntry]], sources: tuple[RecordedSource, ...]
    ) -> BuildReport:
        """Add passages, embed and commit; on any failure the index stays unchanged."""
        try:
            entries = add_passages()
            missing = self.generation.missing()
            if missing.total:
                card = self.recipe.embedder
                embedder = load_embedder(
                    self.files, self.request.settings, self.reporter, card, self.loaded
                )
                self.reporter.detail(f"embedding with {embedder.card.name} on {embedder.backend}")
                with self.reporter.track("embedding", missing.total, "passages") as advance:
                    if missing.tokens:
                        missing.embed_tokens(with_tokens(embedder).embed_tokens, advance)
                    else:
                        missing.embed(embedder.embed_documents, advance)
            missing.finish()
            with self._tracked_lists(missing.to_list) as advance:
                missing.write_lists(advance)
            documents = sum(entry.documents for entry in entries)
            with self.reporter.track("indexing terms", len(missing.stored), "passages") as advance:
                manifest = self.generation.commit(entries, sources, documents, advance)
            self.recognized.clear()
        except BaseException:
            self.generation.abandon()
            raise
        finally:
            close_processes()
            self.recognizer.close()
            self.recognized.close()
        rejections = [rejection for entry in entries for rejection in entry.rejections]
        return BuildReport(
            self.plan,
            manifest,
            written=True,
            embedded=missing.total,
            reused=missing.reused,
            rejections=[*self.plan.rejections, *rejections],
            left_out=self.left_out,
            notices=self.notices,
            recognized=(self.recognizer.pages, self.recognizer.files),
        )

    def _tracked_lists(self, vectors: int) -> AbstractContextManager[Advance]:
        if not vectors:
            return nullcontext(no_progress)
        return self.reporter.track("clustering token vectors", vectors, "vectors")

    def _read_all(self, sources: tuple[RecordedSource, ...]) -> list[FileEntry]:
        entries = []
        with self.reporter.track(
            "reading", len(self.plan.files), "files", note=self.recognizer.note
        ) as advance:
            self.recognizer.advance = advance
            for number, planned in enumerate(self.plan.files):
                entries.append(self._kept(planned, number) or self._read(planned, number, sources))
                if entries[-1].skipped:
                    self.plan.skipped[entries[-1].skipped] += 1
                advance(1)
        return entries

    def _kept(self, planned: PlannedFile, number: int) -> FileEntry | None:
        """Copy an unchanged file's passages; None if it needs new document ids."""
        entry = self._present_entry(planned)
        if entry is None or self.old is None or self.old.passages is None:
            return None
        table = self.old.passages.table.slice(entry.first, entry.passages)
        if not self.ids.claim_again(_DocIds(table), planned.source):
            if planned.file.path:
                return None
            table = self._renamed(table, planned.source)
        first = self.generation.passages.rows
        self.generation.passages.copy(table, number)
        return replace(entry, source=planned.source, first=first)

    def _present_entry(self, planned: PlannedFile) -> FileEntry | None:
        """Return an unchanged file's entry with its current mtime; None if the file changed."""
        entry, path = planned.same, planned.file.path
        if entry is None or path is None:
            return entry
        try:
            present = touched(entry, path)
        except OSError:
            return None
        # The file may have changed since the plan was made.
        return present if is_unchanged(entry, path) else None

    def _renamed(self, table: pa.Table, source: int) -> pa.Table:
        """Give new ids to records that cannot be reread and whose ids another source has taken."""
        import pyarrow as pa

        doc_ids = table.column("doc_id").to_pylist()
        given = {one: self.ids.claim(one, source) or one for one in dict.fromkeys(doc_ids)}
        at = table.schema.get_field_index("doc_id")
        ids = pa.array([given[one] for one in doc_ids], pa.string())
        return table.set_column(at, table.schema.field(at), ids)

    def _read(
        self, planned: PlannedFile, number: int, sources: tuple[RecordedSource, ...]
    ) -> FileEntry:
        entry = self._entry(planned)
        if isinstance(entry, Rejection):
            gone = FileEntry(planned.source, planned.file.name, "", -1, 0, "")
            return replace(gone, path=self._path(planned), rejections=(entry,))
        reader = _FileReader(self, planned, number, sources[planned.source])
        return reader.read(replace(entry, first=self.generation.passages.rows))

    def _path(self, planned: PlannedFile) -> str:
        path = planned.file.path
        return portable(path, base_of(self.request.folder)) if path else ""

    def _entry(self, planned: PlannedFile) -> FileEntry | Rejection:
        path = planned.file.path
        if path is None:
            return FileEntry(planned.source, planned.file.name, "", 0, 0, "")
        try:
            return entry_for(path, planned.source, planned.file.name, self._path(planned))
        except OSError as error:
            return Rejection(str(path), f"cannot be read: {error.strerror}")

    def token_counter(self) -> TokenCounter:
        """Return the embedder's token counter, loaded when the first document needs it."""
        if self.counter is None:
            self.counter = load_token_counter(self.files)
        return self.counter


class _DocIds:
    """The document ids of some passages; can be iterated repeatedly."""

    def __init__(self, table: pa.Table) -> None:
        self.blocks = table.column("doc_id").chunks

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks:
            yield from block.to_pylist()


class _FileReader:
    """Reads one file's documents into the generation and counts them."""

    def __init__(
        self, run: GenerationBuild, planned: PlannedFile, number: int, source: RecordedSource
    ) -> None:
        self.run, self.planned, self.number, self.source = run, planned, number, source
        self.rejections: list[Rejection] = []
        self.skipped = ""
        self.documents = self.truncated = 0

    def read(self, entry: FileEntry) -> FileEntry:
        """Return the entry completed with the file's counts and rejections."""
        source = self.source
        fields = Fields(
            source.id_field, source.text_field, title=source.title_field, encoding=source.encoding
        )
        ocr = None if source.ocr == NEVER else Ocr(source.ocr, self.run.recognizer)
        documents = read_file(
            self.planned.file,
            fields,
            self.rejections.append,
            self._skip,
            leave_out=self.run.left_out.update,
            all_text=self.source.all_text,
            main_content=self.source.main_content,
            ocr=ocr,
        )
        for document in documents:
            self._add(document)
        if ocr and ocr.missed:
            self.skipped = NEEDS_OCR
        return replace(
            entry,
            passages=self.run.generation.passages.rows - entry.first,
            documents=self.documents,
            truncated=self.truncated,
            skipped=self.skipped,
            rejections=tuple(self.rejections),
        )

    def _skip(self, reason: str) -> None:
        self.skipped = reason

    def _add(self, document: Document) -> None:
        run = self.run
        doc_id = run.ids.claim(document.doc_id, self.planned.source)
        if doc_id is None:
            shown = str(self.planned.file.path or STREAM)
            line = document.lines[0] if len(document.lines) == 1 else None
            self.rejections.append(Rejection(shown, f'duplicate id "{document.doc_id}"', line))
            return
        shown = str(self.planned.file.path or STREAM)
        self.run.notices += [f"{shown}: {notice}" for notice in document.notices]
        self.documents += 1
        named = document if doc_id == document.doc_id else replace(document, doc_id=doc_id)
        for piece in chunk(named, run.token_counter(), run.chunking, run.reads):
            run.generation.passages.add(piece.passage, self.number)
            self.truncated += piece.tokens + SPECIAL_TOKENS > run.reads
