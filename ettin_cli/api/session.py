"""A session: models and settings that calls share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.models.engines import EngineSettings
from ettin_cli.records import (
    Answer,
    Document,
    Embedder,
    Qrels,
    Query,
    Reporter,
    Request,
    Scores,
    Silence,
)
from ettin_cli.runtime import Closing
from ettin_cli.searching import FoundRerankers, Models, Text, TextReranker
from ettin_cli.settings import (
    AUTO,
    CANDIDATES,
    DEFAULT_INDEX,
    DOCUMENT,
    METRICS,
    SAME,
    TRUNCATE,
)
from ettin_cli.storage import Stream

if TYPE_CHECKING:
    from ettin_cli.evaluation import Evaluation
    from ettin_cli.index import Index
    from ettin_cli.indexing import BuildReport, BuildRequest
    from ettin_cli.records import Floats
    from ettin_cli.searching import Searcher


class Session(Closing):
    """Models and settings that calls share; each model is loaded once, when it is needed.

    Any number of threads may use one session. A call that fails or is cancelled ends no other.
    Nothing is printed: notices and progress go to the reporter.

    Args:
        settings: How models run; None: as the variables ETTIN_DEVICE, ETTIN_DTYPE and
            ETTIN_THREADS say, else what is fast and exact here.
        offline: Whether the network must not be used; None: as ETTIN_OFFLINE says.
        reporter: Gets notices, progress and details; None: they are dropped.

    Example:
        >>> with Session(offline=True) as session:
        ...     ferry = session.reranker("embedded")
        ...     answer = ferry.rank("when does the ferry sail", ["Bread at 9.", "It sails at 9."])
        >>> [hit.passage.text for hit in answer.hits]
        ['It sails at 9.', 'Bread at 9.']
    """

    def __init__(
        self,
        settings: EngineSettings | None = None,
        *,
        offline: bool | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.models = Models(
            EngineSettings.from_environment() if settings is None else settings,
            offline=bool(os.environ.get("ETTIN_OFFLINE")) if offline is None else offline,
            reporter=reporter or Silence(),
        )

    def close(self) -> None:
        """Free the models; one that another thread still uses is freed when that is done."""
        self.models.close()

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
        embedder: str | None = None,
        dimensions: int | None = None,
        chunk_size: int | str | None = None,
        chunk_overlap: int | None = None,
        language: str | None = None,
        factory: str | None = None,
        rebuild: bool = False,
        dry_run: bool = False,
        wait: bool = True,
    ) -> BuildReport:
        """Build an index, or bring it up to date: only what is new or changed is embedded.

        Args:
            sources: Files and folders to add. Without any, the index's own are read again.
            into: The folder of the index.
            documents: Records to index, in place of those given before: `Document`s, or mappings
                with "_id", "title", "text" and metadata.
            remove: Sources to drop.
            include: Globs; only files that match one are read. `exclude` likewise leaves out.
            id_field: The field that holds a record's id; None: _id, id, doc_id or docno.
            text_field: The field that holds a record's text; None: one of the usual ones.
            embedder: A name from `ettin models`, a hub id or a folder; None: the index's own.
            dimensions: How many dimensions of a vector to keep, the first ones.
            chunk_size: Tokens a passage, or "none" for whole documents; None: what the index has.
            chunk_overlap: Tokens that a passage repeats of the one before it.
            language: Whose word endings are ignored, or "none"; None: what the index has.
            factory: A FAISS index factory string, or "auto".
            rebuild: Whether to start from nothing.
            dry_run: Whether to report what would be done, and do nothing.
            wait: Whether to wait for another process that writes the index.

        Returns:
            What was read, embedded and rejected.

        Raises:
            CorpusError: A source is not there.
            IndexMismatchError: The index was made by another embedder or chunking.
            IndexBusyError: Another process writes it and `wait` is off.
        """
        from ettin_cli.corpus import document_stream
        from ettin_cli.index import RecordedSource
        from ettin_cli.indexing import BuildRequest
        from ettin_cli.text import Chunking

        added: list[str | Stream] = [os.fspath(source) for source in sources]
        if documents is not None:
            added.append(document_stream(documents))
        fields = tuple(include), tuple(exclude), id_field, text_field
        return self.build_from(
            BuildRequest(
                Path(into),
                added,
                [os.fspath(source) for source in remove],
                RecordedSource("", *fields),
                embedder=embedder,
                dimensions=dimensions,
                chunking=Chunking.parsed(chunk_size, chunk_overlap),
                factory=factory,
                language=language,
                engine=self.models.settings,
                offline=self.models.offline,
                rebuild=rebuild,
                dry_run=dry_run,
                wait=wait,
            )
        )

    def update(self, index: str | os.PathLike[str] | None = None) -> BuildReport:
        """Read an index's own sources again, and bring it up to date.

        Args:
            index: Its folder; None: ".ettin" here or in a folder above.
        """
        from ettin_cli.index import find_index

        return self.build(into=find_index(index))

    def build_from(self, request: BuildRequest) -> BuildReport:
        """Build an index as a request says."""
        from ettin_cli.indexing import build_index

        return build_index(request, self.models.reporter, self.models.loaded)

    def open(
        self,
        index: str | os.PathLike[str] | None = None,
        *,
        reranker: str | None = None,
        retriever: str = AUTO,
        expand: bool = False,
        long: str = TRUNCATE,
    ) -> Searcher:
        """Open an index to search it.

        Args:
            index: Its folder; None: ETTIN_INDEX, else ".ettin" here or in a folder above.
            reranker: An Ettin size, "embedded", a hub id, a folder, "none", or a cascade as in
                "embedded:50,32m"; None: ETTIN_RERANKER, else "auto": Ettin 32m where it is to hand.
            retriever: "dense", "bm25", "hybrid", or "auto": hybrid where the index has terms.
            expand: Whether to retrieve again with terms of the top passages.
            long: "truncate" cuts texts at the reranker's limit, "max" scores their best window.

        Raises:
            IndexNotFoundError: There is no index.
            ModelError: There is no reranker of this name, or it cannot be downloaded.
        """
        from ettin_cli.index import Index, find_index

        return self.searcher(
            Index(find_index(index)),
            self.find_rerankers(reranker),
            retriever=retriever,
            expand=expand,
            long=long,
        )

    def searcher(
        self,
        index: Index,
        rerankers: FoundRerankers | None,
        *,
        retriever: str = AUTO,
        expand: bool = False,
        long: str = TRUNCATE,
    ) -> Searcher:
        """Return what searches an index that is open."""
        from ettin_cli.searching import Searcher

        return Searcher(
            index, self.models, retriever=retriever, rerankers=rerankers, expand=expand, long=long
        )

    def find_rerankers(self, name: str | None = None) -> FoundRerankers | None:
        """Return what a name stands for; None where that is "none".

        Args:
            name: As in `open`.

        Raises:
            ModelError: There is no reranker of this name, or it cannot be downloaded.
        """
        name = name or os.environ.get("ETTIN_RERANKER") or AUTO
        return None if name == "none" else self.models.find_rerankers(name)

    def index_of(
        self,
        sources: Iterable[str | os.PathLike[str] | Stream],
        into: str | os.PathLike[str] | None = None,
    ) -> tuple[Index, BuildReport]:
        """Return an up to date index of some sources.

        It is made by the embedder that ETTIN_EMBEDDER names, else "auto".

        Args:
            into: Its folder; None: one in the cache.

        Raises:
            CorpusError: A source is not there.
        """
        from ettin_cli.index import Index
        from ettin_cli.indexing import BuildRequest
        from ettin_cli.searching import source_index

        named = [one if isinstance(one, Stream) else os.fspath(one) for one in sources]
        embedder = os.environ.get("ETTIN_EMBEDDER") or None
        folder = Path(into) if into else source_index(list(map(str, named)), embedder or AUTO)
        if folder.is_dir() and not into:
            # `ettin cache` shows when an entry was last used.
            os.utime(folder)
        request = BuildRequest(
            folder,
            named,
            embedder=embedder,
            engine=self.models.indexing,
            offline=self.models.offline,
        )
        report = self.build_from(request)
        return Index(folder), report

    def search(
        self,
        query: str | Query,
        *sources: str | os.PathLike[str],
        reranker: str | None = None,
        retriever: str = AUTO,
        expand: bool = False,
        long: str = TRUNCATE,
        **options: Any,
    ) -> Answer:
        """Answer a query over files and folders, or over the index that is found from here.

        Args:
            query: What to look for.
            sources: Where to look; they are indexed first, in the cache. None: ".ettin".
            options: As in `Searcher.search`.
        """
        from ettin_cli.index import Index, find_index

        rerankers = self.find_rerankers(reranker)
        index = self.index_of(sources)[0] if sources else Index(find_index(None))
        found = self.searcher(index, rerankers, retriever=retriever, expand=expand, long=long)
        with found as searcher:
            return searcher.search(query, **options)

    def reranker(self, name: str | None = None, *, long: str = TRUNCATE) -> TextReranker:
        """Load a reranker, or a cascade.

        Args:
            name: As in `open`, but not "none".
            long: As in `open`.

        Raises:
            InvalidArgumentError: It is "none".
            ModelError: It cannot be found or loaded.
        """
        found = self.find_rerankers(name)
        if found is None:
            raise InvalidArgumentError("scoring needs a reranker")
        last, before = self.models.rerankers(found, long)
        return TextReranker(last, before, self.models.reporter)

    def rerank(
        self,
        requests: Iterable[Request | tuple[str, Sequence[Text]]],
        *,
        reranker: str | None = None,
        long: str = TRUNCATE,
        **options: Any,
    ) -> Iterator[Answer]:
        """Yield an answer a query, in order, as its documents are reranked.

        Args:
            requests: Queries, each with the documents that somebody else retrieved, best first.
            reranker: As in `open`.
            long: As in `open`.
            options: As in `TextReranker.rerank`.
        """
        return self.reranker(reranker, long=long).rerank(requests, **options)

    def score(
        self, pairs: Sequence[tuple[str, str]], *, reranker: str | None = None, long: str = TRUNCATE
    ) -> Scores:
        """Return the scores of (query, text) pairs, in their order: see `TextReranker.score`."""
        return self.reranker(reranker, long=long).score(pairs)

    def embedder(self, name: str = AUTO) -> Embedder:
        """Load an embedder.

        Args:
            name: A name from `ettin models`, a hub id or a folder.

        Raises:
            ModelError: It cannot be found or loaded.
        """
        return self.models.embedder(self.models.find_embedder(name))

    def embed(self, texts: Sequence[str], *, embedder: str = AUTO, queries: bool = False) -> Floats:
        """Return unit vectors of texts: float32, shape (len(texts), dimension).

        Args:
            queries: Whether they are queries, before which some models want a prompt.
        """
        model = self.embedder(embedder)
        return model.embed_queries(texts) if queries else model.embed_documents(texts)

    def evaluate(
        self,
        index: str | os.PathLike[str] | None,
        queries: Sequence[Query],
        qrels: Qrels,
        *,
        rerankers: Sequence[str] | None = None,
        retrievers: Sequence[str] = (AUTO,),
        candidates: Sequence[int] = (CANDIDATES,),
        blends: Sequence[float] = (0.0,),
        metrics: str = METRICS,
        by: str = DOCUMENT,
        fold: str = SAME,
        expand: bool = False,
        long: str = TRUNCATE,
        calibrate: bool = False,
    ) -> Evaluation:
        """Measure retrieval and reranking on judged queries.

        Args:
            index: As in `open`.
            queries: Those without judgements are left out.
            qrels: By query_id and doc_id, the relevance.
            rerankers: As in `open`; several are compared, and "none" is retrieval alone.
            retrievers: As in `open`; several are compared.
            candidates: Depths to compare; none: the judged documents of each query.
            blends: Shares of the retrieval score to compare.
            metrics: As in ir_measures; systems are compared by the first.
            by: As in `Searcher.search`; `fold` likewise.
            expand: Whether to measure each retriever with expansion too.
            long: As in `open`.
            calibrate: Whether to learn probabilities for `min_probability`, kept by the index.

        Returns:
            Each system with its values by query and its run, and how they compare.

        Raises:
            CorpusError: No query has judgements.
            CalibrationError: There are too few judgements to calibrate with.
        """
        from ettin_cli.evaluation import (
            EvaluationRequest,
            Evaluator,
            named_rerankers,
            parse_metrics,
            require_calibratable,
        )
        from ettin_cli.index import Index, find_index
        from ettin_cli.searching import SearchOptions

        names = rerankers or [os.environ.get("ETTIN_RERANKER") or AUTO]
        found = named_rerankers(names, self.models)
        if calibrate:
            require_calibratable(found)
        request = EvaluationRequest(
            retrievers,
            found,
            sorted(set(candidates)),
            sorted(set(blends)),
            parse_metrics(metrics),
            expand,
            long,
            SearchOptions(by=by, fold=fold),
        )
        with Index(find_index(index)) as opened:
            evaluator = Evaluator(opened, self.models, request)
            evaluation, outcome = evaluator.measure(str(opened.folder), queries, qrels)
            if calibrate:
                list(evaluator.calibrate(outcome))
        return evaluation
