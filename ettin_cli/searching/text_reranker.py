"""Rerank texts without an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ettin_cli.errors import ClosedError, InvalidArgumentError
from ettin_cli.files.requests import renumbered
from ettin_cli.records import (
    Answer,
    Candidate,
    Document,
    Passage,
    Query,
    Reporter,
    Request,
    Reranker,
    Scores,
    Silence,
    listed,
    require_list,
    require_type,
)
from ettin_cli.runtime import Closing
from ettin_cli.searching.cascade import Step, cascade_name
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.rerank_requests import rerank
from ettin_cli.settings import CANDIDATES, TOP_K

Text = str | Document | Passage


class TextReranker(Closing):
    """A reranker that is loaded, or a cascade; any number of threads may use it."""

    def __init__(
        self,
        last: Reranker,
        before: Sequence[Step[Reranker]] = (),
        reporter: Reporter | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.last, self.before, self.reporter = last, before, reporter or Silence()
        self._on_close, self._closed = on_close, False

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the reranker is closed")

    def __repr__(self) -> str:
        steps = [(step.reranker.card.name, step.keep) for step in self.before]
        name = cascade_name(steps, self.last.card.name)
        return f"<ettin reranker {name} on {self.last.card.backend}>"

    def close(self) -> None:
        """Free the model, unless it is a session's."""
        if self._on_close:
            self._closed = True
            self._on_close()

    def rank(self, query: str, texts: Sequence[Text], *, top_k: int | None = None) -> Answer:
        """Rank texts by how well they answer a query.

        Args:
            texts: Strings, whose ids are their positions from 0, or documents.
            top_k: Maximum number of hits; None: all.

        Returns:
            The hits, best first; higher scores are better, on the reranker's own scale.

        Example:
            >>> with ettin.reranker("embedded") as reranker:
            ...     answer = reranker.rank("ferry", ["Bread is at noon.", "It sails at nine."])
            >>> [(hit.passage.doc_id, hit.passage.text) for hit in answer.hits]
            [('1', 'It sails at nine.'), ('0', 'Bread is at noon.')]
        """
        texts = listed(texts, "texts")
        most = max(1, len(texts)) if top_k is None else top_k
        [answer] = self.rerank([(query, texts)], top_k=most, candidates=max(1, len(texts)))
        return answer

    def rerank(
        self,
        requests: Iterable[Request | tuple[str, Sequence[Text]]],
        *,
        top_k: int = TOP_K,
        candidates: int = CANDIDATES,
        min_score: float | None = None,
        blend: float = 0.0,
    ) -> Iterator[Answer]:
        """Yield an answer per query, in order, as soon as its documents are reranked.

        Args:
            requests: Queries, each with its retrieved documents, best first.
            top_k: Maximum number of hits per answer.
            candidates: Maximum number of documents scored per query.
            min_score: Leave out hits below this score.
            blend: Share of the retrieval score in the final score, from 0 to 1.

        Example:
            >>> requests = [("ferry", ["Bread.", "A boat."]), ("bakery", ["Bread.", "A boat."])]
            >>> with ettin.reranker("embedded") as reranker:
            ...     [answer.hits[0].passage.text for answer in reranker.rerank(requests)]
            ['A boat.', 'Bread.']
        """
        options = SearchOptions(
            top_k=top_k, candidates=candidates, min_score=min_score, blend=blend
        )
        self._require_open()
        require_list(requests, "requests")
        items = (_request(item, number) for number, item in enumerate(requests, start=1))
        windows = rerank(items, self.last, options, self.reporter, before=self.before)
        return (answer for window in windows for answer in window.answers)

    def score(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        """Return the scores of (query, text) pairs: `values`, float32, shape (len(pairs),).

        `truncated` marks the texts that exceeded its token limit.

        Raises:
            InvalidArgumentError: This is a cascade, which scores some pairs only.

        Example:
            >>> with ettin.reranker("embedded") as reranker:
            ...     scores = reranker.score([("ferry", "It sails at nine."), ("ferry", "")])
            >>> scores.values.shape, scores.truncated.tolist()
            ((2,), [False, False])
        """
        self._require_open()
        if self.before:
            raise InvalidArgumentError("a cascade scores some pairs only; use rank or rerank")
        pairs = listed(pairs, "pairs")
        for pair in pairs:
            require_type(pair, (tuple, list), "each of pairs")
            if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
                raise InvalidArgumentError(
                    "each of pairs must be a query and a text", argument="pairs"
                )
        return self.last.score(pairs)


def _request(item: Request | tuple[str, Sequence[Text]], number: int) -> Request:
    if isinstance(item, Request):
        return item
    require_type(item, (tuple, list), "each of requests")
    if len(item) != 2:
        raise InvalidArgumentError(
            "each of requests must be a query and its texts", argument="requests"
        )
    query, texts = item
    require_type(query, (str,), "query")
    require_list(texts, "texts")
    candidates = [Candidate(0, _passage(text), None) for text in texts]
    return Request(Query(str(number), query), renumbered(enumerate(candidates)))


def _passage(text: Text) -> Passage:
    if isinstance(text, Passage):
        return text
    if isinstance(text, Document):
        return Passage(text.doc_id, text.text, text.title, metadata=text.metadata)
    require_type(text, (str, Document, Passage), "each of texts")
    return Passage("", text)
