"""Attention patterns as graph operators."""

from __future__ import annotations

from dataclasses import dataclass

from ettin_cli.models.engines.graph import CONTRIBUTED, Graph

FAR = -1e9
# A longer text is a separate batch, and its local layers compute only their window.
LONG_TOKENS = 384
LENGTH_MULTIPLE = 16


@dataclass(frozen=True, slots=True)
class BatchLayout:
    """The layout of a batch's tokens: graph values that every layer needs.

    Args:
        length: Tokens of the longest text.
        inside: bool (texts, 1, 1, length): True for tokens, False for padding.
        long: bool: whether the batch is one long text, which has no padding.
    """

    length: str
    inside: str
    long: str


def layout(graph: Graph, ids: str, lengths: str) -> BatchLayout:
    """Derive the layout of a batch from its token ids (texts, length) and lengths (texts)."""
    shape = graph.node("Shape", ids)
    texts = graph.node("Gather", shape, graph.integer(0))
    length = graph.node("Gather", shape, graph.integer(1))
    positions = graph.node("Range", graph.integer(0), length, graph.integer(1))
    inside = graph.node("Less", positions, graph.node("Unsqueeze", lengths, graph.ints(1)))
    alone = graph.node("Equal", texts, graph.integer(1))
    many = graph.node("Greater", length, graph.integer(LONG_TOKENS))
    inside = graph.node("Unsqueeze", inside, graph.ints(1, 2))
    return BatchLayout(length, inside, graph.node("And", alone, many))


class GlobalAttention:
    """Attention of every token to all others, for the global layers of a model."""

    def __init__(self, graph: Graph, layout: BatchLayout, heads: int) -> None:
        self.layout, self.heads = layout, heads
        none, bias = graph.branch(), graph.branch()
        none.reshape(graph.number(0.0), 1, 1, 1, 1)
        length = bias.node("Reshape", layout.length, graph.ints(1))
        square = bias.node("Concat", graph.ints(1, 1), length, length, axis=0)
        _bias(bias, bias.node("Expand", layout.inside, square))
        self.bias = graph.choice(layout.long, none, bias)
        self.first_bias = _bias(graph, layout.inside)

    def attend(self, graph: Graph, query: str, key: str, value: str) -> str:
        """Attend from every token to all tokens; values have shape (texts, length, size).

        A long text needs no mask. Without one the kernel never stores more than a block of the
        quadratic score matrix (Dao, 2023).
        """
        unmasked, padded = graph.branch(), graph.branch()
        attention(unmasked, self.heads, query, key, value)
        attention(padded, self.heads, query, key, value, self.bias)
        return graph.choice(self.layout.long, unmasked, padded)

    def attend_first(self, graph: Graph, query: str, key: str, value: str) -> str:
        """Attend from the first token only, a query of shape (texts, 1, size), to all tokens."""
        return attention(graph, self.heads, query, key, value, self.first_bias)


def attention(graph: Graph, heads: int, query: str, key: str, value: str, bias: str = "") -> str:
    """Add multi-head softmax attention, scaled by the square root of the head size.

    Args:
        bias: Added to the scores, shape (texts or 1, 1, queries, keys).
    """
    more = ("", "", bias) if bias else ()
    return graph.node(
        "MultiHeadAttention",
        *(query, key, value, *more),
        domain=CONTRIBUTED,
        num_heads=heads,
    )


class LocalAttention:
    """Attention within a window, for the local layers of a model.

    For a long text only the window is computed: each block of queries, as wide as the window,
    attends to the corresponding block of keys and its two neighbours.

    Args:
        window: Number of tokens visible on either side.
    """

    def __init__(
        self, graph: Graph, layout: BatchLayout, window: int, heads: int, size: int
    ) -> None:
        self.layout, self.window, self.heads, self.size = layout, window, heads, size
        none, near = graph.branch(), graph.branch()
        none.reshape(graph.number(0.0), 1, 1, 1, 1)
        self._near(near)
        self.near = graph.choice(layout.long, none, near)
        self._plan_blocks(graph)

    def attend(self, graph: Graph, query: str, key: str, value: str) -> str:
        """Attend from every token to its window; values have shape (texts, length, size)."""
        blocked, dense = graph.branch(), graph.branch()
        self._attend_in_blocks(blocked, query, key, value)
        attention(dense, self.heads, query, key, value, self.near)
        return graph.choice(self.layout.long, blocked, dense)

    def _near(self, graph: Graph) -> None:
        """Add the bias on the scores of short texts (texts, 1, length, length)."""
        positions = graph.node("Range", graph.integer(0), self.layout.length, graph.integer(1))
        others = graph.node("Unsqueeze", positions, graph.ints(1))
        distance = graph.node("Abs", graph.node("Sub", positions, others))
        near = graph.node("LessOrEqual", distance, graph.integer(self.window))
        _bias(graph, graph.node("And", near, self.layout.inside))

    def _plan_blocks(self, graph: Graph) -> None:
        """Compute the rows of the one long text for each block, and its visible keys."""
        import numpy as np

        window, length = self.window, self.layout.length
        more = graph.node("Add", length, graph.integer(window - 1))
        blocks = graph.node("Div", more, graph.integer(window))
        last = graph.node("Sub", length, graph.integer(1))
        own = graph.node("Mul", blocks, graph.integer(window))
        queries = graph.node("Range", graph.integer(0), own, graph.integer(1))
        self.query_rows = graph.node("Min", queries, last)
        begins = graph.node("Range", graph.integer(-window), own, graph.integer(window))
        begins = graph.part(begins, graph.ints(0), graph.node("Reshape", blocks, graph.ints(1)), 0)
        within = graph.constant(np.arange(3 * window))
        keys = graph.node("Add", graph.node("Unsqueeze", begins, graph.ints(1)), within)
        inside = graph.node(
            "And",
            graph.node("GreaterOrEqual", keys, graph.integer(0)),
            graph.node("Less", keys, length),
        )
        rows = graph.node("Max", graph.node("Min", keys, last), graph.integer(0))
        self.key_rows = graph.reshape(rows, -1)
        distance = np.abs(np.arange(3 * window) - window - np.arange(window)[:, None])
        near = graph.constant(distance[None, None] <= window)
        self.near_in_blocks = _bias(
            graph, graph.node("And", near, graph.node("Unsqueeze", inside, graph.ints(1, 2)))
        )

    def _attend_in_blocks(self, graph: Graph, query: str, key: str, value: str) -> None:
        query, key, value = (
            graph.reshape(graph.node("Gather", x, rows, axis=1), -1, width, self.size)
            for x, rows, width in (
                (query, self.query_rows, self.window),
                (key, self.key_rows, 3 * self.window),
                (value, self.key_rows, 3 * self.window),
            )
        )
        attended = attention(graph, self.heads, query, key, value, self.near_in_blocks)
        joined = graph.reshape(attended, 1, -1, self.size)
        length = graph.node("Reshape", self.layout.length, graph.ints(1))
        graph.part(joined, graph.ints(0), length, 1)


def _bias(graph: Graph, allowed: str) -> str:
    return graph.node("Where", allowed, graph.number(0.0), graph.number(FAR))
