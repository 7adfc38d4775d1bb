"""The contenders: a model on each of our backends, and on sentence-transformers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ettin_cli.errors import MissingExtraError, ModelError, PluginError, first_line
from ettin_cli.models import refuse_code
from ettin_cli.models.engines import AUTO, EngineSettings
from ettin_cli.models.rerankers import FolderReranker, load_reranker
from ettin_cli.records import Pair, Reporter
from ettin_cli.settings import SENTENCE_TRANSFORMERS

if TYPE_CHECKING:
    from ettin_cli.records import Floats

    Score = Callable[[Sequence[Pair]], Floats]


# Pairs in a batch of sentence-transformers.
CPU_BATCH, GPU_BATCH = 32, 256


class SentenceTransformers:
    """CrossEncoder.predict as in its documentation, with its default dtype.

    On a CPU its batches are the default too; those would leave a GPU idle most of the time.

    Scores are taken before the activation, as ours are; the activation's cost is negligible.

    Raises:
        ModelError: The model cannot be loaded.
    """

    def __init__(self, model: FolderReranker, settings: EngineSettings, device: str) -> None:
        from sentence_transformers import CrossEncoder

        if not model.reads_pairs:
            raise ModelError(f"{model.name} is not a cross-encoder")
        folder = model.files.folder
        if not settings.trust_remote_code:
            refuse_code(folder)
        try:
            self.model = CrossEncoder(
                str(folder),
                device=device,
                trust_remote_code=settings.trust_remote_code,
                local_files_only=True,
            )
        except Exception as error:  # damaged files can raise anything
            raise ModelError(f"cannot load the model: {first_line(error)}") from error
        if self.model.num_labels != 1:
            raise ModelError(
                f"{model.name} returns {self.model.num_labels} scores per pair, not one"
            )
        if settings.max_length:
            own = self.model.max_seq_length or settings.max_length
            self.model.max_seq_length = min(own, settings.max_length)
        self.batch = CPU_BATCH if device.startswith("cpu") else GPU_BATCH
        self.dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")

    def score(self, pairs: Sequence[Pair]) -> Floats:
        """Return the raw scores of the pairs.

        Raises:
            ModelError: Scoring fails, for example because its batches exceed the GPU's memory.
        """
        from torch.nn import Identity

        try:
            scores: Floats = self.model.predict(
                list(pairs),
                batch_size=self.batch,
                activation_fn=Identity(),
                show_progress_bar=False,
            )
        except RuntimeError as error:
            raise ModelError(f"cannot score these pairs: {first_line(error)}") from error
        return scores.reshape(len(pairs))


@dataclass(slots=True)
class Contender:
    """A loaded model, or why it cannot be loaded.

    Args:
        backend: The backend and dtype in use; the requested one if it does not run.
        dtype: The requested dtype.
        score: Scores pairs; None if it does not run.
        error: Why it does not run.
    """

    backend: str
    dtype: str
    load_s: float | None = None
    score: Score | None = None
    error: str | None = None

    @property
    def is_reference(self) -> bool:
        """Whether this is the reference for the others."""
        return self.backend.startswith(SENTENCE_TRANSFORMERS)


def import_libraries() -> None:
    """Import slow libraries, so that this does not count as loading the first model."""
    import sentence_transformers  # noqa: F401


def load_reference(reranker: FolderReranker, settings: EngineSettings, device: str) -> Contender:
    """Return the model on sentence-transformers, or why it does not run."""
    began = time.perf_counter()
    try:
        model = SentenceTransformers(reranker, settings, device)
    except ModelError as error:
        return Contender(SENTENCE_TRANSFORMERS, AUTO, error=error.problem)
    backend = f"{SENTENCE_TRANSFORMERS} {device.partition(':')[0]} {model.dtype}"
    return Contender(backend, AUTO, time.perf_counter() - began, model.score)


def load_ours(reranker: FolderReranker, settings: EngineSettings, reporter: Reporter) -> Contender:
    """Return the model on one of our backends, or why it does not run."""
    began = time.perf_counter()
    try:
        model = load_reranker(reranker, settings, reporter)
    except (ModelError, MissingExtraError, PluginError) as error:
        return Contender(settings.engine, settings.dtype, error=error.problem)
    seconds = time.perf_counter() - began
    return Contender(
        model.card.backend, settings.dtype, seconds, lambda pairs: model.score(pairs).values
    )
