"""What a benchmark found, in the form that tables and files are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ettin_cli.benchmark.agreement import Agreement


@dataclass(frozen=True, slots=True)
class Speed:
    """A model on an engine, at one length of pairs.

    Args:
        engine: Where and in what arithmetic it ran; what was asked for, where it did not run.
        dtype: As it was asked for.
        load_s: What loading the model took, its libraries imported beforehand.
        seconds: What all of the pairs took, once a round; empty where it did not run.
        ratio: How many times as fast as sentence-transformers, by the medians.
        peak_share: Of the machine's matrix products in the type it computes in; None where the
            arithmetic that a pair takes is not known.
        peak_dtype: Which type that is: float32 where the machine computes in no shorter one.
        agreement: With sentence-transformers' scores; None where there are none.
        error: Why it did not run.
    """

    engine: str
    dtype: str
    load_s: float | None = None
    seconds: Sequence[float] = ()
    ratio: float | None = None
    peak_share: float | None = None
    peak_dtype: str | None = None
    agreement: Agreement | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Race:
    """A model on all of the engines, with the same pairs.

    Args:
        document_tokens: The length of the pairs, or about which it is; None for the user's own.
        pairs: How many.
        queries: How many different ones they have.
        tokens: Of all of the pairs as the model reads them, special ones included.
        truncated: Pairs that are longer than the model reads.
        speeds: The reference first, if there is one.
    """

    model: str
    document_tokens: int | None
    pairs: int
    queries: int
    tokens: int
    truncated: int
    speeds: Sequence[Speed]
