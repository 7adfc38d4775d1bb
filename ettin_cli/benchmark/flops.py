"""A model's shape -> the floating-point operations per pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ettin_cli.models import ModelFiles, read_json
from ettin_cli.models.engines import GLOBAL, MODERNBERT, layer_kinds, local_reach

BERT_LIKE = ("bert", "roberta", "xlm-roberta", "electra")


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of an encoder that determine its arithmetic.

    Args:
        weights: Weights of a layer's matrix products, each one multiply-add per token.
        reaches: For each layer, the attention distance to either side; None: global.
    """

    hidden: int
    weights: int
    reaches: Sequence[int | None]

    def flops(self, lengths: Iterable[int]) -> int:
        """Return the floating-point operations for texts of these token counts."""
        return sum(2 * self._multiply_adds(tokens) for tokens in lengths)

    def _multiply_adds(self, tokens: int) -> int:
        # Queries times keys, and attention weights times values.
        attention = sum(2 * self.hidden * _attended(tokens, reach) for reach in self.reaches)
        return len(self.reaches) * self.weights * tokens + attention


def _attended(tokens: int, reach: int | None) -> int:
    """Return the number of (token, attended token) pairs.

    >>> _attended(5, None), _attended(5, 1)
    (25, 13)
    """
    far = tokens - 1 if reach is None else min(reach, tokens - 1)
    return tokens + 2 * far * tokens - far * (far + 1)


def shape_of(files: ModelFiles) -> Shape | None:
    """Return a cross-encoder's shape; None for an unknown architecture."""
    config = read_json(files.folder / "config.json", default={})
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind not in (MODERNBERT, *BERT_LIKE):
        return None
    # ModernBERT's inner layer has a gate of the same width.
    inner_products = 3 if kind == MODERNBERT else 2
    try:
        hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
        weights = 4 * hidden * hidden + inner_products * hidden * inner
        return Shape(hidden, weights, _reaches(config))
    except (KeyError, TypeError, ValueError):
        return None


def _reaches(config: dict[str, Any]) -> list[int | None]:
    if config["model_type"] != MODERNBERT:
        return [None for _ in range(int(config["num_hidden_layers"]))]
    reach = local_reach(config)
    return [None if kind == GLOBAL else reach for kind in layer_kinds(config)]
