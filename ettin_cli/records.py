"""The records that flow through the pipeline, and the protocols of its stages.

Nothing here reads, computes or prints. Stages know these records, not each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Flags = NDArray[np.bool_]

DocumentKind = Literal["prose", "markdown", "rst", "code"]
Metadata = Mapping[str, Any]
# Keyed by query_id, then doc_id.
Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Document:
    r"""A unit of the corpus, as returned by a reader.

    Args:
        doc_id: Unique within its source.
        text: The text to search; line breaks are "\n".
        title: Shown with a hit and embedded before the text; empty if there is none.
        metadata: All other fields of a record, as JSON values.
        kind: Determines the boundaries on which the text may be split.
        lines: For each line of `text`, its 1-based line in the source file. A single entry
            applies to all of the text, as in a table with one record per line. Empty if
            source lines are unknown, as in a PDF.
        pages: For each line of `text`, its 1-based page; empty if the format has no pages.
    """

    doc_id: str
    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)
    kind: DocumentKind = "prose"
    lines: Sequence[int] = ()
    pages: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: the unit that is embedded, retrieved and scored.

    `start_line`, `end_line` and `page` are 1-based positions in the source file, None if the
    format has none. `path` is the source file; None for records from standard input.
    """

    doc_id: str
    text: str
    title: str = ""
    path: str | None = None
    start_line: int | None = None
    end_line: int | None = None
    page: int | None = None
    metadata: Metadata = field(default_factory=dict)

    @property
    def content(self) -> str:
        """The input of a model: the title, unless the text starts with it, then the text."""
        if not self.title or self.text.lstrip("#= \n").startswith(self.title):
            return self.text
        return f"{self.title} {self.text}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """An input that could not be read: its location and the reason.

    Args:
        missing: The field that a record lacks under all usual names: query, documents or text.
    """

    path: str
    reason: str
    line: int | None = None
    missing: str | None = None

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.reason}"


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
class Place:
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
        places: Rank and score by retriever, if several were combined; else empty.
        duplicates: Passages with the same text that this one represents, by passage_id.
    """

    passage_id: int
    passage: Passage
    retrieval_score: float | None
    places: Mapping[str, Place] = field(default_factory=dict)
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
        places: Rank and score by retriever, if several were combined; else empty.
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
    places: Mapping[str, Place] = field(default_factory=dict)
    duplicates: Mapping[int, Passage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """The work of one reranker of a cascade for a query.

    Args:
        scored: Number of passages scored.
        truncated: Number of those that were truncated.
        kept: Number of passages passed to the next reranker, or for the last one, ranked.
    """

    reranker: str
    engine: str
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
    engine: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    fields: Metadata = field(default_factory=dict)
    retriever: str | None = None
    stages: Sequence[Stage] = ()


@dataclass(frozen=True, slots=True)
class EmbedderCard:
    """The identity of an embedder, as stored in an index.

    Args:
        name: Hub id, `embedded`, or folder, as shown to the user.
        weights: SHA-256 of the weights, in hex: the identity of the embedder.
        dimension: Length of a vector.
        max_tokens: Maximum tokens read of a text, special tokens included.
        query_prompt: Prefix of every query.
        document_prompt: Prefix of every passage.
    """

    name: str
    revision: str | None
    weights: str
    dimension: int
    max_tokens: int
    query_prompt: str = ""
    document_prompt: str = ""


@dataclass(frozen=True, slots=True)
class RerankerCard:
    """The description of a loaded reranker in results and in stored scores.

    Args:
        name: Hub id, `embedded`, folder, or the name given by a plugin, as shown to the user.
        backend: Runtime, device and dtype, such as `onnxruntime cpu float32`.
        max_tokens: Maximum tokens read of a pair, special tokens included.
    """

    name: str
    backend: str
    max_tokens: int


Advance = Callable[[int], None]
Share = Callable[[], float | None]
Note = Callable[[], str]


# The score of an empty text: below every real score, as in sentence-transformers, and
# representable in every result format.
NO_TEXT = -1e9


def no_progress(_done: int) -> None:
    """Do nothing: the default progress callback."""


@dataclass(frozen=True, slots=True)
class Scores:
    """A reranker's output for some pairs: float32 scores and which texts were truncated."""

    values: Floats
    truncated: Flags

    def split(self, counts: Iterable[int]) -> Iterator[Scores]:
        """Yield the scores of consecutive groups of pairs, of the given sizes."""
        begin = 0
        for count in counts:
            part = slice(begin, begin + count)
            yield Scores(self.values[part], self.truncated[part])
            begin += count


class TokenCounter(Protocol):
    """Counts a model's tokens, without special tokens."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the start and end of each token in `text`, in characters, in order."""
        ...


class Embedder(Protocol):
    """Turns texts into unit vectors whose inner product is their similarity."""

    card: EmbedderCard
    engine: str

    def embed_queries(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        ...

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> Floats:
        """Return unit vectors, shape (len(texts), dimension)."""
        ...


class Reranker(Protocol):
    """Scores how well a text answers a query; higher is better. Each has its own scale."""

    @property
    def card(self) -> RerankerCard:
        """The description of this reranker in results."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order.

        Raises:
            ModelError: A score is NaN, which cannot be sorted.
        """
        ...


class TimedReranker(Reranker, Protocol):
    """A reranker that measures the time of each score."""

    def timed(
        self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress
    ) -> tuple[Scores, Floats]:
        """Return the scores, and the seconds that scoring each pair took."""
        ...


class Reporter(Protocol):
    """Receives a library function's messages and progress."""

    def notice(self, message: str) -> None:
        """Show a message that matters for the result."""
        ...

    def detail(self, message: str) -> None:
        """Show what was chosen and why; displayed with -v."""
        ...

    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> AbstractContextManager[Advance]:
        """Show the progress of a long operation; call the value with the number of new units done.

        Args:
            share: Returns the completed share of the work, if `total` is unknown.
            note: Returns a remark on the work so far.
        """
        ...


class Silence:
    """A reporter that discards everything."""

    def notice(self, message: str) -> None:
        """Discard the message."""

    def detail(self, message: str) -> None:
        """Discard the message."""

    @contextmanager
    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> Iterator[Advance]:
        """Show nothing."""
        yield no_progress
