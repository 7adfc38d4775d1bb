"""Reranking cascades: each reranker scores the candidates that the previous one kept.

See Wang, Lin and Metzler, "A cascade ranking model" (2011). Candidates dropped on the way have
no score from the last reranker and are not ranked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from ettin_cli.errors import InvalidArgumentError
from ettin_cli.records import Advance, Candidate, Query, Reranker, Scores, Stage
from ettin_cli.searching.ranking import SearchOptions, most_documents, retrieval_ranks
from ettin_cli.settings import DOCUMENT

R_co = TypeVar("R_co", bound=Reranker, covariant=True)
NAMED = re.compile(r"(.+):(\d+)")


@dataclass(frozen=True, slots=True)
class Step(Generic[R_co]):
    """A reranker before the last, and how many candidates it passes on."""

    reranker: R_co
    keep: int


@dataclass(frozen=True, slots=True)
class Remaining:
    """The remaining candidates of a query.

    Args:
        ranks: Each candidate's retrieval rank in the full list; None: not computed yet.
        stages: The reranking stages completed so far.
    """

    candidates: Sequence[Candidate]
    ranks: Sequence[int] | None = None
    stages: tuple[Stage, ...] = ()

    def ending(self, last: Reranker, scores: Scores) -> Remaining:
        """Return a copy that also records the last reranker's stage."""
        return replace(self, stages=(*self.stages, _stage(last, scores, len(self.candidates))))


def _stage(reranker: Reranker, scores: Scores, kept: int) -> Stage:
    cut = int(scores.truncated.sum())
    return Stage(reranker.card.name, reranker.card.backend, len(scores.values), cut, kept)


def parse_cascade(text: str) -> tuple[list[tuple[str, int]], str]:
    """Return the rerankers before the last, each with how many it keeps, and the last one.

    The name of an existing folder is taken literally, even if it contains commas or colons.

    Raises:
        InvalidArgumentError: An earlier reranker has no number, or the last one has one.

    >>> parse_cascade("embedded:50,32m")
    ([('embedded', 50)], '32m')
    """
    if Path(text).is_dir() or not ("," in text or NAMED.fullmatch(text)):
        return [], text
    *first, last = (part.strip() for part in text.split(","))
    before = [NAMED.fullmatch(part) for part in first]
    for part, match in zip(first, before, strict=True):
        if match is None or not int(match[2]) or match[1] == "none":
            raise InvalidArgumentError(
                f"{part!r} in {text!r} is not NAME:NUMBER", argument="cascade"
            )
    if not last or last == "none" or (NAMED.fullmatch(last) and not Path(last).is_dir()):
        raise InvalidArgumentError(
            f"{text!r} does not end with a reranker", argument="cascade", value=text
        )
    return [(match[1], int(match[2])) for match in before if match], last


def cascade_name(before: Iterable[tuple[str, int]], last: str) -> str:
    """Return the name of a cascade as results report it."""
    return ",".join([*(f"{name}:{keep}" for name, keep in before), last])


def pairs_of(queries: Sequence[Query], left: Sequence[Remaining]) -> list[tuple[str, str]]:
    """Return a (query, text) pair for each candidate of each query."""
    # Queries share passages, and pairs the text of each.
    contents: dict[int, str] = {}
    pairs = []
    for query, remaining in zip(queries, left, strict=True):
        for candidate in remaining.candidates:
            passage = candidate.passage
            text = contents.get(id(passage))
            if text is None:
                text = contents[id(passage)] = passage.content
            pairs.append((query.text, text))
    return pairs


def work(counts: Iterable[int], before: Sequence[Step[Reranker]]) -> int:
    """Return the total number of pairs that a cascade scores, given each query's candidates."""
    total = 0
    for count in counts:
        for step in before:
            total, count = total + count, min(count, step.keep)
        total += count
    return total


def narrowed(
    left: Sequence[Remaining], scores: Scores, step: Step[Reranker], *, documents: int
) -> Iterator[Remaining]:
    """Yield each query's candidates that a step keeps: the best by its scores, in retrieval order.

    Args:
        scores: The step's scores for all pairs.
        documents: How many documents to keep where possible: the best passage of each further
            document then replaces the weakest passage of the others, as in retrieval.
    """
    verdicts = scores.split(len(remaining.candidates) for remaining in left)
    for remaining, verdict in zip(left, verdicts, strict=True):
        values = verdict.values.tolist()

        def key(
            at: int, remaining: Remaining = remaining, values: list[float] = values
        ) -> tuple[float, str, int]:
            candidate = remaining.candidates[at]
            return -values[at], candidate.passage.doc_id, candidate.passage_id

        order = sorted(range(len(values)), key=key)
        doc_ids = [remaining.candidates[at].passage.doc_id for at in order]
        kept = sorted(order[place] for place in most_documents(doc_ids, step.keep, documents))
        yield Remaining(
            [remaining.candidates[at] for at in kept],
            None if remaining.ranks is None else [remaining.ranks[at] for at in kept],
            (*remaining.stages, _stage(step.reranker, verdict, len(kept))),
        )


def rerank_candidates(
    queries: Sequence[Query],
    candidates: Sequence[Sequence[Candidate]],
    before: Sequence[Step[Reranker]],
    last: Reranker,
    options: SearchOptions,
    advance: Advance,
) -> list[tuple[Remaining, Scores]]:
    """Return `rerank_in_steps` for candidates retrieved from an index with these options."""
    left, documents = as_remaining(candidates, options), documents_kept(options)
    return rerank_in_steps(queries, left, before, last, advance, documents=documents)


def as_remaining(
    candidates: Sequence[Sequence[Candidate]], options: SearchOptions
) -> list[Remaining]:
    """Return each query's candidates as retrieved with these options, before any reranking."""
    by_document = options.by == DOCUMENT
    return [
        Remaining(of_query, retrieval_ranks(of_query, by_document=by_document))
        for of_query in candidates
    ]


def documents_kept(options: SearchOptions) -> int:
    """Return how many documents each step of a cascade keeps where possible."""
    return options.top_k if options.by == DOCUMENT else 0


def narrow_in_steps(
    queries: Sequence[Query],
    left: Sequence[Remaining],
    steps: Sequence[Step[Reranker]],
    advance: Advance,
    *,
    documents: int,
) -> Sequence[Remaining]:
    """Return each query's candidates that some steps of a cascade keep."""
    for step in steps:
        scores = step.reranker.score(pairs_of(queries, left), advance)
        left = list(narrowed(left, scores, step, documents=documents))
    return left


def rerank_in_steps(
    queries: Sequence[Query],
    left: Sequence[Remaining],
    before: Sequence[Step[Reranker]],
    last: Reranker,
    advance: Advance,
    *,
    documents: int,
) -> list[tuple[Remaining, Scores]]:
    """Return each query's candidates that reach the last reranker, with its scores."""
    left = narrow_in_steps(queries, left, before, advance, documents=documents)
    scores = last.score(pairs_of(queries, left), advance)
    verdicts = scores.split(len(remaining.candidates) for remaining in left)
    scored = zip(left, verdicts, strict=True)
    return [
        (remaining.ending(last, verdict) if remaining.stages else remaining, verdict)
        for remaining, verdict in scored
    ]
