"""What every embedder checks and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ettin_cli.errors import ModelError

if TYPE_CHECKING:
    from ettin_cli.records import Floats


def check_dimension(vectors: Floats, dimension: int, name: str) -> None:
    """Check that a model's vectors are as long as its files say.

    Raises:
        ModelError: They are not.
    """
    if vectors.shape[1] != dimension:
        raise ModelError(
            f"{name} returned vectors of {vectors.shape[1]} dimensions, but its files specify "
            f"{dimension}",
            code="model-incomplete",
        )


def finite(vectors: Floats, name: str) -> Floats:
    """Return vectors that can be compared.

    Raises:
        ModelError: One contains a value that is not finite.
    """
    import numpy as np

    if not np.isfinite(vectors).all():
        raise ModelError(
            f"{name} returned a vector that is not finite", code="not-a-number", name=name
        )
    return vectors


def queries_cut(count: int, name: str, limit: int) -> str:
    """Return the notice that some queries exceed an embedder's token limit."""
    queries = "1 query" if count == 1 else f"{count} queries"
    return f"{queries} truncated at the embedder's token limit ({name}: {limit} tokens)"
