"""The results of a benchmark, from which tables and files are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ettin_cli.benchmark.agreement import Agreement
from ettin_cli.settings import SENTENCE_TRANSFORMERS, PublishedSpeed


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of a model on a backend, at one pair length.

    Args:
        backend: The backend and dtype that ran; the requested one if it did not run.
        dtype: The requested dtype.
        load_s: Seconds to load the model, with its libraries already imported.
        seconds: Seconds for all pairs, per round; empty if it did not run.
        ratio: Speed relative to sentence-transformers, by the medians.
        peak_share: Share of the machine's matrix product peak in `peak_dtype`; None if the
            operations per pair are unknown.
        peak_dtype: The dtype of the products; float32 without native support for a narrower one.
        agreement: Agreement with sentence-transformers' scores; None without them.
        published: The published speed to compare with; None if there is none.
        error: Why it did not run.
    """

    backend: str
    dtype: str
    load_s: float | None = None
    seconds: Sequence[float] = ()
    ratio: float | None = None
    peak_share: float | None = None
    peak_dtype: str | None = None
    agreement: Agreement | None = None
    published: PublishedSpeed | None = None
    error: str | None = None

    @property
    def is_reference(self) -> bool:
        """Whether this is sentence-transformers."""
        return self.backend.startswith(SENTENCE_TRANSFORMERS)


@dataclass(frozen=True, slots=True)
class Race:
    """A model on all backends, with the same pairs.

    Args:
        document_tokens: The exact or approximate length of the pairs; None for pairs from a file.
        pairs: The number of pairs.
        queries: The number of distinct queries.
        tokens: Total tokens after truncation, with special tokens.
        truncated: The number of pairs beyond the model's token limit.
        speeds: The reference first, if there is one.
    """

    model: str
    document_tokens: int | None
    pairs: int
    queries: int
    tokens: int
    truncated: int
    speeds: Sequence[Speed]
