"""Time contenders on the same pairs in turn, and compare them with the reference."""

from __future__ import annotations

import operator
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING

from ettin_cli.benchmark.agreement import agree
from ettin_cli.benchmark.contenders import Contender, import_libraries, load_ours, load_reference
from ettin_cli.benchmark.flops import Shape, shape_of
from ettin_cli.benchmark.known_speeds import keep_speed, published_speed
from ettin_cli.benchmark.machine import Machine
from ettin_cli.benchmark.pairs import ON_CPU, ON_GPU, PairTokens, SampleTexts
from ettin_cli.benchmark.peaks import FLOAT32
from ettin_cli.benchmark.results import Race, Speed
from ettin_cli.errors import InvalidArgumentError, ModelError
from ettin_cli.models.engines import EngineSettings, token_limit
from ettin_cli.models.rerankers import FolderReranker
from ettin_cli.records import Pair, Reporter

if TYPE_CHECKING:
    from ettin_cli.records import Floats

# Pairs of the warm-up, and on a GPU their share of all.
WARM_UP_PAIRS, GPU_WARM_UP = 8, 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Args:
        models: The models, named individually in the results.
        backends: The backends for each model, in order.
        dtypes: The dtypes for each backend.
        lengths: Tokens per pair made from the sample; unused if `pairs` are given.
        spread: Whether the lengths of those pairs vary around the target, like real passages.
        limit: The number of pairs to make; None: as many as take a reasonable time.
        rounds: How often each contender scores all pairs.
        compared: Whether sentence-transformers takes part, as the reference.
        place: The torch device, such as cuda:0.
    """

    models: Sequence[FolderReranker]
    settings: EngineSettings
    backends: Sequence[str]
    dtypes: Sequence[str]
    sample: SampleTexts
    lengths: Sequence[int]
    pairs: Sequence[Pair] = ()
    spread: bool = False
    limit: int | None = None
    rounds: int = 3
    compared: bool = True
    place: str = "cpu"

    @property
    def on_gpu(self) -> bool:
        """Whether models run on a GPU, which takes many batches to be busy."""
        return not self.place.startswith("cpu")

    @property
    def typical(self) -> bool:
        """Whether the pairs have the lengths of typical passages."""
        return self.spread and not self.pairs


def check_lengths(
    models: Sequence[FolderReranker], lengths: Sequence[int], max_length: int | None
) -> None:
    """Check that every model reads pairs of the requested lengths.

    Raises:
        InvalidArgumentError: A length exceeds a model's token limit.
    """
    for model in models:
        limit = _limit(model, max_length)
        if max(lengths) > limit:
            raise InvalidArgumentError(
                f"{model.name} reads at most {limit:,} tokens per pair, not {max(lengths):,}",
                argument="document_tokens",
                value=max(lengths),
                most=limit,
            )


@dataclass(frozen=True, slots=True)
class _Course:
    """The pairs that a model's contenders score, with their token counts and the token limit."""

    document_tokens: int | None
    pairs: Sequence[Pair]
    counts: Sequence[int]
    limit: int

    @property
    def lengths(self) -> list[int]:
        return [min(count, self.limit) for count in self.counts]


def _limit(model: FolderReranker, max_length: int | None) -> int:
    own = token_limit(model.files.folder)
    return min(own, max_length or own)


def measure(plan: Plan, machine: Machine, reporter: Reporter) -> Iterator[Race]:
    """Yield a race for each model and length when it is complete.

    Raises:
        ModelError: A model's tokenizer cannot be read.
        InvalidArgumentError: Such pairs cannot be made from the sample.
    """
    # Prepare all models before measuring the first, so that errors come early.
    courses = [_courses(model, plan) for model in plan.models]
    import_libraries()
    for model, prepared in zip(plan.models, courses, strict=True):
        yield from _races(model, prepared, plan, machine, reporter)


def _races(
    model: FolderReranker,
    courses: Sequence[_Course],
    plan: Plan,
    machine: Machine,
    reporter: Reporter,
) -> Iterator[Race]:
    """Yield the races of a model; its memory is freed after the last one."""
    shape = shape_of(model.files) if model.reads_pairs else None
    contenders = _loaded(model, plan, machine, reporter)
    for course in courses:
        timed = _timed(contenders, course, plan, model.name, reporter)
        speeds = _speeds(timed, course, shape, machine)
        if plan.typical:
            speeds = [
                replace(one, published=published_speed(model.name, machine.device, one.backend))
                for one in speeds
            ]
        race = Race(
            model=model.name,
            document_tokens=course.document_tokens,
            pairs=len(course.pairs),
            queries=len({query for query, _ in course.pairs}),
            tokens=sum(course.lengths),
            truncated=sum(map(operator.ne, course.counts, course.lengths)),
            speeds=speeds,
        )
        if plan.typical:
            keep_speed(race, machine)
        yield race


