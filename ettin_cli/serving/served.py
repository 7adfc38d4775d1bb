"""What a server offers, and whether it is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ettin_cli.errors import EttinError, MissingExtraError, ModelError, missing_torch
from ettin_cli.records import Reporter
from ettin_cli.serving.exchange import Exchange, Limits
from ettin_cli.serving.problems import ProblemError
from ettin_cli.serving.scores import AUTO, PROBABILITY, RAW, SIGMOID, Scale
from ettin_cli.serving.served_index import ServedIndex
from ettin_cli.serving.served_models import ServedEmbedder, ServedReranker

# What clients send as a model if they are given none.
UNNAMED = ("", "default/not-specified")

Model = TypeVar("Model", ServedReranker, ServedEmbedder)


@dataclass(frozen=True, slots=True)
class Served:
    """What a server offers: models by each of their names.

    A request that names no other gets the first.

    Args:
        scale: Of scores where a request asks for no other: one of SCALES.
        strict: Whether a request for another model is refused.
    """

    rerankers: Mapping[str, ServedReranker]
    embedders: Mapping[str, ServedEmbedder]
    indexes: Mapping[str, ServedIndex] = field(default_factory=dict)
    scale: str = AUTO
    limits: Limits = field(default_factory=Limits)
    strict: bool = False

    @property
    def models(self) -> list[ServedReranker | ServedEmbedder]:
        """Every model, once."""
        every: list[ServedReranker | ServedEmbedder] = [*self.rerankers.values()]
        every += self.embedders.values()
        return list({id(model): model for model in every}.values())

    @property
    def working(self) -> list[ServedReranker | ServedEmbedder]:
        """Every model with a queue: also the embedders of the indexes."""
        every = self.models
        for index in self.indexes.values():
            every += index.models.served_embedders.values()
        return list({id(model): model for model in every}.values())

    def aliases(self, model: ServedReranker | ServedEmbedder) -> list[str]:
        """Return the names of a model."""
        named = (*self.rerankers.items(), *self.embedders.items())
        return [name for name, one in named if one is model]

    def scale_of(self, model: ServedReranker, raw: bool | None) -> Scale:
        """Return the scale of scores for a request.

        Args:
            raw: Whether the request asks for raw scores; None: it does not say.
        """
        if raw or (raw is None and self.scale == RAW):
            return Scale(RAW)
        if self.scale in (AUTO, PROBABILITY):
            for index in self.indexes.values():
                calibration = index.calibration(model)
                if calibration:
                    return Scale(PROBABILITY, calibration)
        return Scale(SIGMOID)

    def reranker(self, name: object, exchange: Exchange) -> ServedReranker:
        """Return the reranker of a name, else the first, with a warning.

        Raises:
            ProblemError: There is none.
        """
        if not self.rerankers:
            raise ProblemError(404, "this server has no reranker; start it with -r MODEL")
        return self._named(name, self.rerankers, exchange)

    def embedder(self, name: object, exchange: Exchange) -> ServedEmbedder:
        """Return the embedder of a name, else the first, with a warning.

        Raises:
            ProblemError: There is none.
        """
        if not self.embedders:
            raise ProblemError(404, "this server has no embedder; start it with --embedder MODEL")
        return self._named(name, self.embedders, exchange)

    def _named(self, name: object, known: Mapping[str, Model], exchange: Exchange) -> Model:
        if isinstance(name, str) and name in known:
            return known[name]
        first = next(iter(known.values()))
        if isinstance(name, str) and name not in UNNAMED:
            if self.strict:
                message = f"model {name[:100]!r} is not served; this server has {', '.join(known)}"
                raise ProblemError(404, message, param="model")
            warning = f"model {name[:100]!a} is not served: {first.name} answers"
            exchange.warnings.append(warning)
        return first


class Readiness:
    """Whether the models of a server are loaded, and whether it is ending.

    Args:
        reporter: Receives which models were loaded, and failures.
    """

    def __init__(self, served: Served, reporter: Reporter) -> None:
        self.served, self.reporter = served, reporter
        # Ends with what failed; "" if the models are loaded.
        self._loading: asyncio.Task[str]
        self.draining = False
        # When loading failed, if it did.
        self.failed_at: float | None = None

    def start(self) -> None:
        """Begin to load the models, so that the first request need not wait for it."""
        self._loading = asyncio.create_task(self._load())

    def end(self) -> None:
        """Stop loading models, and refuse further work."""
        self.draining = True
        self._loading.cancel()
        for model in self.served.working:
            model.scheduler.close()

    async def _load(self) -> str:
        try:
            for model in self.served.models:
                backend = await asyncio.to_thread(model.load)
                kind = "reranker" if isinstance(model, ServedReranker) else "embedder"
                self.reporter.notice(f"{kind} {model.name} is loaded: {backend}")
            for index in self.served.indexes.values():
                await self._open(index)
            self._require_calibrations()
        except Exception as raised:
            error = missing_torch(raised) or raised
            named = f"{type(error).__name__}: {error}"
            failure = error.problem if isinstance(error, EttinError) else named
            if isinstance(error, MissingExtraError):
                failure += f": pip install {error.fields['package']}"
            self.reporter.notice(f"a model cannot be loaded: {failure}")
            self.failed_at = time.monotonic()
            return failure
        return ""

    async def _open(self, index: ServedIndex) -> None:
        """Open an index; one that is damaged is told of, and tried again by each search."""
        try:
            notice = await asyncio.to_thread(index.load)
        except EttinError as error:
            notice = f"{index.name} cannot be searched: {error.problem}"
        self.reporter.notice(notice)

    def _require_calibrations(self) -> None:
        for model in self.served.rerankers.values():
            if (
                self.served.scale == PROBABILITY
                and not self.served.scale_of(model, None).calibration
            ):
                raise ModelError(f"no index has a calibration for {model.name}")

    @property
    def reason(self) -> str:
        """Why the models cannot be used; empty if they can."""
        if not self._loading.done():
            return "the models are being loaded"
        return self._loading.result()

    @property
    def status(self) -> str:
        """Whether the server is ready, loading, failed or draining; what failed is in its log."""
        if self.draining:
            return "draining"
        if not self._loading.done():
            return "loading"
        return "failed" if self._loading.result() else "ready"

    def require(self) -> None:
        """Check that the models are loaded.

        Raises:
            ProblemError: They are not.
        """
        if self.reason:
            loads = not self._loading.done()
            raise ProblemError(503, self.reason, retry_after=1 if loads else None)

    async def wait(self) -> None:
        """Wait for the models.

        Raises:
            ProblemError: They are not loaded in time.
        """
        await asyncio.wait([self._loading], timeout=self.served.limits.timeout)
        self.require()
