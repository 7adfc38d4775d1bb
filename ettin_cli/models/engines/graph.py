"""Build an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ettin_cli.records import Floats

OPSET = 20
# Domain of operators that ONNX lacks, but ONNX Runtime and OpenVINO have.
CONTRIBUTED = "com.microsoft"
IR_VERSION = 9
ACTIVATIONS: dict[str, tuple[str, dict[str, str]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "identity": ("Identity", {}),
}


class UnsupportedModelError(Exception):
    """A model that cannot be written as a graph here; torch may be able to run it."""


class Graph:
    """Nodes of a graph; each method adds some and returns the name of their output.

    Weights are not copied into the graph but passed when it is loaded. Values are rows of tokens,
    shape (tokens, size), except where attention needs (texts, length, size).

    Args:
        plain: Compute rotary embeddings with standard ONNX operators, for a library that misreads
            the dedicated operator.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self.plain = plain
        self.nodes: list[Any] = []
        self.outputs: list[Any] = []
        self.weights: dict[str, Floats] = {}
        self.tables: dict[str, int] = {}
        self._constants: dict[str, Any] = {}
        self._outer: Graph | None = None
        self._names = iter(range(1 << 30))

    def node(self, kind: str, *inputs: str, name: str = "", domain: str = "", **how: Any) -> str:
        """Add a node with one output."""
        from onnx import helper

        output = name or f"{kind}_{next(self._names)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, domain=domain, **how))
        return output

    def constant(self, values: NDArray[Any]) -> str:
        """Add a small array as a constant; equal arrays are added once."""
        from onnx import numpy_helper

        if self._outer:
            return self._outer.constant(values)
        name = f"{values.dtype}{list(values.shape)}{values.tolist()}"
        self._constants.setdefault(name, numpy_helper.from_array(values, name))
        return name

    def ints(self, *values: int) -> str:
        """Add a list of integers, such as a shape or axes."""
        import numpy as np

        return self.constant(np.array(values, np.int64))

    def integer(self, value: int) -> str:
        """Add a single integer."""
        import numpy as np

        return self.constant(np.array(value, np.int64))

    def number(self, value: float) -> str:
        """Add a single number."""
        import numpy as np

        return self.constant(np.array(value, np.float32))

    def weight(self, values: Floats) -> str:
        """Add an array that is passed when the graph is loaded."""
        name = f"weight_{len(self.weights)}"
        self.weights[name] = values
        return name

    def rows_of(self, table: Floats, which: str) -> str:
        """Look up rows of a table, such as token embeddings, by an input of the model."""
        self.tables[which] = len(table)
        return self.node("Gather", self.weight(table), which)

    def linear(self, rows: str, weight: Floats, bias: Floats | None = None) -> str:
        """Multiply rows by a weight of shape (out, in), as stored by torch."""
        more = [] if bias is None else [self.weight(bias)]
        return self.node("Gemm", rows, self.weight(weight), *more, transB=1)

    def layer_norm(self, x: str, weight: Floats, bias: Floats | None, epsilon: float) -> str:
        """Normalise the last axis."""
        more = [] if bias is None else [self.weight(bias)]
        return self.node("LayerNormalization", x, self.weight(weight), *more, epsilon=epsilon)

    def activation(self, name: str, x: str) -> str:
        """Apply an activation function by its name in transformers.

        Raises:
            UnsupportedModelError: There is no exact implementation of it here.
        """
        if name not in ACTIVATIONS:
            raise UnsupportedModelError(f"activation {name}")
        kind, how = ACTIVATIONS[name]
        return self.node(kind, x, **how)

    def reshape(self, x: str, *shape: int) -> str:
        """Change the shape of a value: 0 keeps an axis, -1 is inferred."""
        return self.node("Reshape", x, self.ints(*shape))

    def part(self, x: str, begin: str, end: str, axis: int) -> str:
        """Take a slice of an axis; its bounds are graph values."""
        return self.node("Slice", x, begin, end, self.ints(axis))

    def choice(self, condition: str, if_so: Graph, else_: Graph) -> str:
        """Compute one of two branches, each made with `branch`; both return one value."""
        return self.node("If", condition, then_branch=if_so._body(), else_branch=else_._body())

    def branch(self) -> Graph:
        """Return a graph for `choice`, which can use all values computed here before."""
        inner = Graph()
        inner._outer, inner._names = self, self._names
        return inner

    def output(self, name: str, x: str, shape: Sequence[str | int]) -> None:
        """Make a value an output of the model."""
        from onnx import TensorProto, helper

        self.node("Identity", x, name=name)
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def _body(self) -> Any:
        from onnx import TensorProto, helper

        last = helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, None)
        return helper.make_graph(self.nodes, "branch", [], [last])

    def model(self, inputs: Mapping[str, Sequence[str]]) -> bytes:
        """Return the finished model; its weights are only named.

        Args:
            inputs: Each integer input with its axes.
        """
        from onnx import TensorProto, helper

        given = [
            helper.make_tensor_value_info(name, TensorProto.INT64, axes)
            for name, axes in inputs.items()
        ]
        stand_ins = [_stand_in(name, values) for name, values in self.weights.items()]
        graph = helper.make_graph(
            self.nodes, "model", given, self.outputs, [*self._constants.values(), *stand_ins]
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIBUTED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        return bytes(model.SerializeToString())


def _stand_in(name: str, values: Floats) -> Any:
    from onnx import TensorProto

    tensor = TensorProto(name=name, dims=values.shape, data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=name)
    return tensor
