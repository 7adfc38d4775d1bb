"""An open index with the models that search it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from ettin_cli.errors import CalibrationError, InvalidArgumentError
from ettin_cli.index import Filter, Index
from ettin_cli.models.rerankers import require_long
from ettin_cli.platforms import relative
from ettin_cli.records import (
    Answer,
    Embedder,
    Hit,
    Passage,
    Query,
    Reporter,
    Reranker,
    require_list,
    require_type,
)
from ettin_cli.runtime import Closing, Loaded
from ettin_cli.searching.answering import search
from ettin_cli.searching.calibration.fitting import Calibration
from ettin_cli.searching.calibration.stored import is_calibrated, load, not_calibrated
from ettin_cli.searching.cascade import Step
from ettin_cli.searching.constraints import as_typed, demands_of
from ettin_cli.searching.multi_vector import (
    MultiVectorRetriever,
    TokenNearness,
    require_token_lists,
)
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.rerankers import RerankerCascade
from ettin_cli.searching.retrievers import (
    BM25,
    BY_MEANING,
    DENSE,
    MULTI_VECTOR,
    RETRIEVERS,
    DenseRetriever,
    HybridRetriever,
    LexicalRetriever,
    Retriever,
)
from ettin_cli.searching.session_models import Models
from ettin_cli.settings import AUTO, CANDIDATES, DOCUMENT, SAME, TOP_K, TRUNCATE
from ettin_cli.text.lexical import Terms


class Searcher(Closing):
    """An open index and the models that search it, for any number of threads.

    Models are loaded when the first query needs them. The index stays as it was when it was
    opened, even if it is updated meanwhile; `is_outdated` and `reopen` lead to a newer generation.

    Args:
        index: Closed with the searcher.
        models: Loads the models; they stay loaded when the searcher is closed.
        retriever: "dense", "bm25", "hybrid", "multi-vector", or "auto": hybrid where the index has
            terms.
        rerankers: None keeps the retrieval order.
        expand: Whether to retrieve again with terms of the top passages.
        long: "truncate" cuts texts at the reranker's limit, "max" scores them by their best window.
        exact: Whether to score with the model even where the index has its token vectors.

    Raises:
        InvalidArgumentError: `retriever` or `long` is unknown, or `long` needs a reranker.
    """

    def __init__(
        self,
        index: Index,
        models: Models,
        *,
        retriever: str = AUTO,
        rerankers: RerankerCascade | None = None,
        expand: bool = False,
        long: str = TRUNCATE,
        exact: bool = False,
    ) -> None:
        require_retriever(retriever)
        require_long(long, reranked=rerankers is not None)
        self.index, self.models, self.rerankers = index, models, rerankers
        self.retriever_name, self.expand, self.long = retriever, expand, long
        self.exact = exact
        self._parts = Loaded()
        self._closing: list[Callable[[], None]] = []

    def close(self) -> None:
        """Close the index; searches in progress in other threads still finish."""
        for close in (self._parts.close, self.index.close, *self._closing):
            close()

    def closing(self, close: Callable[[], None]) -> Self:
        """Register a function to call when the searcher is closed."""
        self._closing.append(close)
        return self

    def __repr__(self) -> str:
        counts = self.index.manifest.counts
        reranker = self.rerankers.name if self.rerankers else "none"
        return (
            f"<ettin index {self.index.folder}: {counts.documents:,} documents, "
            f"{counts.passages:,} passages, reranker {reranker}>"
        )

    def is_outdated(self) -> bool:
        """Return whether the index has been updated since it was opened.

        Reads the manifest of the index once.

        Raises:
            IndexNotFoundError: The index no longer exists.

        Example:
            >>> report = ettin.build("docs", into="notes")
            >>> with ettin.open("notes", reranker="none") as index:
            ...     report = ettin.build(documents=[{"text": "Bread is at noon."}], into="notes")
            ...     index.is_outdated()
            True
        """
        return self.index.is_outdated()

    def reopen(self) -> Searcher:
        """Return a searcher for the newest generation, with the same models and settings.

        This searcher stays usable until it is closed. Models of `ettin_cli.open` are freed when the
        new searcher is closed.

        Example:
            >>> report = ettin.build("docs", into="notes")
            >>> with ettin.open("notes", reranker="none") as index:
            ...     report = ettin.build(documents=[{"text": "Bread is at noon."}], into="notes")
            ...     with index.reopen() as newer:
            ...         newer.search("bread", top_k=1).hits[0].passage.text
            'Bread is at noon.'
        """
        reopened = Searcher(
            Index(self.index.folder),
            self.models,
            retriever=self.retriever_name,
            rerankers=self.rerankers,
            expand=self.expand,
            long=self.long,
            exact=self.exact,
        )
        reopened._closing, self._closing = self._closing, []
        return reopened

    def search(
        self,
        query: str | Query,
        *,
        top_k: int = TOP_K,
        candidates: int = CANDIDATES,
        by: str = DOCUMENT,
        min_score: float | None = None,
        min_probability: float | None = None,
        blend: float | str = AUTO,
        filters: Mapping[str, str | list[str]] | Iterable[Filter] = (),
        paths: Iterable[str] = (),
        fold: str = SAME,
        retrieved: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Return the answer to a query.

        In a string, `"a phrase"` is required, `-word` is excluded, and `field:value` must match
        the metadata or the title, as in the QUERY of `ettin search`; not with the retrievers
        "dense" and "multi-vector". A `Query` is used as it is.

        Args:
            query: The query text, or a `Query`.
            top_k: Maximum number of hits.
            candidates: Passages to score.
            by: "document": rank each document by its best passage; or "passage".
            min_score: Leave out hits below this score.
            min_probability: Leave out hits below this probability; needs a calibrated index.
            blend: Share of the retrieval score in the final score, from 0 to 1. "auto": the share
                that the reranker was measured best with; see `Answer.blend`.
            filters: Metadata fields, each with the value it must have or a list of alternatives, as
                a mapping or as pairs.
            paths: Globs, one of which a hit's path must match.
            fold: Merge duplicate passages into one hit: "same", "near" or "none".
            retrieved: Receives the answer in retrieval order, before the reranking begins.

        Returns:
            The hits, best first, with the time each stage took.

        Raises:
            InvalidArgumentError: An option is out of range, or the query has no words.
            CalibrationError: `min_probability` is given and the index is not calibrated.

        Example:
            >>> report = ettin.build("docs", into="notes")
            >>> with ettin.open("notes", reranker="none") as index:
            ...     [hit] = index.search('dog -"wifi"', top_k=1, paths=["*.html"]).hits
            >>> hit.passage.doc_id, hit.retrieval_rank
            ('faq.html', 1)
        """
        require_type(query, (str, Query), "query")
        require_list(paths, "paths")
        options = SearchOptions(
            top_k=top_k,
            candidates=candidates,
            by=by,
            min_score=min_score,
            min_probability=min_probability,
            blend=blend,
            filters=_filters(filters),
            paths=tuple(paths),
            fold=fold,
        )
        if isinstance(query, Query):
            [answer] = self.search_many([query], options, retrieved)
            return answer
        asked, options = parsed(query, options, self.retriever_name, self.index)
        # The answer reports the query as typed, with its constraints.
        first = (lambda answer: retrieved(as_typed(answer, query))) if retrieved else None
        [answer] = self.search_many([asked], options, first)
        return as_typed(answer, query)

    def search_many(
        self,
        queries: Iterable[Query],
        options: SearchOptions | None = None,
        retrieved: Callable[[Answer], None] | None = None,
    ) -> Iterator[Answer]:
        """Yield the answer to each query, in order, 64 queries at a time.

        Rerankers that encode a text apart from the query get more queries of a sequence at a time,
        so that they encode it once.

        Args:
            retrieved: As in `search`, for each query.

        Raises:
            InvalidArgumentError: An option needs a reranker, or a single one.
            CalibrationError: `min_probability` is given and the index is not calibrated.

        Example:
            >>> report = ettin.build("docs", into="notes")
            >>> queries = [ettin.Query("1", "bring my dog"), ettin.Query("2", "phone reception")]
            >>> with ettin.open("notes", reranker="none") as index:
            ...     answers = list(index.search_many(queries, ettin.SearchOptions(top_k=1)))
            >>> [(answer.query.query_id, len(answer.hits)) for answer in answers]
            [('1', 1), ('2', 1)]
        """
        len(self.index.passages)  # raises if the index is closed
        options = options or SearchOptions()
        self._check(options)
        return self._answers(queries, options, retrieved)

    def _answers(
        self,
        queries: Iterable[Query],
        options: SearchOptions,
        retrieved: Callable[[Answer], None] | None,
    ) -> Iterator[Answer]:
        retriever, reporter = self.retriever, self.models.reporter
        reporter.detail(f"retrieving with {retriever.name}")
        reranker, before, calibration = None, list[Step[Reranker]](), None
        if self.rerankers:
            options = self.rerankers.blended(options, retriever.name)
            reranker, before = self._loaded(self.rerankers)
            if not before:
                needed = options.min_probability is not None
                calibration = self._calibration(reranker.card.max_tokens, needed=needed)
        first = (lambda answer: retrieved(_from_here(answer))) if retrieved else None
        answers = search(
            self.index, queries, retriever, reranker, options, reporter, calibration, before, first
        )
        yield from map(_from_here, answers)

    def _loaded(self, rerankers: RerankerCascade) -> tuple[Reranker, list[Step[Reranker]]]:
        tokens_of = None if self.exact else self.index
        return self._parts.once(
            "rerankers", lambda: self.models.rerankers(rerankers, self.long, tokens_of)
        )

    @property
    def retriever(self) -> Retriever:
        """The retriever; chosen and loaded once.

        Raises:
            IndexMismatchError: The index has no terms, or its embedder's weights have changed.
        """
        return self._parts.once(
            "retriever",
            lambda: choose_retriever(
                self.retriever_name,
                self.index,
                lambda: self.models.embedder_of(self.index),
                self.models.reporter,
                expand=self.expand,
            ),
        )

    def _check(self, options: SearchOptions) -> None:
        needed = options.min_probability is not None
        if self.rerankers is None:
            require_no_scores(options)
            return
        if needed and self.rerankers.before:
            raise InvalidArgumentError(
                "a minimum probability needs a single reranker: calibrations are per reranker",
                argument="min_probability",
            )
        if needed and not is_calibrated(self.index.folder, self.rerankers.last):
            raise not_calibrated(self.index.folder, self.rerankers.last, long=self.long)

    def _calibration(self, max_tokens: int, *, needed: bool) -> Calibration | None:
        """Return the index's calibration for the reranker; None if there is no usable one."""
        assert self.rerankers is not None
        folder, last = self.index.folder, self.rerankers.last
        try:
            if needed or is_calibrated(folder, last):
                return load(folder, last, max_tokens, long=self.long)
        except CalibrationError as error:
            if needed:
                raise
            self.models.reporter.notice(f"hits have no probability: {error.problem}")
        return None


