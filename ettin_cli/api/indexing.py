"""The calls of a session that write an index, or check it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.api.collections import CollectionCalls
from ettin_cli.records import Document, require_list
from ettin_cli.settings import AUTO, DEFAULT_INDEX
from ettin_cli.storage import Stream

if TYPE_CHECKING:
    from ettin_cli.index import Index
    from ettin_cli.indexing import BuildReport, BuildRequest, RepairReport


class IndexingCalls(CollectionCalls):
    """Build, update, verify and repair indexes."""

    def build(
        self,
        *sources: str | os.PathLike[str],
        into: str | os.PathLike[str] = DEFAULT_INDEX,
        documents: Iterable[Document | Mapping[str, Any]] | None = None,
        remove: Iterable[str | os.PathLike[str]] = (),
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        id_field: str | None = None,
        text_field: str | None = None,
        title_field: str | None = None,
        all_text: bool = False,
        encoding: str | None = None,
        main_content: bool = False,
        ocr: str = AUTO,
        embedder: str | None = None,
        dimensions: int | None = None,
        token_vectors: int | str | None = None,
        chunk_size: int | str | None = None,
        chunk_overlap: int | None = None,
        language: str | None = None,
        factory: str | None = None,
        shards: int | str | None = None,
        rebuild: bool = False,
        dry_run: bool = False,
        wait: bool = True,
    ) -> BuildReport:
        """Build an index, or update it: only what is new or changed is embedded.

        Args:
            sources: Files, folders and names of public collections to add. Without any, the
                recorded sources are updated.
            into: The folder of the index.
            documents: Records to index: `Document`s, or mappings with "_id", "title", "text" and
                metadata. They replace the documents of an earlier call.
            remove: Recorded sources to remove.
            include: Globs; only files that match one are read.
            exclude: Globs; files that match one are left out.
            id_field: The field with the id of a record. None: _id, id, doc_id or docno.
            text_field: The field with the text of a record. None: one of the usual names.
            title_field: The field with the title of a record. None: title.
            all_text: Whether to index content for machines too: lock files, minified code, data
                URIs, base64 blocks, embeddings and the like.
            encoding: The encoding of text files without a byte order mark. None: detected.
            main_content: Whether to leave out navigation and boilerplate of HTML pages.
            ocr: Whether to recognise text in pictures and scanned pages of PDFs: "auto" if the
                extra `ocr` is installed, "always" also on pages with a text layer, or "never".
            embedder: A name from `ettin models`, a hub id or a folder. None: that of the index;
                for a new index, "auto".
            dimensions: The number of dimensions to keep of each vector, for Matryoshka embedders.
            token_vectors: Whether to store compressed token vectors, from which rerankers by late
                interaction score in milliseconds: "auto" where the embedder has them, "none", or
                bits a dimension ("1", "2", "4"). None: as in the index; for a new index, "auto".
            chunk_size: Tokens per passage, or "none" for full documents. None: as in the index.
            chunk_overlap: Tokens that a passage repeats of the previous one.
            language: The language for stemming, or "none". None: as in the index.
            factory: A FAISS index factory string, or "auto".
            shards: The number of shards of a new index, or "auto": as few as hold its passages.
                Answers are the same. None: as in the index; a new index has none.
            rebuild: Whether to build the index from scratch.
            dry_run: Whether to report what would change, without changing it.
            wait: Whether to wait for another process that is writing the index.

        Returns:
            The counts of what was read and embedded, the new, changed and removed files, and the
            rejected inputs with the reasons.

        Raises:
            CorpusError: A source does not exist.
            IndexMismatchError: The index was built with another embedder, chunking or number of
                shards.
            IndexBusyError: Another process is writing the index and `wait` is False.

        Example:
            >>> records = [{"_id": "ferry", "text": "It sails at nine."}]
            >>> with ettin.Session(offline=True) as session:
            ...     report = session.build("docs", documents=records, into="notes")
            ...     parted = session.build("docs", into="parted", shards=2)
            >>> report.manifest.counts.documents, report.embedded, report.rejections
            (8, 15, [])
            >>> [shard.passages for shard in parted.manifest.shards]
            [8, 6]
        """
        from ettin_cli.corpus import document_stream
        from ettin_cli.index import RecordedSource
        from ettin_cli.indexing import BuildRequest
        from ettin_cli.text import Chunking

        for name, values in (("remove", remove), ("include", include), ("exclude", exclude)):
            require_list(values, name)
        added = self.sources(sources)
        if documents is not None:
            require_list(documents, "documents")
            added.append(document_stream(documents))
        fields = tuple(include), tuple(exclude), id_field, text_field, title_field
        return self.build_from(
            BuildRequest(
                Path(into),
                added,
                list(map(str, self.sources(remove))),
                RecordedSource(
                    "",
                    *fields,
                    all_text=all_text,
                    encoding=encoding,
                    main_content=main_content,
                    ocr=ocr,
                ),
                embedder=embedder,
                dimensions=dimensions,
                token_vectors=None if token_vectors is None else str(token_vectors),
                chunking=Chunking.parsed(chunk_size, chunk_overlap),
                factory=factory,
                shards=None if shards is None else str(shards),
                language=language,
                settings=self.models.settings,
                offline=self.models.offline,
                rebuild=rebuild,
                dry_run=dry_run,
                wait=wait,
            )
        )

    def update(self, index: str | os.PathLike[str] | None = None) -> BuildReport:
        """Update an index from its recorded sources.

        Args:
            index: Its folder. None: ETTIN_INDEX, else ".ettin" here or in a parent folder.

        Raises:
            IndexNotFoundError: The folder contains no index.

        Example:
            >>> with ettin.Session(offline=True) as session:
            ...     report = session.build("docs", into="notes")
            ...     with open("docs/waste.rst", "a") as file:
            ...         length = file.write("Glass goes to the harbour.")
            ...     report = session.update("notes")
            >>> report.plan.changed
            ['waste.rst']
        """
        from ettin_cli.index import find_index

        return self.build(into=find_index(index))

    def verify(self, index: str | os.PathLike[str] | None = None) -> list[str]:
        """Return the damaged or missing files of an index, by their checksums.

        Args:
            index: As in `update`.

        Example:
            >>> with ettin.Session(offline=True) as session:
            ...     report = session.build(documents=[{"text": "Bread is at noon."}], into="breads")
            ...     session.verify("breads")
            []
        """
        from ettin_cli.index import damaged_files, find_index

        return list(map(str, damaged_files(find_index(index))))

    def repair(
        self, index: str | os.PathLike[str] | None = None, *, wait: bool = True
    ) -> RepairReport:
        """Repair a damaged index: keep the intact parts and make the rest again.

        Args:
            index: As in `update`.
            wait: Whether to wait for another process that is writing the index.

        Returns:
            The damaged files, what was made again and what is lost.

        Raises:
            IndexDamagedError: The manifest is damaged.
            IndexMismatchError: The embedder has changed.
            IndexBusyError: Another process is writing the index and `wait` is False.

        Example:
            >>> from pathlib import Path
            >>> with ettin.Session(offline=True) as session:
            ...     report = session.build(documents=[{"text": "Bread is at noon."}], into="breads")
            ...     [vectors] = Path("breads").rglob("vectors.*")
            ...     vectors.unlink()
            ...     repaired = session.repair("breads")
            >>> len(repaired.damaged), repaired.built.embedded, repaired.lost
            (1, 1, ())
        """
        from ettin_cli.index import find_index
        from ettin_cli.indexing import BuildRequest, repair_index

        models = self.models
        request = BuildRequest(
            find_index(index), settings=models.settings, offline=models.offline, wait=wait
        )
        return repair_index(request, models.reporter)

    def build_from(self, request: BuildRequest) -> BuildReport:
        """Build or update an index by a request."""
        from ettin_cli.indexing import build_index

        return build_index(request, self.models.reporter, self.models.loaded)

    def index_of(
        self,
        sources: Iterable[str | os.PathLike[str] | Stream],
        into: str | os.PathLike[str] | None = None,
    ) -> tuple[Index, BuildReport]:
        """Return an up-to-date index of some sources, and the report of the update.

        Its embedder is the one in ETTIN_EMBEDDER, else "auto".

        Args:
            into: Its folder. None: one in the cache.

        Raises:
            CorpusError: A source does not exist.
            InvalidArgumentError: The folder is an index of other sources.
        """
        from ettin_cli.index import Index
        from ettin_cli.indexing import BuildRequest
        from ettin_cli.searching import source_index

        named = self.sources(sources)
        embedder = os.environ.get("ETTIN_EMBEDDER") or None
        folder = Path(into) if into else source_index(list(map(str, named)), embedder or AUTO)
        if folder.is_dir() and not into:
            # `ettin cache` shows when an entry was last used.
            os.utime(folder)
        request = BuildRequest(
            folder,
            named,
            embedder=embedder,
            settings=self.models.indexing,
            offline=self.models.offline,
            only=True,
        )
        report = self.build_from(request)
        return Index(folder), report

    def read_index_of(self, sources: Iterable[str | os.PathLike[str]]) -> Index:
        """Return an up-to-date index of some sources, in the cache; rejected inputs are reported.

        Raises:
            CorpusError: A source does not exist.
        """
        index, report = self.index_of(sources)
        self._report_inputs(report)
        return index

    def _report_inputs(self, report: BuildReport) -> None:
        """Report the inputs that were rejected, and what is to be known of the others."""
        for rejection in report.rejections:
            self.models.reporter.notice(f"rejected {rejection}")
        for notice in report.notices:
            self.models.reporter.notice(notice)
