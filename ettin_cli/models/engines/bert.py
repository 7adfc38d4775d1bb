"""BERT and RoBERTa as graphs: MiniLM, BGE, E5, XLM-R and cross-encoders based on them.

Devlin et al. (2018), Liu et al. (2019).
"""

from __future__ import annotations

from typing import Any

from ettin_cli.models.engines.attention import GlobalAttention, layout
from ettin_cli.models.engines.graph import Graph, UnsupportedModelError
from ettin_cli.models.engines.weights import Weights


def bert(graph: Graph, config: dict[str, Any], weights: Weights, *, typed: bool) -> str:
    """Add a BERT or RoBERTa encoder over the inputs `ids`, `lengths` and, if `typed`, `types`.

    Args:
        typed: Whether the input `types` distinguishes a query's tokens from a text's.

    Returns:
        Vectors of shape (texts, length, hidden).

    Raises:
        UnsupportedModelError: The configuration has features that are not supported here.
        KeyError: A weight is missing.
    """
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UnsupportedModelError("relative positions")
    if config.get("is_decoder"):
        raise UnsupportedModelError("a decoder")
    return _Bert(graph, config, weights).vectors(typed)


class _Bert:
    def __init__(self, graph: Graph, config: dict[str, Any], weights: Weights) -> None:
        self.graph, self.config, self.weights = graph, config, weights
        self.hidden = int(config["hidden_size"])
        self.layout = layout(graph, "ids", "lengths")
        heads = int(config["num_attention_heads"])
        self.everywhere = GlobalAttention(graph, self.layout, heads)
        length = graph.node("Reshape", self.layout.length, graph.ints(1))
        self.shape = graph.node("Concat", graph.ints(-1), length, graph.ints(self.hidden), axis=0)

    def vectors(self, typed: bool) -> str:
        rows = self._norm(self._embedded(typed), "embeddings.LayerNorm")
        for at in range(int(self.config["num_hidden_layers"])):
            rows = self._layer(rows, f"encoder.layer.{at}")
        return self.graph.node("Reshape", rows, self.shape)

    def _embedded(self, typed: bool) -> str:
        graph, weights = self.graph, self.weights
        words = graph.rows_of(weights["embeddings.word_embeddings.weight"], "ids")
        positions = weights["embeddings.position_embeddings.weight"]
        types = weights["embeddings.token_type_embeddings.weight"]
        if not typed:
            positions = positions + types[0]
        # Padding may extend beyond the last position.
        at = graph.node("Min", self._positions(), graph.integer(len(positions) - 1))
        summed = graph.node("Add", words, graph.node("Gather", graph.weight(positions), at))
        if typed:
            summed = graph.node("Add", summed, graph.rows_of(types, "types"))
        return graph.reshape(summed, -1, self.hidden)

    def _positions(self) -> str:
        graph = self.graph
        if self.config["model_type"] == "bert":
            return graph.node("Range", graph.integer(0), self.layout.length, graph.integer(1))
        # RoBERTa's positions start after the padding token's id and skip such tokens in a text.
        padding = graph.integer(int(self.config["pad_token_id"]))
        token = graph.node("Cast", graph.node("Not", graph.node("Equal", "ids", padding)), to=7)
        counted = graph.node("CumSum", token, graph.integer(1))
        return graph.node("Add", graph.node("Mul", counted, token), padding)

    def _layer(self, rows: str, name: str) -> str:
        graph = self.graph
        query, key, value = (
            graph.node("Reshape", self._linear(rows, f"{name}.attention.self.{part}"), self.shape)
            for part in ("query", "key", "value")
        )
        attended = self.everywhere.attend(graph, query, key, value)
        attended = self._linear(
            graph.reshape(attended, -1, self.hidden), f"{name}.attention.output.dense"
        )
        rows = self._norm(graph.node("Add", rows, attended), f"{name}.attention.output.LayerNorm")
        inner = self._linear(rows, f"{name}.intermediate.dense")
        active = graph.activation(self.config.get("hidden_act", "gelu"), inner)
        outer = self._linear(active, f"{name}.output.dense")
        return self._norm(graph.node("Add", rows, outer), f"{name}.output.LayerNorm")

    def _linear(self, rows: str, name: str) -> str:
        return self.graph.linear(rows, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, rows: str, name: str) -> str:
        epsilon = self.config.get("layer_norm_eps", 1e-12)
        return self.graph.layer_norm(
            rows, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], epsilon
        )