def parsed(
    query: str, options: SearchOptions, retriever: str, index: Index
) -> tuple[Query, SearchOptions]:
    """Return a typed query without its constraints, and the options with them added.

    Only fields that a document of the index has are constraints.

    Raises:
        InvalidArgumentError: The query contains only constraints, or is empty.
    """
    if not query.strip():
        raise InvalidArgumentError("empty query", argument="query")
    if retriever in BY_MEANING:
        return Query("1", query), options
    demands = demands_of(query, index)
    if not demands:
        return Query("1", query), replace(options, demands=demands)
    if not demands.text:
        raise InvalidArgumentError(
            "the query contains only exclusions or fields; add a word to search for, or quote text "
            "to match literally",
            argument="query",
        )
    return Query("1", demands.text), replace(options, demands=demands)


def require_no_scores(options: SearchOptions) -> None:
    """Check that a search does without a reranker.

    Raises:
        InvalidArgumentError: An option needs one.
    """
    if options.min_probability is not None:
        raise InvalidArgumentError(
            "a minimum probability needs a reranker",
            code="needs-reranker",
            argument="min_probability",
        )
    if options.share:
        raise InvalidArgumentError(
            "blending needs a reranker", code="needs-reranker", argument="blend"
        )


def require_retriever(name: str) -> None:
    """Check the name of a retriever.

    Raises:
        InvalidArgumentError: The name is unknown.
    """
    if name not in RETRIEVERS:
        raise InvalidArgumentError(
            f"unknown retriever {name!r}", argument="retriever", choices=RETRIEVERS
        )


