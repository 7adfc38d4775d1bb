"""Read the files of a plan: documents, cut into passages, go to a sink file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ettin_cli.corpus import (
    NEEDS_OCR,
    NEVER,
    Fields,
    Ocr,
    RecognizedPages,
    Recognizer,
    close_processes,
    read_file,
)
from ettin_cli.index import (
    WORK,
    BuildRecipe,
    FileEntry,
    RecordedSource,
    entry_for,
    is_unchanged,
    portable,
    touched,
)
from ettin_cli.indexing.document_ids import DocumentIds
from ettin_cli.indexing.planning import IndexPlan, PlannedFile, base_of
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.models import ModelFiles, load_token_counter
from ettin_cli.models.engines import cpu_threads
from ettin_cli.records import Document, Passage, Rejection, Reporter, TokenCounter
from ettin_cli.storage import STREAM
from ettin_cli.text import SPECIAL_TOKENS, Chunking, chunk

if TYPE_CHECKING:
    import pyarrow as pa

    # A passage, and whether it exceeds the embedder's token limit.
    Cut = tuple[Passage, bool]


class Sink(Protocol):
    """Takes the passages of one file after another."""

    def begin(self, before: FileEntry | None) -> None:
        """Begin a file that is read; `before` is its entry in the old generation, if any."""
        ...

    def add(self, doc_id: str, passages: Iterable[Cut]) -> None:
        """Take a document of the file that was begun."""
        ...

    def end(self, entry: FileEntry) -> None:
        """End the file that was begun; its counts of passages are those that were added."""
        ...

    def copy(
        self, entry: FileEntry, before: FileEntry, tables: Sequence[pa.Table], *, same: bool
    ) -> None:
        """Take an unchanged file with its rows of the old generation.

        Args:
            before: Its old entry.
            same: Whether the rows are as they were; else documents have new ids.
        """
        ...


# The rows of an unchanged file in the old generation; None if they are lost.
Rows = Callable[[FileEntry], "Sequence[pa.Table] | None"]


def recognized_pages(folder: Path) -> RecognizedPages:
    """Return the pages recognised by an interrupted run, beside its vectors."""
    return RecognizedPages(folder / WORK / "ocr" / "pages.jsonl")


class CorpusReader:
    """Reads the files of a plan, except those whose rows the old generation has.

    Args:
        old_rows: Returns those rows.
        old_sources: Number of sources of the old generation.
    """

    def __init__(
        self,
        request: BuildRequest,
        recipe: BuildRecipe,
        files: ModelFiles,
        plan: IndexPlan,
        reporter: Reporter,
        sink: Sink,
        old_rows: Rows,
        old_sources: int,
    ) -> None:
        self.request, self.recipe, self.files = request, recipe, files
        self.plan, self.reporter, self.sink, self.old_rows = plan, reporter, sink, old_rows
        self.ids = DocumentIds([source.name for source in plan.sources], before=old_sources)
        self.counter: TokenCounter | None = None
        self.left_out: Counter[str] = Counter()
        self.notices: list[str] = []
        self.chunking = Chunking(recipe.chunk_size, recipe.chunk_overlap)
        self.recognized = recognized_pages(request.folder)
        self.recognizer = Recognizer(cpu_threads(request.settings), self.recognized)

    @cached_property
    def reads(self) -> int:
        """The number of passage tokens that fit after the embedder's prompt."""
        embedder = self.recipe.embedder
        prompt = embedder.document_prompt
        return embedder.max_tokens - (len(self.token_counter().offsets(prompt)) if prompt else 0)

    def token_counter(self) -> TokenCounter:
        """Return the embedder's token counter, loaded when the first document needs it."""
        if self.counter is None:
            self.counter = load_token_counter(self.files)
        return self.counter

    def read_all(self, sources: Sequence[RecordedSource]) -> None:
        """Read every file of the plan."""
        with self.reporter.track(
            "reading", len(self.plan.files), "files", note=self.recognizer.note
        ) as advance:
            self.recognizer.advance = advance
            for planned in self.plan.files:
                skipped = self._kept(planned) or self._read(planned, sources[planned.source])
                if skipped.skipped:
                    self.plan.skipped[skipped.skipped] += 1
                advance(1)

    def close(self) -> None:
        """End the processes that read files."""
        close_processes()
        self.recognizer.close()
        self.recognized.close()

    def _kept(self, planned: PlannedFile) -> FileEntry | None:
        """Copy an unchanged file's passages; None if it needs new document ids."""
        entry = self._present_entry(planned)
        tables = self.old_rows(entry) if entry is not None else None
        if entry is None or tables is None:
            return None
        same = self.ids.claim_again(_DocIds(tables), planned.source)
        if not same:
            if planned.file.path:
                return None
            tables = [self._renamed(table, planned.source) for table in tables]
        kept = replace(entry, source=planned.source)
        self.sink.copy(kept, entry, tables, same=same)
        return kept

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

    def _read(self, planned: PlannedFile, source: RecordedSource) -> FileEntry:
        entry = self._entry(planned)
        self.sink.begin(planned.before)
        if isinstance(entry, Rejection):
            gone = FileEntry(planned.source, planned.file.name, "", -1, 0, "")
            entry = replace(gone, path=self._path(planned), rejections=(entry,))
        else:
            entry = _FileReader(self, planned, source).read(entry)
        self.sink.end(entry)
        return entry

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


class _DocIds:
    """The document ids of some passages; can be iterated repeatedly."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self.blocks = [block for table in tables for block in table.column("doc_id").chunks]

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks:
            yield from block.to_pylist()


class _FileReader:
    """Reads one file's documents into the sink and counts them."""

    def __init__(self, run: CorpusReader, planned: PlannedFile, source: RecordedSource) -> None:
        self.run, self.planned, self.source = run, planned, source
        self.rejections: list[Rejection] = []
        self.skipped = ""

    def read(self, entry: FileEntry) -> FileEntry:
        """Return the entry completed with the file's rejections."""
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
        return replace(entry, skipped=self.skipped, rejections=tuple(self.rejections))

    def _skip(self, reason: str) -> None:
        self.skipped = reason

    def _add(self, document: Document) -> None:
        run = self.run
        shown = str(self.planned.file.path or STREAM)
        doc_id = run.ids.claim(document.doc_id, self.planned.source)
        if doc_id is None:
            line = document.lines[0] if len(document.lines) == 1 else None
            self.rejections.append(Rejection(shown, f'duplicate id "{document.doc_id}"', line))
            return
        run.notices += [f"{shown}: {notice}" for notice in document.notices]
        named = document if doc_id == document.doc_id else replace(document, doc_id=doc_id)
        pieces = chunk(named, run.token_counter(), run.chunking, run.reads)
        cuts = ((one.passage, one.tokens + SPECIAL_TOKENS > run.reads) for one in pieces)
        run.sink.add(doc_id, cuts)
