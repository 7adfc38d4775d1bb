"""Rerank requests: candidates retrieved by another system, in windows of queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from ettin_cli.records import (
    Advance,
    Answer,
    Rejection,
    Reporter,
    Request,
    Reranker,
    Share,
)
from ettin_cli.searching.cascade import Remaining, Step, cascade_name, rerank_in_steps, work
from ettin_cli.searching.progress import Task, WindowProgress
from ettin_cli.searching.ranking import SearchOptions, rank

WINDOW_REQUESTS = 256
WINDOW_PAIRS = 4096
WINDOW_CHARACTERS = 1 << 24


@dataclass(frozen=True, slots=True)
class Window:
    """The answers to one window of requests.

    Args:
        end: Input items up to the end of this window.
        unscored: Documents beyond the candidate limit.
        repeated: Documents whose id repeats within their query.
        scoreless: Queries with a document without a score.
        unnamed: Documents without an id.
    """

    answers: Sequence[Answer]
    rejections: Sequence[Rejection]
    end: int
    unscored: int
    repeated: int
    scoreless: int
    unnamed: int


def rerank(
    items: Iterable[Request | Rejection],
    reranker: Reranker,
    options: SearchOptions,
    reporter: Reporter,
    *,
    share: Share | None = None,
    done: int = 0,
    before: Sequence[Step[Reranker]] = (),
) -> Iterator[Window]:
    """Yield windows of answers in the order of the requests.

    The pairs of a window share batches, and equal pairs are scored once. Window boundaries depend
    on the input alone, so a resumed run makes the same batches, and the same scores to the last
    bit, as an uninterrupted one.

    Args:
        items: Requests and rejected rows, in input order.
        options: `candidates` limits the documents scored per query.
        share: Returns the share of the input read so far.
        done: Items that an earlier run answered, up to the end of one of its windows.
        before: Rerankers that score first and pass on their best candidates.
    """
    progress = WindowProgress(share)
    at_once = max(one.card.at_once for one in (reranker, *(step.reranker for step in before)))

    def tasks(advance: Advance) -> Iterator[Task[Window]]:
        end = 0
        for window in _windows(items):
            end += len(window)
            if end <= done:
                progress.skip()
                continue
            lengths = [_lengths(item, options) for item in window if isinstance(item, Request)]
            pairs = work(map(len, lengths), before)
            answered = partial(_answered, window, end, reranker, before, options, advance)
            yield Task(list(chain(*lengths)), pairs, answered)

    return progress.windows(tasks, at_once, reporter, "reranking")


def _answered(
    items: Sequence[Request | Rejection],
    end: int,
    reranker: Reranker,
    before: Sequence[Step[Reranker]],
    options: SearchOptions,
    advance: Advance,
) -> Window:
    full_requests = [item for item in items if isinstance(item, Request)]
    requests = [
        replace(request, candidates=request.candidates[: options.candidates])
        for request in full_requests
    ]
    scored = rerank_in_steps(
        [request.query for request in requests],
        [
            Remaining(request.candidates, range(1, len(request.candidates) + 1))
            for request in requests
        ],
        before,
        reranker,
        advance,
        documents=0,
    )
    steps = [(step.reranker.card.name, step.keep) for step in before]
    return Window(
        answers=[
            Answer(
                query=request.query,
                hits=rank(left.candidates, verdict, options, left.ranks),
                embedder=None,
                reranker=cascade_name(steps, reranker.card.name),
                backend=reranker.card.backend,
                fields=request.fields,
                stages=left.stages,
            )
            for request, (left, verdict) in zip(requests, scored, strict=True)
        ],
        rejections=[item for item in items if isinstance(item, Rejection)],
        end=end,
        unscored=sum(
            len(full.candidates) - len(request.candidates)
            for full, request in zip(full_requests, requests, strict=True)
        ),
        repeated=sum(map(_repeated, requests)),
        scoreless=sum(map(_scoreless, requests)),
        unnamed=sum(request.unnamed for request in requests),
    )


def _lengths(request: Request, options: SearchOptions) -> list[int]:
    query, candidates = len(request.query.text), request.candidates[: options.candidates]
    return [query + len(candidate.passage.content) for candidate in candidates]


def _repeated(request: Request) -> int:
    return len(request.candidates) - len(
        {candidate.passage.doc_id for candidate in request.candidates}
    )


def _scoreless(request: Request) -> bool:
    return any(candidate.retrieval_score is None for candidate in request.candidates)


def _windows(items: Iterable[Request | Rejection]) -> Iterator[list[Request | Rejection]]:
    """Yield the items in windows of one request, two, four and so on, up to the limits.

    The first answers come early, and later windows fill their batches.
    """
    window: list[Request | Rejection] = []
    most, pairs, characters = 1, 0, 0
    for item in items:
        window.append(item)
        if isinstance(item, Request):
            pairs += len(item.candidates)
            characters += sum(len(candidate.passage.text) for candidate in item.candidates)
        if len(window) >= most or pairs >= WINDOW_PAIRS or characters >= WINDOW_CHARACTERS:
            yield window
            window, pairs, characters = [], 0, 0
            most = min(2 * most, WINDOW_REQUESTS)
    if window:
        yield window
