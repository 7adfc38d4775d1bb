"""Names and lengths -> a benchmark of rerankers on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ettin_cli.benchmark.machine import Machine, this_machine
from ettin_cli.benchmark.measuring import Plan, check_lengths, measure
from ettin_cli.benchmark.pairs import SampleTexts
from ettin_cli.benchmark.results import Race
from ettin_cli.corpus import EVERYDAY_ANSWERS, sample_corpus
from ettin_cli.errors import InvalidArgumentError
from ettin_cli.models.engines import check_backend, installed_backends
from ettin_cli.models.rerankers import FolderReranker
from ettin_cli.records import Pair, Reporter, require_least
from ettin_cli.searching import Models
from ettin_cli.settings import AUTO, SENTENCE_TRANSFORMERS

NOTHING = "none"
DOCUMENT_TOKENS = 125


@dataclass(frozen=True, slots=True)
class BenchmarkRequest:
    """What to measure.

    Args:
        rerankers: Names as in search; several are compared.
        against: The baseline: "sentence-transformers" or "none".
        engines: Backends; empty: all that are installed.
        dtypes: Dtypes for each backend.
        document_tokens: Lengths of pairs made from a sample corpus, in tokens; empty: about 125.
        pairs: (query, text) pairs to score instead of the sample's.
        limit: Pairs per length; None: as many as take a reasonable time.
        rounds: How often all pairs are scored.

    Raises:
        InvalidArgumentError: A value is unknown or out of range.
    """

    rerankers: Sequence[str] = (AUTO,)
    against: str = SENTENCE_TRANSFORMERS
    engines: Sequence[str] = ()
    dtypes: Sequence[str] = (AUTO,)
    document_tokens: Sequence[int] = ()
    pairs: Sequence[Pair] = ()
    limit: int | None = None
    rounds: int = 3

    def __post_init__(self) -> None:
        choices = (SENTENCE_TRANSFORMERS, NOTHING)
        if self.against not in choices:
            raise InvalidArgumentError(
                f"unknown baseline {self.against!r}", argument="against", choices=choices
            )
        if "none" in self.rerankers:
            raise InvalidArgumentError(
                "a benchmark needs a reranker", code="needs-reranker", argument="rerankers"
            )
        for engine in self.engines:
            check_backend(engine)
        for tokens in self.document_tokens:
            require_least(tokens, 1, "document_tokens")
        require_least(self.rounds, 1, "rounds")
        require_least(self.limit, 1, "limit")
        if self.pairs and self.document_tokens:
            raise InvalidArgumentError(
                "document_tokens cannot be combined with pairs", argument="pairs"
            )


@dataclass(frozen=True, slots=True, repr=False)
class Benchmark:
    """A benchmark that is ready to run: iterating measures, and yields a `Race` at a time."""

    plan: Plan
    machine: Machine
    reporter: Reporter

    def __repr__(self) -> str:
        names = ", ".join(model.name for model in self.plan.models)
        return f"<ettin benchmark of {names} on {self.machine.cpu}>"

    def __iter__(self) -> Iterator[Race]:
        return measure(self.plan, self.machine, self.reporter)


def plan_benchmark(request: BenchmarkRequest, models: Models) -> Benchmark:
    """Return a benchmark of the request's rerankers on this machine.

    Raises:
        InvalidArgumentError: A reranker is not a model folder, or cannot read pairs of this length.
        ModelError: A reranker is unknown or cannot be downloaded.
    """
    dtypes = list(dict.fromkeys(request.dtypes))
    # Every dtype is checked before a model is downloaded.
    settings = [replace(models.settings, dtype=dtype) for dtype in dtypes]
    names = dict.fromkeys(request.rerankers)
    found = {one.name: one for one in (_model(name, models) for name in names)}
    lengths = list(dict.fromkeys(request.document_tokens)) or [DOCUMENT_TOKENS]
    if not request.pairs:
        check_lengths(list(found.values()), lengths, models.settings.max_length)
    machine = this_machine(settings[0], models.reporter)
    plan = Plan(
        models=list(found.values()),
        settings=settings[0],
        backends=list(dict.fromkeys(request.engines or installed_backends(machine.place))),
        dtypes=dtypes,
        sample=SampleTexts.of(sample_corpus(EVERYDAY_ANSWERS)),
        lengths=lengths,
        pairs=request.pairs[: request.limit],
        spread=not request.document_tokens,
        limit=request.limit,
        rounds=request.rounds,
        compared=request.against != NOTHING,
        place=machine.place,
    )
    return Benchmark(plan, machine, models.reporter)


def _model(name: str, models: Models) -> FolderReranker:
    """Return a reranker with a tokenizer, which is needed to make pairs of a given length."""
    found = models.find_reranker(name)
    if not isinstance(found, FolderReranker):
        raise InvalidArgumentError(
            f"cannot measure {name}: it is not a model folder, so its tokens cannot be counted",
            argument="rerankers",
        )
    return found