def _courses(model: FolderReranker, plan: Plan) -> list[_Course]:
    counter = PairTokens(model.files, trust_remote_code=plan.settings.trust_remote_code)
    limit = _limit(model, plan.settings.max_length)
    if plan.pairs:
        return [_Course(None, plan.pairs, counter.counts(plan.pairs), limit)]
    courses = []
    for length in plan.lengths:
        amount = ON_GPU if plan.on_gpu else ON_CPU
        pairs = plan.sample.pairs(counter, length, plan.limit, spread=plan.spread, amount=amount)
        courses.append(_Course(length, pairs, counter.counts(pairs), limit))
    return courses


def _loaded(
    model: FolderReranker, plan: Plan, machine: Machine, reporter: Reporter
) -> list[Contender]:
    """Return the distinct contenders of a model, the reference first."""
    contenders = []
    if plan.compared and model.has_counterpart:
        contenders.append(load_reference(model, plan.settings, machine.place))
    for backend, dtype in product(plan.backends, plan.dtypes):
        settings = replace(plan.settings, engine=backend, dtype=dtype)
        contender = load_ours(model, settings, reporter)
        if contender.score and any(contender.backend == other.backend for other in contenders):
            reporter.notice(
                f"{model.name} on {backend} in {dtype} also runs as {contender.backend}; "
                "measured only once"
            )
        else:
            contenders.append(contender)
    return contenders


@dataclass(slots=True)
class _Timed:
    """A contender with its times and scores."""

    contender: Contender
    seconds: list[float] = field(default_factory=list)
    scores: Floats | None = None
    error: str | None = None
    place: str = "cpu"

    def run(self, pairs: Sequence[Pair]) -> None:
        """Score the pairs, and record the time or the error."""
        assert self.contender.score is not None
        _finish(self.place)
        began = time.perf_counter()
        try:
            self.scores = self.contender.score(pairs)
            _finish(self.place)
            self.seconds.append(time.perf_counter() - began)
        except ModelError as error:
            self.error = error.problem
            self.seconds.clear()


def _finish(place: str) -> None:
    """Wait until a GPU has computed all that it was given."""
    if place.startswith("cuda"):
        import torch

        torch.cuda.synchronize(place)


def _timed(
    contenders: Sequence[Contender], course: _Course, plan: Plan, name: str, reporter: Reporter
) -> list[_Timed]:
    """Return the times of all contenders, which score the pairs in turn, once per round."""
    every = [_Timed(contender, error=contender.error, place=plan.place) for contender in contenders]
    warm_up = max(WARM_UP_PAIRS, int(GPU_WARM_UP * len(course.pairs)) if plan.on_gpu else 0)
    running = [entry for entry in every if entry.contender.score]
    length = f", {course.document_tokens:,} tokens" if course.document_tokens else ""
    total = len(running) * plan.rounds * len(course.pairs)
    with reporter.track(f"{name}{length}", total, "pairs") as advance:
        for entry in running:
            entry.run(course.pairs[:warm_up])
            entry.seconds.clear()
        for _, entry in product(range(plan.rounds), running):
            if entry.error is None:
                entry.run(course.pairs)
            advance(len(course.pairs))
    return every


def _speeds(
    timed: Sequence[_Timed], course: _Course, shape: Shape | None, machine: Machine
) -> list[Speed]:
    reference = next((one for one in timed if one.contender.is_reference and one.seconds), None)
    gflop = shape.flops(course.lengths) / 1e9 if shape else None
    queries = [query for query, _ in course.pairs]
    return [_speed(measured, reference, queries, gflop, machine) for measured in timed]


def _speed(
    measured: _Timed,
    reference: _Timed | None,
    queries: Sequence[str],
    gflop: float | None,
    machine: Machine,
) -> Speed:
    """Return a contender's speed relative to the reference and to the machine's peak.

    Args:
        gflop: The operations that the pairs take, in 10^9.
    """
    contender = measured.contender
    if not measured.seconds:
        return Speed(contender.backend, contender.dtype, contender.load_s, error=measured.error)
    median = statistics.median(measured.seconds)
    ratio = agreement = None
    if reference is not None:
        ratio = statistics.median(reference.seconds) / median
    if reference is not None and reference is not measured:
        assert reference.scores is not None
        assert measured.scores is not None
        agreement = agree(queries, reference.scores, measured.scores)
    dtype = peak_dtype(contender.backend, machine)
    at_peak_s = None if gflop is None else gflop / machine.matmul_peaks[dtype].gflops
    return Speed(
        backend=contender.backend,
        dtype=contender.dtype,
        load_s=contender.load_s,
        seconds=measured.seconds,
        ratio=ratio,
        peak_share=None if at_peak_s is None else at_peak_s / median,
        peak_dtype=None if at_peak_s is None else dtype,
        agreement=agreement,
    )


def peak_dtype(backend: str, machine: Machine) -> str:
    """Return the dtype in which the machine computes the products of a backend.

    Without native support for the backend's dtype, products are computed in float32.
    """
    dtype = backend.rpartition(" ")[2]
    return dtype if dtype in machine.matmul_peaks else FLOAT32
