"""Candidates and scores -> hits in their final order. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.index import Filter
from ettin_cli.records import NO_TEXT, Candidate, Hit, Scores, require_list, require_type
from ettin_cli.settings import AUTO, CANDIDATES, DOCUMENT, PASSAGE, SAME, TOP_K
from ettin_cli.text import FOLDS, leading
from ettin_cli.text.lexical import Demands

UNITS = (DOCUMENT, PASSAGE)


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What to search and how many hits to return.

    Args:
        top_k: Maximum number of hits.
        candidates: Passages to score.
        by: "document": rank each document by its best passage; "passage": rank every passage.
        min_score: Leave out hits below this score.
        min_probability: Leave out hits below this probability of relevance.
        blend: Share of the retrieval score in the final score, both standardised. "auto": the
            share that the reranker was measured best with.
        filters: Metadata fields, each with the value it must have or several alternatives.
        paths: Globs, one of which a hit's path must match.
        demands: Query constraints: what a hit must or must not contain.
        fold: Merge duplicate passages into one hit: "same", "near" or "none".

    Raises:
        InvalidArgumentError: A value is out of range or not one of the choices.
    """

    top_k: int = TOP_K
    candidates: int = CANDIDATES
    by: str = DOCUMENT
    min_score: float | None = None
    min_probability: float | None = None
    blend: float | str = AUTO
    filters: tuple[Filter, ...] = ()
    paths: tuple[str, ...] = ()
    demands: Demands = field(default_factory=lambda: Demands(""))
    fold: str = SAME

    def __post_init__(self) -> None:
        require_list(self.paths, "paths")
        require_list(self.filters, "filters")
        for filter in self.filters:
            require_type(filter, (tuple, list), "each of filters")
            if len(filter) != 2 or not isinstance(filter[1], str | tuple):
                raise InvalidArgumentError(
                    "each of filters must be a field and a value, or a tuple of values",
                    argument="filters",
                )
        if self.by not in UNITS:
            raise InvalidArgumentError(
                f"unknown unit of hits {self.by!r}",
                argument="by",
                value=self.by,
                choices=UNITS,
            )
        if self.fold not in FOLDS:
            raise InvalidArgumentError(
                f"unknown fold mode {self.fold!r}",
                argument="fold",
                value=self.fold,
                choices=FOLDS,
            )
        for name, value in (("top_k", self.top_k), ("candidates", self.candidates)):
            require_type(value, (int,), name)
            if value < 1:
                raise InvalidArgumentError(f"{name} must be at least 1, not {value}", argument=name)
        require_blend(self.blend)
        if self.min_score is not None and math.isnan(self.min_score):
            raise InvalidArgumentError("the minimum score is not a number", argument="min_score")
        if self.min_probability is not None and not 0 <= self.min_probability <= 1:
            raise InvalidArgumentError(
                f"minimum probability {self.min_probability} is not between 0 and 1",
                argument="min_probability",
            )

    @property
    def narrowed(self) -> bool:
        """Whether only a part of the index is searched."""
        return bool(self.filters or self.paths or self.demands)

    @property
    def share(self) -> float:
        """The blend as a number; 0 for "auto" as long as no reranker is known."""
        return 0.0 if isinstance(self.blend, str) else self.blend

    @property
    def without_reranker(self) -> SearchOptions:
        """The same options for retrieval alone, where `candidates` does not limit the hits."""
        return replace(self, candidates=max(self.candidates, self.top_k), blend=0.0)


def require_blend(blend: float | str, argument: str = "blend") -> None:
    """Check a share of the retrieval score.

    Raises:
        InvalidArgumentError: It is neither a number from 0 to 1 nor "auto".
    """
    if isinstance(blend, str) and blend != AUTO:
        raise InvalidArgumentError(
            f"blend {blend!r} is neither {AUTO} nor a number from 0 to 1", argument=argument
        )
    if not isinstance(blend, str) and not 0 <= blend <= 1:
        raise InvalidArgumentError(f"blend {blend} is not between 0 and 1", argument=argument)


def rank(
    candidates: Sequence[Candidate],
    scores: Scores | None,
    options: SearchOptions,
    ranks: Sequence[int] | None = None,
    probabilities: Sequence[float] | None = None,
) -> list[Hit]:
    """Return the top hits, best first; ties are ordered by doc_id.

    Args:
        candidates: In any order, or best first if one has no retrieval score.
        scores: The reranker's score of each candidate; None: order by the retrieval score.
        ranks: Each candidate's retrieval rank; None: computed from the retrieval scores.
        probabilities: Each candidate's calibrated probability of relevance. Without them no hit
            passes `min_probability`.
    """
    if ranks is None:
        ranks = retrieval_ranks(candidates, by_document=options.by == "document")
    hits = _scored(candidates, scores, options.share, ranks)
    if probabilities is not None:
        hits = [replace(hit, probability=p) for hit, p in zip(hits, probabilities, strict=True)]
    hits.sort(key=lambda hit: (-hit.score, hit.passage.doc_id, hit.passage_id))
    if options.by == "document":
        hits = list(best_passages(hits))
    if options.min_score is not None:
        hits = [hit for hit in hits if hit.score >= options.min_score]
    if options.min_probability is not None:
        hits = [hit for hit in hits if (hit.probability or 0.0) >= options.min_probability]
    return hits[: options.top_k]


