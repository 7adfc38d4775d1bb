"""A model's folder -> a graph with its weights: the trunk and the layers on top of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.models.engines.bert import bert
from ettin_cli.models.engines.graph import Graph, UnsupportedModelError
from ettin_cli.models.engines.modernbert import GLOBAL, MODERNBERT, layer_kinds, modernbert
from ettin_cli.models.engines.tokens import check_tokenizer, gives_types, read_trunk_settings
from ettin_cli.models.engines.weights import Weights
from ettin_cli.models.model_folder import OURS, PYLATE_DENSE, own_class, read_json, read_modules

if TYPE_CHECKING:
    from ettin_cli.records import Floats

SCORES, TOKENS, VECTORS = "scores", "token_embeddings", "sentence_embedding"
BERTS = {"bert": "bert.", "roberta": "roberta.", "xlm-roberta": "roberta.", "camembert": "roberta."}
MOST_BYTES = (1 << 31) - (1 << 24)
TRUNK = OURS + "base.modules.transformer.Transformer"
IDS, LENGTHS, TYPES = "ids", "lengths", "types"
TEXT, TOKEN = "texts", "length"
# Settings of a transformer that do not change the computation here.
HARMLESS = {
    *("max_seq_length", "transformer_task", "modality_config", "module_output_name"),
    "unpad_inputs",
}
# Settings of late interaction models for reading texts, which do not concern the graph.
READING = {"query_length", "document_length", "query_expansion"}
STANFORD = "HF_ColBERT"


@dataclass(frozen=True, slots=True)
class WrittenModel:
    """A graph and its weights.

    Args:
        graph: A serialised ONNX model; its weights are only named in it.
        tables: Number of rows of the table that each input indexes.
    """

    graph: bytes
    weights: Mapping[str, Floats]
    tables: Mapping[str, int]

    def with_weights(self) -> bytes:
        """Return the ONNX model including its weights.

        Raises:
            UnsupportedModelError: They exceed 2 GB, the limit of such a file.
        """
        import onnx

        if sum(values.nbytes for values in self.weights.values()) > MOST_BYTES:
            raise UnsupportedModelError("a model of more than 2 GB")
        model = onnx.load_from_string(self.graph)
        for tensor in model.graph.initializer:
            if tensor.name in self.weights:
                tensor.ClearField("external_data")
                tensor.data_location = onnx.TensorProto.DEFAULT
                tensor.raw_data = self.weights[tensor.name].astype("<f4").tobytes()
        return bytes(model.SerializeToString())


def write_cross_encoder(folder: Path, *, plain: bool = False) -> WrittenModel:
    """Write a cross-encoder with its head as a graph that returns raw `scores` of pairs.

    Raises:
        UnsupportedModelError: Its kind is not supported here.
        ModelError: One of its files is damaged.
    """
    return _written(folder, _score, plain)


def write_encoder(folder: Path, *, plain: bool = False) -> WrittenModel:
    """Write an embedder as a graph that returns `sentence_embedding` and `token_embeddings`.

    Raises:
        UnsupportedModelError: Its kind is not supported here.
        ModelError: One of its files is damaged.
    """
    return _written(folder, _embed, plain)


def write_multi_vector(folder: Path, *, plain: bool = False) -> WrittenModel:
    """Write a late interaction model as a graph that returns projected `token_embeddings`.

    Raises:
        UnsupportedModelError: Its kind is not supported here.
        ModelError: One of its files is damaged.
    """
    return _written(folder, _project, plain, HARMLESS | READING)


def _written(
    folder: Path, add: Any, plain: bool, harmless: Collection[str] = HARMLESS
) -> WrittenModel:
    modules = read_modules(folder) or [{"path": "", "type": TRUNK}]
    config = read_json(folder / "config.json", default={})
    if not isinstance(config, dict):
        raise UnsupportedModelError("a configuration that is not an object")
    graph = Graph(plain=plain)
    if named := own_class(config):
        raise UnsupportedModelError(f"a model that names {named}")
    try:
        _check(folder, modules, harmless)
        add(graph, folder, config, Weights(folder), modules[1:])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnsupportedModelError(f"a {config.get('model_type')} without {error}") from error
    inputs = {LENGTHS: [TEXT], **{name: [TEXT, TOKEN] for name in graph.tables}}
    return WrittenModel(graph.model(inputs), graph.weights, graph.tables)


def _check(folder: Path, modules: list[dict[str, str]], harmless: Collection[str]) -> None:
    """Reject a model whose output depends on more than its configuration and weights."""
    types = [module["type"] for module in modules]
    foreign = [kind for kind in types if not (kind.startswith(OURS) or kind == PYLATE_DENSE)]
    if foreign or _kind(modules[0]) != "Transformer":
        raise UnsupportedModelError(f"a model with {(foreign or types)[0]}")
    if modules[0]["path"]:
        raise UnsupportedModelError(f"a transformer in {modules[0]['path']}")
    if (folder / "adapter_config.json").exists():
        raise UnsupportedModelError("an adapter")
    settings = read_trunk_settings(folder)
    if changing := [name for name, value in settings.items() if value and name not in harmless]:
        raise UnsupportedModelError(f"a transformer with {changing[0]}")
    check_tokenizer(folder)


def _kind(module: dict[str, str]) -> str:
    return module["type"].rsplit(".", 1)[-1]


def _trunk(
    graph: Graph, config: dict[str, Any], weights: Weights, *, typed: bool, first_only: bool = False
) -> str:
    """Add a transformer's computation on the tokens."""
    kind = str(config.get("model_type"))
    prefix = BERTS.get(kind, "model.")
    if any(name.startswith(prefix) for name in weights):
        weights = weights.under(prefix)
    if kind == MODERNBERT:
        return modernbert(graph, config, weights, first_only=first_only)
    if kind in BERTS:
        return bert(graph, config, weights, typed=typed)
    raise UnsupportedModelError(f"a {kind}")


