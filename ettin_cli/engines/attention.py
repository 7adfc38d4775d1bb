"""Which tokens attend to which, written as a graph."""

from __future__ import annotations

from dataclasses import dataclass

from ettin_cli.engines.graph import CONTRIBUTED, Graph

FAR = -1e9
# Types by the numbers that ONNX gives them.
INT32, BOOL = 6, 9
# A text longer than this is a batch by itself, and its local layers compute their window alone.
LONG_TOKENS = 384
LENGTH_MULTIPLE = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tokens of a batch lie: values of the graph that every layer needs.

    Args:
        length: Tokens of the longest text.
        inside: int32 (texts, length): 1 for a token, 0 for padding.
        long: bool: whether the batch is one long text, which has no padding.
    """

    length: str
    inside: str
    long: str


def layout(graph: Graph, ids: str, lengths: str) -> Layout:
    """Read off a batch's token ids (texts, length) and lengths (texts) how it lies."""
    shape = graph.node("Shape", ids)
    texts = graph.node("Gather", shape, graph.whole(0))
    length = graph.node("Gather", shape, graph.whole(1))
    positions = graph.node("Range", graph.whole(0), length, graph.whole(1))
    inside = graph.node("Less", positions, graph.node("Unsqueeze", lengths, graph.ints(1)))
    alone = graph.node("Equal", texts, graph.whole(1))
    many = graph.node("Greater", length, graph.whole(LONG_TOKENS))
    return Layout(length, graph.node("Cast", inside, to=INT32), graph.node("And", alone, many))


def attend(graph: Graph, layout: Layout, heads: int, query: str, key: str, value: str) -> str:
    """Let every token attend to every token; values have shape (texts, length, size).

    A long text needs no mask, and without one the kernel never holds more than a block of the
    square of its length (Dao, 2023).
    """
    whole = graph.branch()
    attention(whole, heads, query, key, value)
    padded = graph.branch()
    attention(padded, heads, query, key, value, layout.inside)
    return graph.choice(layout.long, whole, padded)


def attention(
    graph: Graph, heads: int, query: str, key: str, value: str, mask: str = "", bias: str = ""
) -> str:
    """Add softmax attention of several heads, scaled by the root of their size."""
    return graph.node(
        "MultiHeadAttention",
        *(query, key, value, "", mask, bias),
        domain=CONTRIBUTED,
        num_heads=heads,
        mask_filter_value=FAR,
    )


class LocalAttention:
    """Attention within a window, for all local layers of a model.

    The window is computed alone where a text is long: each block of queries, as wide as the
    window reaches, meets its own block of keys and the two beside it.

    Args:
        window: How far a token sees to either side.
    """

    def __init__(self, graph: Graph, layout: Layout, window: int, heads: int, size: int) -> None:
        self.layout, self.window, self.heads, self.size = layout, window, heads, size
        none, near = graph.branch(), graph.branch()
        none.reshape(graph.number(0.0), 1, 1, 1, 1)
        self._near(near)
        self.near = graph.choice(layout.long, none, near)
        self._plan_blocks(graph)

    def attend(self, graph: Graph, query: str, key: str, value: str) -> str:
        """Let every token attend to its window; values have shape (texts, length, size)."""
        blocked, dense = graph.branch(), graph.branch()
        self._attend_in_blocks(blocked, query, key, value)
        attention(dense, self.heads, query, key, value, bias=self.near)
        return graph.choice(self.layout.long, blocked, dense)

    def _near(self, graph: Graph) -> None:
        """Add what short texts' scores (texts, 1, length, length) are raised by."""
        positions = graph.node("Range", graph.whole(0), self.layout.length, graph.whole(1))
        others = graph.node("Unsqueeze", positions, graph.ints(1))
        distance = graph.node("Abs", graph.node("Sub", positions, others))
        near = graph.node("LessOrEqual", distance, graph.whole(self.window))
        inside = graph.node("Cast", self.layout.inside, to=BOOL)
        _bias(graph, graph.node("And", near, graph.node("Unsqueeze", inside, graph.ints(1, 2))))

    def _plan_blocks(self, graph: Graph) -> None:
        """Compute which rows of the one long text each block takes, and what it may see."""
        import numpy as np

        window, length = self.window, self.layout.length
        more = graph.node("Add", length, graph.whole(window - 1))
        blocks = graph.node("Div", more, graph.whole(window))
        last = graph.node("Sub", length, graph.whole(1))
        own = graph.node("Mul", blocks, graph.whole(window))
        queries = graph.node("Range", graph.whole(0), own, graph.whole(1))
        self.query_rows = graph.node("Min", queries, last)
        begins = graph.node("Range", graph.whole(-window), own, graph.whole(window))
        begins = graph.part(begins, graph.ints(0), graph.node("Reshape", blocks, graph.ints(1)), 0)
        within = graph.constant(np.arange(3 * window))
        keys = graph.node("Add", graph.node("Unsqueeze", begins, graph.ints(1)), within)
        inside = graph.node(
            "And",
            graph.node("GreaterOrEqual", keys, graph.whole(0)),
            graph.node("Less", keys, length),
        )
        rows = graph.node("Max", graph.node("Min", keys, last), graph.whole(0))
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
        found = attention(graph, self.heads, query, key, value, bias=self.near_in_blocks)
        whole = graph.reshape(found, 1, -1, self.size)
        length = graph.node("Reshape", self.layout.length, graph.ints(1))
        graph.part(whole, graph.ints(0), length, 1)


def _bias(graph: Graph, allowed: str) -> str:
    return graph.node("Where", allowed, graph.number(0.0), graph.number(FAR))