def choose_retriever(
    name: str,
    index: Index,
    embedder: Callable[[], Embedder],
    reporter: Reporter,
    *,
    expand: bool = False,
) -> Retriever:
    """Return a retriever for an index; `auto` is hybrid where the index has terms.

    Where the index has the token vectors of a multi-vector model, hybrid fuses their scores.

    Args:
        embedder: Loads the embedder of the index, if needed.
        expand: Retrieve again with terms of the top passages.

    Raises:
        IndexMismatchError: The index has no terms or token vectors, or its embedder's weights have
            changed.
        InvalidArgumentError: The retriever cannot expand.
    """
    if name == AUTO and index.manifest.language is None:
        reporter.notice(
            f"using dense retrieval: {index.folder} has no BM25 terms; update the index to add them"
        )
        name = DENSE
    if name not in BY_MEANING and index.lexicon.made_by != Terms(index.language).made_by:
        reporter.notice(
            f"the BM25 terms of {index.folder} are from a different version, so some words are not "
            "found; update the index to rebuild them"
        )
    if name == BM25:
        return LexicalRetriever(index, expand=expand)
    if name == DENSE:
        return DenseRetriever(index, embedder(), expand=expand)
    if name == MULTI_VECTOR:
        require_token_lists(index)
    elif index.token_lists is None:
        return HybridRetriever(index, embedder(), expand=expand)
    if expand:
        raise InvalidArgumentError(
            "retrieval by token vectors cannot be expanded, only dense and BM25",
            argument="expand",
        )
    model = embedder()
    if name == MULTI_VECTOR:
        return MultiVectorRetriever(index, model)
    return HybridRetriever(index, model, near=TokenNearness(index, model))


def _filters(given: Mapping[str, str | list[str]] | Iterable[Filter]) -> tuple[Filter, ...]:
    if not isinstance(given, Mapping):
        return tuple(given)
    return tuple(
        (name, tuple(value) if isinstance(value, list) else value) for name, value in given.items()
    )


def _from_here(answer: Answer) -> Answer:
    """Return an answer with paths relative to the working directory."""
    return replace(answer, hits=[_hit_from_here(hit) for hit in answer.hits])


def _hit_from_here(hit: Hit) -> Hit:
    duplicates = {row: _relative(passage) for row, passage in hit.duplicates.items()}
    return replace(hit, passage=_relative(hit.passage), duplicates=duplicates)


def _relative(passage: Passage) -> Passage:
    return replace(passage, path=from_here(passage.path))


def from_here(path: str | None) -> str | None:
    """Return a path relative to the working directory, if it is on the same drive."""
    if path is None:
        return None
    return Path(relative(path)).as_posix()