def _embed(
    graph: Graph,
    folder: Path,
    config: dict[str, Any],
    weights: Weights,
    modules: list[dict[str, str]],
) -> None:
    tokens = _trunk(graph, config, weights, typed=False)
    graph.output(TOKENS, tokens, [TEXT, TOKEN, "hidden"])
    if (folder / "modules.json").is_file():
        vectors, name = _Head(graph, folder, tokens).apply(modules)
    else:
        vectors, name = _pool(graph, tokens, "mean"), VECTORS
    if name != VECTORS:
        raise UnsupportedModelError(f"an embedder with output {name}")
    graph.output(VECTORS, vectors, [TEXT, "dimension"])


def _project(
    graph: Graph,
    folder: Path,
    config: dict[str, Any],
    weights: Weights,
    modules: list[dict[str, str]],
) -> None:
    """Add every token's vector with a late interaction model's projection."""
    tokens = _trunk(graph, config, weights, typed=False)
    rows = graph.reshape(tokens, -1, int(config["hidden_size"]))
    if STANFORD in (config.get("architectures") or []):
        rows = graph.linear(rows, weights["linear.weight"])
    for module in modules:
        rows = _projected(graph, rows, _kind(module), folder / module["path"])
    settings = read_json(folder / "config_sentence_transformers.json", default={})
    if settings.get("model_type") != "MultiVectorEncoder":
        # Older libraries normalise implicitly, without a module.
        rows = _normalised(graph, rows)
    texts = graph.part(graph.node("Shape", tokens), graph.ints(0), graph.ints(2), 0)
    shape = graph.node("Concat", texts, graph.ints(-1), axis=0)
    graph.output(TOKENS, graph.node("Reshape", rows, shape), [TEXT, TOKEN, "dimension"])


def _projected(graph: Graph, rows: str, kind: str, path: Path) -> str:
    """Add a module that applies to every token's vector."""
    config = read_json(path / "config.json", default={})
    read = config.get("module_input_name") or TOKENS
    given = config.get("module_output_name") or read
    if kind == "MultiVectorMask":
        return rows
    if (read, given) != (TOKENS, TOKENS):
        raise UnsupportedModelError(f"a {kind} from {read} to {given}")
    if kind == "Dense":
        return _dense(graph, rows, Weights(path), config)
    if kind == "Normalize":
        return _normalised(graph, rows)
    raise UnsupportedModelError(f"a late interaction model with {kind}")


def _score(
    graph: Graph,
    folder: Path,
    config: dict[str, Any],
    weights: Weights,
    modules: list[dict[str, str]],
) -> None:
    first_only = _reads_first_only(folder, config, modules)
    typed = gives_types(folder)
    tokens = _trunk(graph, config, weights, typed=typed, first_only=first_only)
    if modules:
        scores, name = _Head(graph, folder, tokens).apply(modules)
        if name != SCORES:
            raise UnsupportedModelError(f"a cross-encoder with output {name}")
    else:
        scores = _classified(graph, config, weights, tokens)
    graph.output(SCORES, graph.reshape(scores, -1, 1), [TEXT, "labels"])


def _reads_first_only(folder: Path, config: dict[str, Any], modules: list[dict[str, str]]) -> bool:
    """Return whether the score depends only on the first token's vector."""
    if config.get("model_type") != MODERNBERT or layer_kinds(config)[-1:] != [GLOBAL]:
        return False
    if not modules:
        return bool(config.get("classifier_pooling") == "cls")
    settings = read_json(folder / modules[0]["path"] / "config.json", default={})
    return _kind(modules[0]) == "Pooling" and _pooling_mode(settings) == "cls"


