"""The calls of a session that search, rerank, score and embed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ettin_cli.api.indexing import IndexingCalls
from ettin_cli.errors import InvalidArgumentError
from ettin_cli.records import Answer, Embedder, Query, Request, Scores, listed, require_type
from ettin_cli.searching import RerankerCascade, Text, TextReranker
from ettin_cli.settings import AUTO, TRUNCATE

if TYPE_CHECKING:
    from ettin_cli.index import Index
    from ettin_cli.records import Floats
    from ettin_cli.searching import Searcher


class RetrievalCalls(IndexingCalls):
    """Search an index, rerank, score and embed."""

    def open(
        self,
        index: str | os.PathLike[str] | None = None,
        *,
        reranker: str | None = None,
        retriever: str = AUTO,
        expand: bool = False,
        long: str = TRUNCATE,
        exact: bool = False,
    ) -> Searcher:
        """Open an index to search it.

        Args:
            index: Its folder. None: ETTIN_INDEX, else ".ettin" here or in a parent folder.
            reranker: An Ettin size such as "32m", "embedded", a hub id, a folder, a cascade such
                as "embedded:50,32m", or "none". None: ETTIN_RERANKER, else "auto": Ettin 32m, or
                "embedded" if it is neither cached nor downloadable.
            retriever: "dense", "bm25", "hybrid", "multi-vector", or "auto": hybrid if the index
                has terms.
            expand: Whether to retrieve again with terms of the top passages.
            long: "truncate" cuts texts at the reranker's token limit, "max" scores them by their
                best window.
            exact: Whether to score with the model even where the index has its token vectors.

        Raises:
            IndexNotFoundError: The folder contains no index.
            InvalidArgumentError: An argument is unknown.
            ModelError: The reranker is unknown or cannot be downloaded.

        Example:
            >>> with ettin.Session(offline=True) as session:
            ...     report = session.build("docs", into="visits")
            ...     with session.open("visits", reranker="embedded") as index:
            ...         [hit] = index.search("can I bring my dog", top_k=1).hits
            >>> hit.passage.path, hit.passage.start_line
            ('docs/faq.html', 5)
        """
        from ettin_cli.index import Index, find_index

        return self.searcher(
            Index(find_index(index)),
            self.find_rerankers(reranker),
            retriever=retriever,
            expand=expand,
            long=long,
            exact=exact,
        )

    def searcher(
        self,
        index: Index,
        rerankers: RerankerCascade | None,
        *,
        retriever: str = AUTO,
        expand: bool = False,
        long: str = TRUNCATE,
        exact: bool = False,
    ) -> Searcher:
        """Return a searcher of an open index, which it closes."""
        from ettin_cli.searching import Searcher

        return Searcher(
            index,
            self.models,
            retriever=retriever,
            rerankers=rerankers,
            expand=expand,
            long=long,
            exact=exact,
        )

    def find_rerankers(self, name: str | None = None) -> RerankerCascade | None:
        """Return the reranker or cascade of a name, without loading it; None for "none".

        Args:
            name: As in `open`.

        Raises:
            ModelError: The reranker is unknown or cannot be downloaded.
        """
        name = name or os.environ.get("ETTIN_RERANKER") or AUTO
        return None if name == "none" else self.models.find_rerankers(name)

    def search(
        self,
        query: str | Query,
        *sources: str | os.PathLike[str],
        reranker: str | None = None,
        retriever: str = AUTO,
        expand: bool = False,
        long: str = TRUNCATE,
        exact: bool = False,
        **options: Any,
    ) -> Answer:
        """Search files and folders, or the default index.

        Args:
            query: The query text, or a `Query`.
            sources: Files and folders to search. An index of them is built or updated in the cache
                first, with the embedder in ETTIN_EMBEDDER. None: the default index of `open`.
            reranker: As in `open`, like the arguments after it.
            options: As in `Searcher.search`.

        Returns:
            The hits, best first.

        Raises:
            CorpusError: A source does not exist.
            IndexNotFoundError: There is no default index.

        Example:
            >>> with ettin.Session(offline=True) as session:
            ...     answer = session.search("can I bring my dog", "docs", reranker="none", top_k=2)
            >>> [hit.passage.path for hit in answer.hits]
            ['docs/faq.html', 'docs/getting-here.md']
        """
        from ettin_cli.index import Index, find_index
        from ettin_cli.models.rerankers import require_long
        from ettin_cli.searching import require_retriever

        rerankers = self.find_rerankers(reranker)
        # Checked before anything is indexed; the options are checked by the search.
        require_retriever(retriever)
        require_long(long, reranked=rerankers is not None)
        for source in sources:
            require_type(source, (str, os.PathLike), "each of sources")
        index = self.read_index_of(sources) if sources else Index(find_index(None))
        with self.searcher(
            index, rerankers, retriever=retriever, expand=expand, long=long, exact=exact
        ) as searcher:
            return searcher.search(query, **options)

    def reranker(self, name: str | None = None, *, long: str = TRUNCATE) -> TextReranker:
        """Load a reranker or a cascade, to rank texts without an index.

        Args:
            name: As in `open`, but not "none".
            long: As in `open`.

        Raises:
            InvalidArgumentError: The name is "none".
            ModelError: The reranker is unknown, or cannot be downloaded or loaded.

        Example:
            >>> with ettin.Session(offline=True) as session:
            ...     cascade = session.reranker("embedded:1,embedded")
            ...     answer = cascade.rank("ferry", ["It sails at nine.", "Bread is at noon."])
            >>> [hit.passage.text for hit in answer.hits]
            ['It sails at nine.']
        """
        found = self.find_rerankers(name)
        if found is None:
            raise InvalidArgumentError(
                "scores need a reranker", code="needs-reranker", argument="reranker"
            )
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
        """Yield an answer per query, in order, as its documents are reranked.

        Args:
            requests: Queries, each with the documents that another system retrieved, best first.
                They are taken from the iterable a window at a time.
            reranker: As in `reranker`.
            long: As in `open`.
            options: As in `TextReranker.rerank`.

        Example:
            >>> requests = [("ferry", ["Bread.", "A boat."]), ("bakery", ["Bread.", "A boat."])]
            >>> with ettin.Session(offline=True) as session:
            ...     answers = list(session.rerank(requests, reranker="embedded", top_k=1))
            >>> [answer.hits[0].passage.text for answer in answers]
            ['A boat.', 'Bread.']
        """
        return self.reranker(reranker, long=long).rerank(requests, **options)

    def score(
        self, pairs: Sequence[tuple[str, str]], *, reranker: str | None = None, long: str = TRUNCATE
    ) -> Scores:
        """Return the scores of (query, text) pairs, in their order.

        Args:
            pairs: Queries and texts.
            reranker: As in `reranker`, but not a cascade.
            long: As in `open`.

        Returns:
            `values`, float32 of shape (len(pairs),): raw scores on the reranker's scale, higher is
            better. `truncated`, bool of the same shape: whether the text was truncated.

        Example:
            >>> pairs = [("ferry", "It sails at nine."), ("ferry", "Bread is at noon.")]
            >>> with ettin.Session(offline=True) as session:
            ...     scores = session.score(pairs, reranker="embedded")
            >>> scores.values.shape, bool(scores.values[0] > scores.values[1])
            ((2,), True)
        """
        return self.reranker(reranker, long=long).score(pairs)

    def embedder(self, name: str = AUTO) -> Embedder:
        """Load an embedder.

        Args:
            name: A name from `ettin models`, a hub id or a folder.

        Raises:
            ModelError: The embedder is unknown, or cannot be downloaded or loaded.

        Example:
            >>> with ettin.Session(offline=True) as session:
            ...     card = session.embedder().card
            >>> card.dimension, card.max_tokens
            (384, 256)
        """
        return self.models.embedder(self.models.find_embedder(name))

    def embed(self, texts: Sequence[str], *, embedder: str = AUTO, queries: bool = False) -> Floats:
        """Return unit vectors of texts: float32 of shape (len(texts), dimension).

        Args:
            embedder: As in `embedder`.
            queries: Whether the texts are queries; some models need a prompt before queries.

        Example:
            >>> with ettin.Session(offline=True) as session:
            ...     vectors = session.embed(["The ferry sails at nine.", "Bread is at noon."])
            ...     [query] = session.embed(["when does the boat leave"], queries=True)
            >>> vectors.shape, int((vectors @ query).argmax())
            ((2, 384), 0)
        """
        texts = listed(texts, "texts")
        for text in texts:
            require_type(text, (str,), "each of texts")
        model = self.embedder(embedder)
        return model.embed_queries(texts) if queries else model.embed_documents(texts)
