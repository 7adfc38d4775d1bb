"""Answers to a file of queries, written to a resumable file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from ettin_cli.commands import options
from ettin_cli.commands.search_summary import AnswerCounts
from ettin_cli.console import Console, Tally, count
from ettin_cli.files import Digested, ResumableOutput
from ettin_cli.records import Answer, Query
from ettin_cli.searching import WINDOW

AnswerRun = Callable[[Iterable[Query]], Iterator[Answer]]


def write_search(
    run: AnswerRun,
    queries: Sequence[Query],
    output: ResumableOutput,
    counts: AnswerCounts,
    refresh: str,
    console: Console,
) -> bool:
    """Write the answers after those of an earlier run; return whether there was such a run.

    The file is written in the windows in which queries are answered, so a resumed run makes the
    same batches as an uninterrupted one. A larger window, as some rerankers get, is written in
    parts; a run that ends between two of them resumes with other batches, which on the CPU change
    no score.

    Args:
        run: Answers queries in order.
        counts: Counts the answers.
        refresh: The command that updates stale hits.

    Raises:
        OutputError: The file cannot be written, or the earlier run had other queries.
    """
    with output as target:
        mark, tally = target.mark, Tally(many=True, refresh=refresh)
        if mark.items:
            console.notice(f"resuming after {count(mark.answers, 'query', 'queries')}")
        if not target.finished:
            with options.resumable("to resume, run the same command with --resume", console):
                _write(run, queries, target, lambda answers: tally.watch(counts.watch(answers)))
        if tally.queries or not mark.items:
            console.report(tally)
    return bool(mark.items)


def _write(
    run: AnswerRun,
    queries: Sequence[Query],
    target: ResumableOutput,
    watch: Callable[[Iterable[Answer]], Iterator[Answer]],
) -> None:
    watched = Digested(queries, target.mark)
    passed = iter(watched)
    done = sum(1 for _ in islice(passed, target.mark.items))
    watched.check()
    answers = watch(run(queries[done:]))
    while window := list(islice(answers, WINDOW)):
        done += sum(1 for _ in islice(passed, len(window)))
        target.write(window, [], done, watched.digest_of(done))
    target.finish()