def _classified(graph: Graph, config: dict[str, Any], weights: Weights, tokens: str) -> str:
    """Add the head of a model for sequence classification, as transformers defines it."""
    classes = (config.get("architectures") or [""])[0]
    if not classes.endswith("ForSequenceClassification"):
        raise UnsupportedModelError(f"a {classes} as a cross-encoder")
    kind = config["model_type"]
    if kind == MODERNBERT:
        pooled = _pool(graph, tokens, config.get("classifier_pooling", "cls"))
        dense = graph.linear(pooled, weights["head.dense.weight"], weights.get("head.dense.bias"))
        active = graph.activation(config.get("classifier_activation", "gelu"), dense)
        norm, epsilon = weights["head.norm.weight"], config.get("norm_eps", 1e-5)
        last, name = graph.layer_norm(active, norm, weights.get("head.norm.bias"), epsilon), ""
    else:
        name, out = (
            ("bert.pooler.dense", "") if kind == "bert" else ("classifier.dense", ".out_proj")
        )
        first = _pool(graph, tokens, "cls")
        dense = graph.linear(first, weights[f"{name}.weight"], weights[f"{name}.bias"])
        last, name = graph.activation("tanh", dense), out
    weight = weights[f"classifier{name}.weight"]
    if len(weight) != 1:
        raise UnsupportedModelError(f"a classifier of {len(weight)} labels")
    return graph.linear(last, weight, weights[f"classifier{name}.bias"])


def _pooling_mode(config: dict[str, Any]) -> str:
    mode = config.get("pooling_mode")
    older = [
        name.removeprefix("pooling_mode_")
        for name, on in config.items()
        if name.startswith("pooling_mode_") and on
    ]
    modes = [mode] if isinstance(mode, str) else list(mode or older)
    if len(modes) != 1:
        raise UnsupportedModelError(f"{len(modes)} combined poolings")
    return {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}.get(modes[0], modes[0])


def _pool(graph: Graph, tokens: str, mode: str) -> str:
    """Add one vector per text, shape (texts, hidden), pooled from its tokens' vectors."""
    if mode == "cls":
        return graph.node("Gather", tokens, graph.integer(0), axis=1)
    if mode == "mean":
        # A product, not ReduceSum, which sums the tokens of a one-text batch in another order.
        inside = graph.node("Cast", _inside(graph, tokens), to=1)
        weights = graph.node("Unsqueeze", inside, graph.ints(1))
        total = graph.node("Squeeze", graph.node("MatMul", weights, tokens), graph.ints(1))
        count = graph.node("Cast", graph.node("Unsqueeze", LENGTHS, graph.ints(1)), to=1)
        return graph.node("Div", total, count)
    if mode == "max":
        inside = graph.node("Unsqueeze", _inside(graph, tokens), graph.ints(2))
        kept = graph.node("Where", inside, tokens, graph.number(float("-inf")))
        return graph.node("ReduceMax", kept, graph.ints(1), keepdims=0)
    raise UnsupportedModelError(f"pooling by {mode}")


def _inside(graph: Graph, tokens: str) -> str:
    length = graph.node("Gather", graph.node("Shape", tokens), graph.integer(1))
    positions = graph.node("Range", graph.integer(0), length, graph.integer(1))
    return graph.node("Less", positions, graph.node("Unsqueeze", LENGTHS, graph.ints(1)))


class _Head:
    """The modules that sentence-transformers applies after the trunk."""

    def __init__(self, graph: Graph, folder: Path, tokens: str) -> None:
        self.graph, self.folder = graph, folder
        self.tokens = tokens
        self.features: dict[str, str] = {}

    def apply(self, modules: list[dict[str, str]]) -> tuple[str, str]:
        """Add the modules; return the last one's value and its name."""
        if not modules or _kind(modules[0]) != "Pooling":
            raise UnsupportedModelError("a model without pooling")
        name = VECTORS
        for module in modules:
            path = self.folder / module["path"]
            config = read_json(path / "config.json", default={})
            name = self._add(_kind(module), path, config)
        return self.features[name], name

    def _add(self, kind: str, path: Path, config: dict[str, Any]) -> str:
        if kind == "Pooling":
            if not config.get("include_prompt", True):
                raise UnsupportedModelError("pooling without the prompt")
            self.features[VECTORS] = _pool(self.graph, self.tokens, _pooling_mode(config))
            return VECTORS
        if kind == "Normalize":
            self.features[VECTORS] = _normalised(self.graph, self.features[VECTORS])
            return VECTORS
        read = config.get("module_input_name") or VECTORS
        given = config.get("module_output_name") or read
        if kind == "LayerNorm":
            parts = Weights(path)
            self.features[given] = self.graph.layer_norm(
                self.features[read], parts["norm.weight"], parts["norm.bias"], 1e-5
            )
        elif kind == "Dense":
            self.features[given] = _dense(self.graph, self.features[read], Weights(path), config)
        else:
            raise UnsupportedModelError(f"a module {kind}")
        return given


def _dense(graph: Graph, x: str, weights: Weights, config: dict[str, Any]) -> str:
    # Without a setting, sentence-transformers uses tanh.
    activation = str(config.get("activation_function", "torch.nn.Tanh"))
    product = graph.linear(x, weights["linear.weight"], weights.get("linear.bias"))
    active = graph.activation(activation.rsplit(".", 1)[-1].lower(), product)
    if not config.get("use_residual"):
        return active
    other = weights.get("residual.weight")
    return graph.node("Add", active, x if other is None else graph.linear(x, other))


def _normalised(graph: Graph, x: str) -> str:
    norm = graph.node("ReduceL2", x, graph.ints(-1))
    return graph.node("Div", x, graph.node("Max", norm, graph.number(1e-12)))
