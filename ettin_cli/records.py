"""The values that flow through the pipeline, and the shapes its stages fit into.

Nothing here reads, computes or prints; every stage knows these records and no other stage.
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
# By query_id and doc_id.
Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Document:
    r"""A unit of the corpus, as a reader found it.

    Args:
        doc_id: Unique within its source.
        text: What is searched; line breaks are "\n".
        title: Shown with a hit and embedded before the text; empty if there is none.
        metadata: Every other field of a record, as JSON values.
        kind: Which boundaries the text may be cut on.
        lines: For each line of `text`, its 1-based line in the source file. One entry alone
            holds for the whole text, as in a table of one record a line; none means that
            lines of the source are not known, as in a PDF.
        pages: Likewise for each line of `text`, its 1-based page; empty if not paged.
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
    """A piece of a document: what is embedded, retrieved and scored.

    `start_line`, `end_line` and `page` are 1-based places in the source file, None where the
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
        """What a model reads: the title, unless the text opens with it, then the text."""
        if not self.title or self.text.lstrip("#= \n").startswith(self.title):
            return self.text
        return f"{self.title} {self.text}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """An input that could not be read, where it is and why.

    Args:
        missing: What a record lacks under all of its usual names: query, documents or text.
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


@dataclass(frozen=True, slots=True)
class EmbedderCard:
    """What makes two embedders the same, and what an index remembers of its own.

    Args:
        name: Hub id, `embedded`, or folder, as shown to the user.
        weights: SHA-256 of the weights, in hex: the identity of the embedder.
        dimension: Length of a vector.
        max_tokens: What it reads of a text, special tokens included.
        query_prompt: Put before every query.
        document_prompt: Put before every passage.
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
    """What results and stored scores say of a reranker that is loaded.

    Args:
        name: Hub id, `embedded`, folder, or what another package calls it, as shown to the user.
        backend: Where and in what arithmetic it computes, such as `onnxruntime cpu float32`.
        max_tokens: What it reads of a pair, special tokens included.
    """

    name: str
    backend: str
    max_tokens: int


Advance = Callable[[int], None]
Share = Callable[[], float | None]
Note = Callable[[], str]


# The score of a text that holds nothing to read: below every real one, as in
# sentence-transformers, and a number that every format of results can hold.
NO_TEXT = -1e9


def no_progress(_done: int) -> None:
    """Take note of nothing: the default where nobody watches."""


@dataclass(frozen=True, slots=True)
class Scores:
    """A reranker's verdict on some pairs: float32 scores and which texts it had to cut."""

    values: Floats
    truncated: Flags

    def split(self, counts: Iterable[int]) -> Iterator[Scores]:
        """Yield the verdicts on groups of neighbouring pairs, so many pairs each."""
        begin = 0
        for count in counts:
            part = slice(begin, begin + count)
            yield Scores(self.values[part], self.truncated[part])
            begin += count


class TokenCounter(Protocol):
    """Counts tokens as a model does, special tokens left out."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return each token's start and end in `text`, in characters, in order."""
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
    """Scores how well a text answers a query; higher is better, on a scale of its own."""

    @property
    def card(self) -> RerankerCard:
        """What results say of it."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order.

        Raises:
            ModelError: A score is NaN, which has no place in an order.
        """
        ...


class TimedReranker(Reranker, Protocol):
    """A reranker that tells what each score cost."""

    def timed(
        self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress
    ) -> tuple[Scores, Floats]:
        """Return scores, and the seconds each pair took when it was scored."""
        ...


class Reporter(Protocol):
    """Where a library function tells its caller how things go."""

    def notice(self, message: str) -> None:
        """Tell the user something that matters for the result."""
        ...

    def detail(self, message: str) -> None:
        """Tell what was chosen and why, for those who asked with -v."""
        ...

    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> AbstractContextManager[Advance]:
        """Watch long work; the value is called with how many units were just done.

        Args:
            share: Where `total` is not known beforehand: tells which share of the work is done.
            note: Tells what else there is to say of the work so far.
        """
        ...


class Silence:
    """A reporter for callers who want results alone."""

    def notice(self, message: str) -> None:
        """Drop the message."""

    def detail(self, message: str) -> None:
        """Drop the message."""

    @contextmanager
    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> Iterator[Advance]:
        """Watch nothing."""
        yield no_progress
