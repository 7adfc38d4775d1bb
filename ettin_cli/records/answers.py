"""Queries, candidates, hits and answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from ettin_cli.records.columns import beginning, columns, dumps, hits_schema
from ettin_cli.records.documents import Metadata, Passage

if TYPE_CHECKING:
    import pyarrow as pa

# Keyed by query_id, then doc_id.
Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]

# Keys of a hit in JSON that are left out if they do not apply.
OPTIONAL_KEYS = frozenset(
    {
        *("rerank_score", "probability", "retrieval", "page", "text"),
        *("headings", "truncated", "stale", "duplicates"),
    }
)


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
        passage = self.passage
        shape = {
            "rank": rank,
            "doc_id": passage.doc_id,
            "passage_id": self.passage_id,
            "score": self.score,
            "rerank_score": self.rerank_score,
            "probability": self.probability,
            "retrieval_rank": self.retrieval_rank,
            "retrieval_score": self.retrieval_score,
            "retrieval": {name: asdict(place) for name, place in self.by_retriever.items()} or None,
            "title": passage.title,
            "headings": list(passage.headings) or None,
            "path": passage.path,
            "start_line": passage.start_line,
            "end_line": passage.end_line,
            "page": passage.page,
            "text": passage.text if text else None,
            "metadata": dict(passage.metadata),
            "duplicates": [_duplicate(*item) for item in self.duplicates.items()] or None,
            "truncated": self.truncated or None,
            "stale": self.stale or None,
        }
        return {k: v for k, v in shape.items() if v is not None or k not in OPTIONAL_KEYS}

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

    def to_dict(self) -> dict[str, Any]:
        """Return the stage as `ettin search -f json` writes it."""
        return {
            "reranker": self.reranker,
            "engine": self.backend,
            "scored": self.scored,
            "truncated": self.truncated,
            "kept": self.kept,
        }


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
        left_out: Number of passages that phrases, exclusions and fields of the query left out; None
            if it has none.
        searched: The text of the query without what it requires or excludes; empty if that is all
            of it.
        blend: Share of the retrieval score in the final score; 0 without a blend.
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
    left_out: int | None = None
    searched: str = ""
    blend: float = 0.0

    @property
    def wanted(self) -> str:
        """The text whose words to look for in the hits: the query without its constraints."""
        return self.searched or self.query.text

    def to_dict(self, *, text: bool = True) -> dict[str, Any]:
        """Return the answer as `ettin search -f json` writes it.

        Args:
            text: Whether to include the passages' texts.
        """
        hits = [hit.to_dict(rank, text=text) for rank, hit in enumerate(self.hits, start=1)]
        shape = {
            "query_id": self.query.query_id,
            "query": self.query.text,
            **self.fields,
            **({"retriever": self.retriever} if self.retriever is not None else {}),
            **({"embedder": self.embedder} if self.embedder is not None else {}),
            "reranker": self.reranker,
            **({"blend": self.blend} if self.blend else {}),
            "engine": self.backend,
            **({"left_out": self.left_out} if self.left_out is not None else {}),
            **({"stages": [stage.to_dict() for stage in self.stages]} if self.stages else {}),
            "hits": hits,
        }
        return {**shape, "seconds": dict(self.seconds)} if self.seconds else shape

    def rows(self, *, text: bool = True) -> Iterator[dict[str, Any]]:
        """Yield a row per hit with its query, by column; objects and lists are JSON strings.

        Args:
            text: Whether to include the passages' texts.
        """
        of_query = {"query_id": self.query.query_id, "query": self.query.text}
        if self.fields:
            of_query["query_fields"] = dumps(dict(self.fields)).decode()
        for rank, hit in enumerate(self.hits, start=1):
            shape = hit.to_dict(rank, text=text)
            shape["metadata"] = dumps(shape["metadata"]).decode()
            for name in {"retrieval", "duplicates"} & shape.keys():
                shape[name] = dumps(shape[name]).decode()
            shape |= of_query
            shape["truncated"], shape["stale"] = hit.truncated, hit.stale
            yield {name: shape.get(name) for name in columns(text=text)}

    def to_arrow(self, *, text: bool = True) -> pa.Table:
        """Return the hits as a table, one row per hit, with the columns of `-f parquet`.

        Args:
            text: Whether to include the passages' texts.
        """
        import pyarrow as pa

        return pa.Table.from_pylist(list(self.rows(text=text)), hits_schema(text=text))

    def _repr_html_(self) -> str:
        rows = [
            (
                str(rank),
                f"{hit.score:.4g}",
                hit.passage.title or hit.passage.doc_id,
                hit.passage.path or "",
                beginning(hit.passage.text),
            )
            for rank, hit in enumerate(self.hits, start=1)
        ]
        head = "".join(f"<th>{name}</th>" for name in ("rank", "score", "title", "path", "text"))
        cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        caption = escape(f"{self.query.text} ({self.reranker})")
        return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>"

    def __repr__(self) -> str:
        hits = f"{len(self.hits)} hit{'s' * (len(self.hits) != 1)}"
        best = f", best {self.hits[0]!r}" if self.hits else ""
        return f"<Answer to {self.query.text!r}: {hits} by {self.reranker}{best}>"


def _duplicate(passage_id: int, passage: Passage) -> dict[str, Any]:
    return {
        "doc_id": passage.doc_id,
        "passage_id": passage_id,
        "path": passage.path,
        "start_line": passage.start_line,
    }
