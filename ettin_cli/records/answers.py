"""What is asked and found: queries, candidates, hits and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ettin_cli.records.documents import Metadata, Passage

if TYPE_CHECKING:
    import pyarrow as pa


# By query_id and doc_id.
Qrels = Mapping[str, Mapping[str, int]]


Run = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Query:
    """An information need.

    Args:
        text: What a reranker reads.
        forms: Other ways to ask the same; candidates are those of all forms together.
    """

    query_id: str
    text: str
    forms: tuple[str, ...] = ()

    @property
    def every_form(self) -> tuple[str, ...]:
        """The text and the other forms."""
        return self.text, *self.forms


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of several retrievers has a passage.

    Args:
        rank: 1-based, among passages; None: below those that it looked at.
    """

    rank: int | None
    score: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that retrieval found.

    Args:
        passage_id: Its row in the index, or its place from 0 in a list that somebody else made.
        retrieval_score: None where that list has no scores.
        places: By retriever, where several had a say; else empty.
        duplicates: Passages of the same text that this one stands for, by their passage_ids.
    """

    passage_id: int
    passage: Passage
    retrieval_score: float | None
    places: Mapping[str, Place] = field(default_factory=dict)
    duplicates: Mapping[int, Passage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """A query with the candidates that somebody else retrieved for it, best first.

    Args:
        fields: The input's own fields of the query, which come back with the answer.
        unnamed: How many candidates came without an id, so that their places stand for it.
    """

    query: Query
    candidates: Sequence[Candidate]
    fields: Metadata = field(default_factory=dict)
    unnamed: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """One line of an answer: a passage with the scores the stages gave it.

    Args:
        score: What hits are ordered by: the reranker's score, the blend, or without a
            reranker the retrieval score. Higher is better.
        retrieval_rank: 1-based place in the order that retrieval alone would give: of the passage,
            or of its document where each document counts once.
        rerank_score: The reranker's own score, where `score` is a blend; else None.
        truncated: The reranker could not read all of the text.
        stale: The source file has changed or gone since it was indexed.
        probability: That the passage is relevant, where the index is calibrated; else None.
        places: By retriever, where several had a say; else empty.
        duplicates: Passages of the same text that this one stands for, by their passage_ids.
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
    places: Mapping[str, Place] = field(default_factory=dict)
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
    """What one of several rerankers did for a query.

    Args:
        scored: Passages it scored.
        truncated: How many of those it could not read whole.
        kept: How many went on to the next one; of the last: were ranked.
    """

    reranker: str
    engine: str
    scored: int
    truncated: int
    kept: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query found: its hits, best first, and how long each stage took.

    Args:
        embedder: None where nothing was embedded, or the candidates came from elsewhere.
        seconds: By stage: embed, retrieve, rerank and total; empty where a window of queries
            was reranked at once.
        fields: The fields a request came with.
        retriever: None where the candidates came from elsewhere.
        stages: What each reranker did, where there are several one behind another.
    """

    query: Query
    hits: Sequence[Hit]
    embedder: str | None
    reranker: str
    engine: str
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
