"""A model's shape -> the arithmetic that a pair takes, and what the machine can do of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ettin_cli.hub import EMBEDDED, ModelFiles, read_json

MODERNBERT = "modernbert"
BERT_LIKE = ("bert", "roberta", "xlm-roberta", "electra")
CPU_SIZE, GPU_SIZE = 1536, 8192
PRODUCTS = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """What of an encoder's shape its arithmetic depends on.

    Args:
        weights: Weights of a layer's matrix products, each a multiply-add a token.
        reaches: For each layer, how far to either side a token attends; None: everywhere.
    """

    hidden: int
    weights: int
    reaches: Sequence[int | None]

    def flops(self, lengths: Iterable[int]) -> int:
        """Return the floating-point operations that texts of so many tokens take."""
        return sum(2 * self._multiply_adds(tokens) for tokens in lengths)

    def _multiply_adds(self, tokens: int) -> int:
        # Every query is multiplied with its keys, and every weight with a value.
        attention = sum(2 * self.hidden * _attended(tokens, reach) for reach in self.reaches)
        return len(self.reaches) * self.weights * tokens + attention


def _attended(tokens: int, reach: int | None) -> int:
    """Return how many pairs of a token and a token that it attends to there are.

    >>> _attended(5, None), _attended(5, 1)
    (25, 13)
    """
    far = tokens - 1 if reach is None else min(reach, tokens - 1)
    return tokens + 2 * far * tokens - far * (far + 1)


def shape_of(files: ModelFiles) -> Shape | None:
    """Return a cross-encoder's shape, None where its kind is not known well enough."""
    config = read_json(files.folder / "config.json", default={})
    kind = config.get("model_type") if isinstance(config, dict) else None
    if files.name == EMBEDDED or kind not in (MODERNBERT, *BERT_LIKE):
        return None
    # ModernBERT's inner layer has a gate as wide as itself.
    inner_products = 3 if kind == MODERNBERT else 2
    try:
        hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
        weights = 4 * hidden * hidden + inner_products * hidden * inner
        return Shape(hidden, weights, _reaches(config))
    except (KeyError, TypeError, ValueError):
        return None


def _reaches(config: dict[str, Any]) -> list[int | None]:
    layers = range(int(config["num_hidden_layers"]))
    if config["model_type"] != MODERNBERT:
        return [None for _ in layers]
    every, window = int(config["global_attn_every_n_layers"]), int(config["local_attention"])
    return [None if layer % every == 0 else window // 2 for layer in layers]


def matmul_peak(device: str, threads: int | None) -> float:
    """Return the float32 operations a second of large matrix products on a device.

    On a CPU the better of torch and NumPy counts; NumPy takes no number of threads, so with
    `threads` torch alone does.
    """
    import numpy as np
    import torch

    size = CPU_SIZE if device == "cpu" else GPU_SIZE
    matrix = torch.ones(size, size, device=device)
    ways: list[Callable[[], object]] = [lambda: (matrix @ matrix)[0, 0].item()]
    if device == "cpu" and threads is None:
        array = np.ones((size, size), np.float32)
        ways.append(lambda: array @ array)
    return 2 * size**3 / min(_least_seconds(way) for way in ways)


def _least_seconds(work: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(once() for _ in range(PRODUCTS))