def most_documents(doc_ids: Sequence[str], candidates: int, top_k: int) -> list[int]:
    """Return the positions of the retrieved passages to score, best first.

    When few documents own all top passages, the best passage of each further document replaces
    the weakest of theirs, until there are `top_k` documents.

    >>> most_documents(["a", "a", "a", "b"], candidates=3, top_k=2)
    [0, 1, 3]
    """
    first_of: dict[str, int] = {}
    for place, doc_id in enumerate(doc_ids):
        first_of.setdefault(doc_id, place)
    wanted = set(sorted(first_of.values())[: min(top_k, candidates)])
    others = (place for place in range(len(doc_ids)) if place not in wanted)
    return sorted([*wanted, *islice(others, max(0, candidates - len(wanted)))])


def best_passages(hits: Sequence[Hit]) -> Iterable[Hit]:
    """Yield each document's first hit: a document is scored by its best passage.

    If a document already has a better hit, the hit is shown as one of its duplicates.
    """
    seen: set[str] = set()
    groups = [
        [hit.passage.doc_id, *(duplicate.doc_id for duplicate in hit.duplicates.values())]
        for hit in hits
    ]
    for hit, place in zip(hits, leading(groups), strict=True):
        shown = _shown_as(hit, place) if place else hit
        if shown.passage.doc_id not in seen:
            seen.add(shown.passage.doc_id)
            yield shown


def _shown_as(hit: Hit, place: int) -> Hit:
    """Return a hit shown as one of its duplicates, counted from 1."""
    same = [(hit.passage_id, hit.passage), *hit.duplicates.items()]
    passage_id, passage = same.pop(place)
    return replace(hit, passage_id=passage_id, passage=passage, duplicates=dict(same))


def standardised(scores: Sequence[float]) -> list[float]:
    """Return scores scaled to mean 0 and standard deviation 1; all 0 if they are equal.

    >>> standardised([1.0, 3.0])
    [-1.0, 1.0]
    """
    if not scores:
        return []
    mean = math.fsum(scores) / len(scores)
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / len(scores))
    return [(score - mean) / deviation if deviation else 0.0 for score in scores]


def retrieval_scores(candidates: Sequence[Candidate]) -> list[float]:
    """Return the retrieval scores; if one is missing, each candidate's reciprocal rank."""
    scores = [
        candidate.retrieval_score
        for candidate in candidates
        if candidate.retrieval_score is not None
    ]
    if len(scores) == len(candidates):
        return scores
    return [1 / rank for rank in range(1, len(candidates) + 1)]


def _scored(
    candidates: Sequence[Candidate], scores: Scores | None, blend: float, ranks: Sequence[int]
) -> list[Hit]:
    retrieval = retrieval_scores(candidates)
    reranked = retrieval if scores is None else [float(value) for value in scores.values]
    final = reranked
    if blend and scores is not None:
        final = _blended(retrieval, reranked, blend)
    return [
        Hit(
            passage_id=candidate.passage_id,
            passage=candidate.passage,
            score=final[at],
            retrieval_rank=ranks[at],
            retrieval_score=candidate.retrieval_score,
            rerank_score=reranked[at] if final is not reranked else None,
            truncated=scores is not None and bool(scores.truncated[at]),
            by_retriever=candidate.by_retriever,
            duplicates=candidate.duplicates,
        )
        for at, candidate in enumerate(candidates)
    ]


def _blended(retrieval: Sequence[float], reranked: Sequence[float], blend: float) -> list[float]:
    """Return the blended scores; empty texts keep theirs and are excluded from the statistics.

    >>> _blended([1.0, 2.0, 9.0], [4.0, 3.0, NO_TEXT], 0.25)
    [0.5, -0.5, -1000000000.0]
    """
    final = [NO_TEXT] * len(reranked)
    read = [at for at, score in enumerate(reranked) if score > NO_TEXT]
    first = standardised([retrieval[at] for at in read])
    second = standardised([reranked[at] for at in read])
    for at, retrieval_score, rerank_score in zip(read, first, second, strict=True):
        final[at] = blend * retrieval_score + (1 - blend) * rerank_score
    return final


def retrieval_ranks(candidates: Sequence[Candidate], *, by_document: bool) -> list[int]:
    """Return each candidate's rank by the retrieval score alone.

    When documents are ranked, a passage has the rank of its document, so that the difference from
    its final rank shows the effect of the reranker and not that of merging passages.
    """

    def key(candidate: Candidate) -> str | int:
        return candidate.passage.doc_id if by_document else candidate.passage_id

    ordered = sorted(
        zip(retrieval_scores(candidates), candidates, strict=True),
        key=lambda pair: (-pair[0], pair[1].passage.doc_id, pair[1].passage_id),
    )
    ranks: dict[str | int, int] = {}
    for _, candidate in ordered:
        ranks.setdefault(key(candidate), len(ranks) + 1)
    return [ranks[key(candidate)] for candidate in candidates]
