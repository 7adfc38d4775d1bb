"""Requests share a model fairly, and each gets the results that it would get alone."""

import threading
from collections.abc import Iterator, Sequence

import pytest

from ettin_cli.errors import ClosedError, ModelError
from ettin_cli.serving.scheduler import Item, Scheduler

WAIT = 30.0


class Model:
    """Doubles numbers, one batch each time it is let."""

    def __init__(self) -> None:
        self.batches: list[list[Item]] = []
        self.begun = threading.Semaphore(0)
        self.let = threading.Semaphore(0)
        self.refused: set[str] = set()

    def __call__(self, items: list[Item]) -> Sequence[int]:
        self.batches.append(items)
        self.begun.release()
        assert self.let.acquire(timeout=WAIT)
        if any(number in self.refused for _, number in items):
            raise ModelError("not a number")
        return [2 * int(number) for _, number in items]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def scheduler(model: Model) -> Iterator[Scheduler[int]]:
    made: Scheduler[int] = Scheduler(model, "test")
    yield made
    made.close()
    for _ in range(1000):
        model.let.release()


def items(*numbers: int, query: str = "q") -> list[Item]:
    return [(query, str(number)) for number in numbers]


def begun(model: Model) -> None:
    assert model.begun.acquire(timeout=WAIT)


def free(model: Model) -> None:
    for _ in range(500):
        model.let.release()


def test_results_are_in_the_order_of_the_items(scheduler: Scheduler[int], model: Model) -> None:
    free(model)
    job = scheduler.submit(items(3, 1, 2, 1), [5, 900, 7, 900])
    assert job.future.result(WAIT) == [6, 2, 4, 2]
    # The longest first, and an equal one once.
    assert model.batches == [items(1, 2, 3)]
    assert scheduler.submit([], []).future.result(WAIT) == []


def test_a_short_request_passes_a_long_one(scheduler: Scheduler[int], model: Model) -> None:
    long = scheduler.submit(items(*range(100)), [2000] * 100)
    begun(model)
    short = scheduler.submit(items(200, 201), [10, 10])
    model.let.release()
    begun(model)
    # The batch after the one that was being computed begins with it.
    assert model.batches[1][:2] == items(200, 201)
    free(model)
    assert short.future.result(WAIT) == [400, 402]
    assert long.future.result(WAIT) == [2 * number for number in range(100)]


def test_a_request_does_not_wait_for_a_full_batch_of_others(
    scheduler: Scheduler[int], model: Model
) -> None:
    held = scheduler.submit(items(0), [10])
    begun(model)
    long = scheduler.submit(items(*range(1, 41)), [100] * 40)
    short = scheduler.submit(items(100, 101), [200, 200], priority=-1)
    model.let.release()
    begun(model)
    # The first batch may have 2,048 tokens; one with the end of a request has at most 1,024.
    assert model.batches[1] == items(100, 101, *range(1, 7))
    free(model)
    for job in (held, long, short):
        job.future.result(WAIT)


def test_a_priority_goes_before_service(scheduler: Scheduler[int], model: Model) -> None:
    held = scheduler.submit(items(0), [5000])
    begun(model)
    later = scheduler.submit(items(1), [5000], priority=1)
    sooner = scheduler.submit(items(2), [5000])
    free(model)
    for job in (held, later, sooner):
        job.future.result(WAIT)
    order = [item for batch in model.batches for item in batch]
    assert order == items(0, 2, 1)


def test_what_two_requests_ask_for_is_computed_once(
    scheduler: Scheduler[int], model: Model
) -> None:
    first = scheduler.submit(items(1, 2), [10, 10])
    begun(model)
    second = scheduler.submit(items(2, 3), [10, 10])
    free(model)
    assert (first.future.result(WAIT), second.future.result(WAIT)) == ([2, 4], [4, 6])
    third = scheduler.submit(items(3, 1), [10, 10])
    assert third.future.result(WAIT) == [6, 2]
    assert [item for batch in model.batches for item in batch] == items(1, 2, 3)
    load = scheduler.load()
    assert (load.computed, load.shared, load.items, load.tokens, load.jobs) == (3, 3, 0, 0, 0)


def test_a_cancelled_request_takes_its_queued_items_with_it(
    scheduler: Scheduler[int], model: Model
) -> None:
    first = scheduler.submit(items(0), [5000])
    begun(model)
    gone = scheduler.submit(items(*range(1, 50)), [100] * 49)
    stays = scheduler.submit(items(49, 50), [100, 100])
    scheduler.cancel(gone)
    assert gone.future.cancelled()
    assert scheduler.load().cancelled == 49
    free(model)
    assert (first.future.result(WAIT), stays.future.result(WAIT)) == ([0], [98, 100])
    # What another request waits for too is still computed.
    assert [item for batch in model.batches for item in batch] == items(0, 49, 50)
    assert (scheduler.load().items, scheduler.load().tokens) == (0, 0)


def test_a_failure_is_that_of_the_requests_that_have_its_items(
    scheduler: Scheduler[int], model: Model
) -> None:
    model.refused = {"7"}
    held = scheduler.submit(items(0), [5000])
    begun(model)
    bad = scheduler.submit(items(6, 7), [10, 10])
    good = scheduler.submit(items(8), [10])
    free(model)
    assert (held.future.result(WAIT), good.future.result(WAIT)) == ([0], [16])
    with pytest.raises(ModelError, match="not a number"):
        bad.future.result(WAIT)
    assert (scheduler.load().items, scheduler.load().jobs) == (0, 0)


def test_a_model_that_answers_with_too_little_fails_its_requests_and_no_others() -> None:
    answers = iter([[2], [], [6]])
    made: Scheduler[int] = Scheduler(lambda _items: next(answers), "test")
    first = made.submit(items(1), [10])
    assert first.future.result(WAIT) == [2]
    second = made.submit(items(2), [10])
    with pytest.raises(RuntimeError, match="0 results for 1 texts"):
        second.future.result(WAIT)
    assert made.submit(items(3), [10]).future.result(WAIT) == [6]
    made.close()


def test_a_closed_scheduler_fails_what_waits_and_takes_nothing(
    scheduler: Scheduler[int], model: Model
) -> None:
    scheduler.submit(items(0), [5000])
    begun(model)
    waits = scheduler.submit(items(1), [10])
    scheduler.close()
    with pytest.raises(ClosedError):
        waits.future.result(WAIT)
    with pytest.raises(ClosedError):
        scheduler.submit(items(2), [10])
