"""The CPU route: a graph that runs batches on as many threads as there are cores."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ettin_cli.errors import ModelError, first_line
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.attention import LENGTH_MULTIPLE, LONG_TOKENS
from ettin_cli.models.engines.backends import Library, Run, Session
from ettin_cli.models.engines.batch_tuning import (
    DEFAULT,
    Pace,
    known_pace,
    measured_pace,
    remember_pace,
)
from ettin_cli.models.engines.batching import batches
from ettin_cli.models.engines.onnx_export import IDS, LENGTHS, TYPES, WrittenModel
from ettin_cli.models.engines.settings import EngineSettings, cpu_threads
from ettin_cli.records import Advance, Reporter, no_progress
from ettin_cli.runtime import Lock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

Sink = Callable[[list[int], "list[Floats]"], None]

_models: WeakSet[OnnxModel] = WeakSet()


class OnnxModel:
    """A model that runs on the CPU without torch; several threads may use it concurrently.

    A text's values do not depend on the other texts of a batch, to the last bit: short texts are
    padded to a multiple of 16 tokens, and a long text is a separate batch.

    Args:
        identity: Identifies this model when a pace is remembered.
    """

    def __init__(
        self,
        written: WrittenModel,
        settings: EngineSettings,
        reporter: Reporter,
        identity: str,
        library: Library,
    ) -> None:
        self.backend = library.backend
        self.library = library
        self.written, self.settings, self.reporter = written, settings, reporter
        self.identity = identity
        self.threads = cpu_threads(settings)
        self.pace = None if settings.batch_size else known_pace(identity, self.threads)
        self._sessions: dict[bool, Session] = {}
        self._loading, self._measuring = Lock(), Lock()
        _models.add(self)
        reporter.detail(f"{library.described()}, {self.threads} threads")

    def run(
        self,
        texts: Sequence[TokenIds],
        outputs: Sequence[str],
        sink: Sink,
        advance: Advance = no_progress,
    ) -> None:
        """Pass `sink` the outputs of batches of positions in `texts`.

        Args:
            outputs: Names of the model's outputs; each is an array with one row per text.
        """
        lengths = [len(text.ids) for text in texts]
        long = [at for at, length in enumerate(lengths) if length > LONG_TOKENS]
        short = [at for at, length in enumerate(lengths) if length <= LONG_TOKENS]

        def compute(positions: list[int], pace: Pace) -> None:
            rows = self.settings.batch_size
            made = batches([_padded(lengths[at]) for at in positions], pace.tokens, rows)
            groups = [[positions[at] for at in batch] for batch in made]
            self._compute(texts, groups, outputs, sink, advance, together=pace.together)

        if long:
            alone = [[at] for at in sorted(long, key=lambda at: -lengths[at])]
            self._compute(texts, alone, outputs, sink, advance, together=False)
        # A caller that arrives while another measures does not wait, and uses the default pace.
        if self.pace is None and not self.settings.batch_size and self._measuring.take():
            try:
                pace, left = measured_pace(
                    [lengths[at] for at in short],
                    self.threads,
                    lambda some, pace: compute([short[at] for at in some], pace),
                )
                short = [short[at] for at in left]
                if pace:
                    self._keep(pace)
            finally:
                self._measuring.give()
        if short:
            compute(short, self.pace or DEFAULT)

    def _keep(self, pace: Pace) -> None:
        self.pace = pace
        remember_pace(self.identity, self.threads, pace)
        shared = "shared by all threads" if pace.together else "one per thread"
        self.reporter.detail(f"fastest: batches of {pace.tokens} tokens, {shared}")

    def _compute(
        self,
        texts: Sequence[TokenIds],
        groups: Sequence[list[int]],
        outputs: Sequence[str],
        sink: Sink,
        advance: Advance,
        *,
        together: bool,
    ) -> None:
        together = together or len(groups) < self.threads
        workers = 1 if together else self.threads
        run = self._session(together).begin()
        with _interruptible(run, workers) as pool:
            submitted = (
                (group, pool.submit(run.compute, outputs, self._feeds([texts[at] for at in group])))
                for group in groups
            )
            for group, computed in _ahead(submitted, 2 * workers):
                with self._failures():
                    values = computed.result()
                sink(group, values)
                advance(len(group))

    def _feeds(self, texts: Sequence[TokenIds]) -> dict[str, NDArray[Any]]:
        import numpy as np

        longest = max(len(text.ids) for text in texts)
        shape = len(texts), _padded(longest)
        lengths = [text.attended or len(text.ids) for text in texts]
        feeds = {LENGTHS: np.array(lengths, np.int64)}
        for name, rows in self.written.tables.items():
            feeds[name] = np.zeros(shape, np.int64)
            for row, text in enumerate(texts):
                values = {IDS: text.ids, TYPES: text.types}[name]
                feeds[name][row, : len(values)] = values
            if (most := int(feeds[name].max())) >= rows:
                raise ModelError(
                    f"the tokenizer returns {name} up to {most}, but the model has only {rows}",
                    code="model-incomplete",
                )
        return feeds

    def _session(self, together: bool) -> Session:
        with self._loading:
            if together not in self._sessions:
                with self._failures():
                    loaded = self.library.load(self.written, self.threads, together)
                self._sessions[together] = loaded
            return self._sessions[together]

    def forget_sessions(self) -> None:
        """Make a forked child load its own sessions, since the inherited ones lost their threads.

        The old ones are kept forever, since releasing them would wait for those threads.
        """
        for session in self._sessions.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
        self._sessions = {}

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Report in one line that a library cannot run the model, e.g. if weights do not fit."""
        try:
            yield
        except Exception as error:  # each library has its own exceptions
            raise ModelError(
                f"{self.backend} cannot run this model: {first_line(error)}",
                code="model-incomplete",
            ) from error


def _padded(length: int) -> int:
    """Return the number of tokens that a text takes in a batch."""
    if length > LONG_TOKENS:
        return length
    return -(-length // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


@contextmanager
def _interruptible(run: Run, workers: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads that are stopped, not waited for, on an interruption or a failure."""
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            run.stop()
            raise


def _ahead(
    submitted: Iterable[tuple[list[int], Future[Any]]], most: int
) -> Iterator[tuple[list[int], Future[Any]]]:
    """Yield results in the order of submission, with some tasks submitted ahead."""
    waiting: deque[tuple[list[int], Future[Any]]] = deque()
    for future in submitted:
        waiting.append(future)
        if len(waiting) > most:
            yield waiting.popleft()
    yield from waiting


def _in_child() -> None:
    for model in list(_models):
        model.forget_sessions()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
