"""ModernBERT as a graph: the architecture of all Ettin models.

Warner et al., "Smarter, Better, Faster, Longer" (2024). Padding only enlarges the matrix products,
and the last layer computes only the outputs that are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ettin_cli.models.engines.attention import (
    LONG_TOKENS,
    BatchLayout,
    GlobalAttention,
    LocalAttention,
    layout,
)
from ettin_cli.models.engines.graph import CONTRIBUTED, Graph, UnsupportedModelError
from ettin_cli.models.engines.weights import Weights

if TYPE_CHECKING:
    from ettin_cli.records import Floats

MODERNBERT = "modernbert"
GLOBAL, LOCAL = "full_attention", "sliding_attention"
EVERY, WINDOW = 3, 128


def layer_kinds(config: dict[str, Any]) -> list[str]:
    """Return whether each layer has global attention or a window.

    transformers 5 lists it as `layer_types`, which takes precedence over the older number.

    >>> layer_kinds({"num_hidden_layers": 3, "global_attn_every_n_layers": 2})
    ['full_attention', 'sliding_attention', 'full_attention']
    """
    every = int(config.get("global_attn_every_n_layers") or EVERY)
    layers = range(int(config["num_hidden_layers"]))
    kinds = config.get("layer_types") or [LOCAL if at % every else GLOBAL for at in layers]
    return [str(kind) for kind in kinds]


def local_reach(config: dict[str, Any]) -> int:
    """Return how many tokens to either side a token of a local layer attends to."""
    return int(config.get("local_attention", WINDOW)) // 2


def modernbert(graph: Graph, config: dict[str, Any], weights: Weights, *, first_only: bool) -> str:
    """Add a ModernBERT encoder over the inputs `ids` and `lengths`.

    Args:
        first_only: Whether only the first token's vector is used.

    Returns:
        Vectors of shape (texts, length, hidden), or (texts, 1, hidden).

    Raises:
        UnsupportedModelError: The configuration has features that are not supported here.
        KeyError: A weight is missing.
    """
    return _ModernBert(graph, config, weights, layout(graph, "ids", "lengths")).vectors(first_only)


class _ModernBert:
    def __init__(
        self, graph: Graph, config: dict[str, Any], weights: Weights, layout: BatchLayout
    ) -> None:
        self.graph, self.config, self.weights, self.layout = graph, config, weights, layout
        self.hidden = int(config["hidden_size"])
        self.heads = int(config["num_attention_heads"])
        layers = int(config["num_hidden_layers"])
        self.kinds = layer_kinds(config)
        self.rotations = {kind: self._rotations(kind) for kind in set(self.kinds)}
        window = local_reach(config)
        if len(self.kinds) != layers or not {*self.kinds} <= {GLOBAL, LOCAL} or window < 1:
            raise UnsupportedModelError(f"layers of {self.kinds} with a window of {window}")
        self.everywhere = GlobalAttention(graph, layout, self.heads)
        self.local = LocalAttention(graph, layout, window, self.heads, self.hidden)

    def vectors(self, first_only: bool) -> str:
        graph = self.graph
        words = graph.rows_of(self.weights["embeddings.tok_embeddings.weight"], "ids")
        rows = graph.reshape(words, -1, self.hidden)
        rows = self._norm(rows, "embeddings.norm")
        last = len(self.kinds) - 1
        for at, kind in enumerate(self.kinds):
            rows = self._layer(rows, at, kind, first=first_only and at == last)
        rows = self._norm(rows, "final_norm")
        return self._texts(rows, first_only=first_only)

    def _layer(self, rows: str, at: int, kind: str, *, first: bool) -> str:
        graph, name = self.graph, f"layers.{at}"
        # The input of the first layer is already normalised.
        normed = self._norm(rows, f"{name}.attn_norm") if at else rows
        asking = normed
        if first:
            rows, asking = self._first(rows), self._first(normed)
        attended = self._attention(asking, normed, name, kind, first=first)
        rows = graph.node("Add", rows, self._linear(attended, f"{name}.attn.Wo"))
        return graph.node("Add", rows, self._mlp(self._norm(rows, f"{name}.mlp_norm"), name))

    def _attention(self, asking: str, rows: str, name: str, kind: str, *, first: bool) -> str:
        graph, size = self.graph, self.hidden
        weight, bias = self._of(f"{name}.attn.Wqkv")
        query, key, value = (
            graph.linear(x, weight[part], None if bias is None else bias[part])
            for x, part in zip(
                (asking, rows, rows),
                (slice(at * size, (at + 1) * size) for at in range(3)),
                strict=True,
            )
        )
        key = self._rotated(self._texts(key), kind)
        value = self._texts(value)
        if first:
            # RoPE at position 0 is the identity.
            attended = self._attend_first(self._texts(query, first_only=True), key, value, kind)
        else:
            query = self._rotated(self._texts(query), kind)
            attended = self._attend(query, key, value, kind)
        return graph.reshape(attended, -1, size)

    def _attend(self, query: str, key: str, value: str, kind: str) -> str:
        if kind == GLOBAL:
            return self.everywhere.attend(self.graph, query, key, value)
        return self.local.attend(self.graph, query, key, value)

    def _attend_first(self, query: str, key: str, value: str, kind: str) -> str:
        if kind != GLOBAL:
            raise UnsupportedModelError("a last layer of local attention")
        return self.everywhere.attend_first(self.graph, query, key, value)

    def _mlp(self, rows: str, name: str) -> str:
        graph = self.graph
        weight, bias = self._of(f"{name}.mlp.Wi")
        half = len(weight) // 2
        inner, gate = (
            graph.linear(rows, weight[part], None if bias is None else bias[part])
            for part in (slice(half), slice(half, None))
        )
        active = graph.activation(self.config.get("hidden_activation", "gelu"), inner)
        return self._linear(graph.node("Mul", active, gate), f"{name}.mlp.Wo")

    def _rotations(self, kind: str) -> tuple[str, str]:
        """Return the cosines and sines of the rotary position embedding, by position.

        Su et al., "RoFormer" (2021).
        """
        import numpy as np

        size = self.hidden // self.heads
        exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
        frequencies = np.float32(1) / np.float32(self._theta(kind)) ** exponents
        # Padding may extend beyond the last position.
        most = max(int(self.config["max_position_embeddings"]), LONG_TOKENS)
        positions = np.arange(most, dtype=np.float32)
        angles = np.outer(positions, frequencies).astype(np.float32)
        return self.graph.weight(np.cos(angles)), self.graph.weight(np.sin(angles))

    def _theta(self, kind: str) -> float:
        older = "global_rope_theta" if kind == GLOBAL else "local_rope_theta"
        rope = (self.config.get("rope_parameters") or {}).get(kind) or {}
        kind_of = rope.get("rope_type", rope.get("type", "default"))
        if kind_of != "default" or self.config.get("rope_scaling"):
            raise UnsupportedModelError("scaled rotary positions")
        theta = rope.get("rope_theta") or self.config.get(older)
        return float(theta or (160_000.0 if kind == GLOBAL else 10_000.0))

    def _rotated(self, x: str, kind: str) -> str:
        if self.graph.plain:
            return self._plainly_rotated(x, kind)
        return self.graph.node(
            "RotaryEmbedding",
            *(x, self.graph.ints(0), *self.rotations[kind]),
            domain=CONTRIBUTED,
            num_heads=self.heads,
        )

    def _plainly_rotated(self, x: str, kind: str) -> str:
        graph, half = self.graph, self.hidden // self.heads // 2
        length = graph.node("Reshape", self.layout.length, graph.ints(1))
        cosines, sines = (
            graph.node("Unsqueeze", graph.part(table, graph.ints(0), length, 0), graph.ints(0, 2))
            for table in self.rotations[kind]
        )
        by_head = graph.reshape(x, 0, 0, self.heads, 2 * half)
        first = graph.part(by_head, graph.ints(0), graph.ints(half), 3)
        second = graph.part(by_head, graph.ints(half), graph.ints(2 * half), 3)
        turned = (
            graph.node("Sub", graph.node("Mul", first, cosines), graph.node("Mul", second, sines)),
            graph.node("Add", graph.node("Mul", second, cosines), graph.node("Mul", first, sines)),
        )
        return graph.reshape(graph.node("Concat", *turned, axis=3), 0, 0, self.hidden)

    def _texts(self, rows: str, *, first_only: bool = False) -> str:
        """Reshape rows to (texts, length, hidden), or (texts, 1, hidden) if `first_only`."""
        if first_only:
            return self.graph.reshape(rows, -1, 1, self.hidden)
        graph = self.graph
        length = graph.node("Reshape", self.layout.length, graph.ints(1))
        shape = graph.node("Concat", graph.ints(-1), length, graph.ints(self.hidden), axis=0)
        return graph.node("Reshape", rows, shape)

    def _first(self, rows: str) -> str:
        graph = self.graph
        first = graph.node("Gather", self._texts(rows), graph.integer(0), axis=1)
        return graph.reshape(first, -1, self.hidden)

    def _of(self, name: str) -> tuple[Floats, Floats | None]:
        return self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")

    def _linear(self, rows: str, name: str) -> str:
        return self.graph.linear(rows, *self._of(name))

    def _norm(self, rows: str, name: str) -> str:
        return self.graph.layer_norm(rows, *self._of(name), self.config.get("norm_eps", 1e-5))
