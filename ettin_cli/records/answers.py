"""Queries, candidates, hits and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ettin_cli.records.documents import Metadata, Passage

if TYPE_CHECKING:
    import pyarrow as pa


# Keyed by query_id, then doc_id.
Qrels = Mapping[str, Mapping[str, int]]


Run = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Query:
    """An information need.

    Args:
        text: The text given to the reranker.
        forms: Alternative wordings. Candidates are retrieved for all forms together.
    """

    query_id: str
    text: str
    forms: tuple[str, ...] = ()

    @property
    def every_form(self) -> tuple[str, ...]:
        """The text and all alternative wordings."""
        return self.text, *self.forms


@dataclass(frozen=True, slots=True)
class RetrieverRank:
    """The rank and score of a passage in one of several retrievers.

    Args:
        rank: 1-based, among passages; None if below the retriever's depth.
    """

    rank: int | None
    score: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A retrieved passage.

    Args:
        passage_id: Its row in the index, or its 0-based position in a given candidate list.
        retrieval_score: None if a given candidate list has no scores.
        by_retriever: Rank and score by retriever, if several were combined; else empty.
        duplicates: Passages with the same text that this one represents, by passage_id.
    """

    passage_id: int
    passage: Passage
    retrieval_score: float | None
    by_retriever: Mapping[str, RetrieverRank] = field(default_factory=dict)
    duplicates: Mapping[int, Passage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """A query with candidates that were retrieved elsewhere, best first.

    Args:
        fields: The query's own fields in the input, copied to the answer.
        unnamed: Number of candidates without an id; they are identified by position.
    """

    query: Query
    candidates: Sequence[Candidate]
    fields: Metadata = field(default_factory=dict)
    unnamed: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a query: a passage with the scores of each stage.

    Args:
        score: The value hits are sorted by: the reranker's score, the blend, or without a
            reranker the retrieval score. Higher is better.
        retrieval_rank: 1-based rank by retrieval alone: of the passage, or of its document if
            each document counts once.
        rerank_score: The reranker's score if `score` is a blend; else None.
        truncated: Whether the reranker could not read all of the text.
        stale: Whether the source file has changed or gone since it was indexed.
        probability: Probability of relevance if the index is calibrated; else None.
        by_retriever: Rank and score by retriever, if several were combined; else empty.
        duplicates: Passages with the same text that this one represents, by passage_id.
    """

    passage_id: int
    passage: Passage
    score: float
    retrieval_rank: int
    retrieval_score: float | None
    rerank_score: float | None = None
    truncated: bool = False
    stale: bool = False
    probability: float | None = None
    by_retriever: Mapping[str, RetrieverRank] = field(default_factory=dict)
    duplicates: Mapping[int, Passage] = field(default_factory=dict)

    def to_dict(self, rank: int = 1, *, text: bool = True) -> dict[str, Any]:
        """Return the hit as `ettin search -f json` writes it.

        Args:
            rank: Its 1-based position in the answer.
            text: Whether to include the passage's text.
        """
        from ettin_cli.records.shapes import hit_json

        return hit_json(self, rank, text=text)

    def __repr__(self) -> str:
        title = f", title={self.passage.title!r}" if self.passage.title else ""
        return f"Hit(doc_id={self.passage.doc_id!r}, score={self.score:.4g}{title})"


@dataclass(frozen=True, slots=True)
class Stage:
    """The work of one reranker of a cascade for a query.

    Args:
        scored: Number of passages scored.
        truncated: Number of those that were truncated.
        kept: Number of passages passed to the next reranker, or for the last one, ranked.
    """

    reranker: str
    backend: str
    scored: int
    truncated: int
    kept: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a query: its hits, best first, and the time of each stage.

    Args:
        embedder: None if nothing was embedded or the candidates came from elsewhere.
        seconds: Time by stage: embed, retrieve, rerank and total; empty if a window of queries
            was reranked in one batch.
        fields: The fields of the request.
        retriever: None if the candidates came from elsewhere.
        stages: The work of each reranker, if several form a cascade.
    """

    query: Query
    hits: Sequence[Hit]
    embedder: str | None
    reranker: str
    backend: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    fields: Metadata = field(default_factory=dict)
    retriever: str | None = None
    stages: Sequence[Stage] = ()

    def to_dict(self, *, text: bool = True) -> dict[str, Any]:
        """Return the answer as `ettin search -f json` writes it.

        Args:
            text: Whether to include the passages' texts.
        """
        from ettin_cli.records.shapes import answer_json

        return answer_json(self, text=text)

    def to_arrow(self, *, text: bool = True) -> pa.Table:
        """Return the hits as a table, one row per hit, with the columns of `-f parquet`.

        Args:
            text: Whether to include the passages' texts.
        """
        from ettin_cli.records.shapes import answer_table

        return answer_table(self, text=text)

    def _repr_html_(self) -> str:
        from ettin_cli.records.shapes import answer_html

        return answer_html(self)

    def __repr__(self) -> str:
        hits = f"{len(self.hits)} hit{'s' * (len(self.hits) != 1)}"
        best = f", best {self.hits[0]!r}" if self.hits else ""
        return f"<Answer to {self.query.text!r}: {hits} by {self.reranker}{best}>"
