"""A text's values have the same bits alone and in any batch, for every architecture."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from ettin_cli.models.embedders import find_embedder, load_embedder
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.attention import LONG_TOKENS
from ettin_cli.models.engines.batch_tuning import Pace
from ettin_cli.models.engines.devices import processor
from ettin_cli.models.engines.onnx_export import (
    SCORES,
    TOKENS,
    VECTORS,
    WrittenModel,
    write_cross_encoder,
    write_encoder,
    write_multi_vector,
)
from ettin_cli.models.engines.onnx_model import OnnxModel
from ettin_cli.models.engines.onnxruntime_backend import OnnxRuntime
from ettin_cli.models.engines.openvino_backend import OpenVino
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.records import Silence
from tests.models import TEXTS, embedder, ettin
from tests.multi_vectors import multi_vector, stanford
from tests.test_onnx_model import classifier, typed

# Around the multiples of 16 that texts are padded to, and a text that is always alone.
LENGTHS = (1, 16, 17, 33, 65, 130, 257, LONG_TOKENS, LONG_TOKENS + 17)
SIZES = (1, 2, 3, 8)


def trained(folder: Path) -> Path:
    """Change the normalisations and biases of a new model, which are all 1 and 0."""
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(6)
    weights = load_file(folder / "model.safetensors")
    for name, values in weights.items():
        if name.endswith("bias") or "norm" in name.lower():
            weights[name] = values + torch.randn(values.shape) / 10
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def pooled(mode: str) -> Callable[[Path], Path]:
    return lambda path: trained(embedder(path, pooling={"pooling_mode": mode}))


def sided(path: Path) -> Path:
    folder = classifier(path, "Bert")
    typed(folder)
    return folder


def normalized(path: Path) -> Path:
    """Return an embedder with a dense layer and unit vectors."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    base = SentenceTransformer(str(embedder(path / "base", hidden=20)), device="cpu")
    torch.manual_seed(2)
    dense = Dense(20, 12, activation_function=torch.nn.Tanh())
    SentenceTransformer(modules=[*base, dense, Normalize()], device="cpu").save(str(path / "m"))
    return trained(path / "m")


class Kind(NamedTuple):
    write: Callable[..., WrittenModel]
    outputs: list[str]
    make: Callable[[Path], Path]


def scoring(make: Callable[[Path], Path]) -> Kind:
    return Kind(write_cross_encoder, [SCORES], make)


def embedding(make: Callable[[Path], Path]) -> Kind:
    return Kind(write_encoder, [VECTORS, TOKENS], make)


def late(make: Callable[[Path], Path]) -> Kind:
    return Kind(write_multi_vector, [TOKENS], make)


KINDS = {
    "Ettin": scoring(lambda path: ettin(path, hidden=60, layers=4, heads=3)),
    "BERT": scoring(sided),
    "RoBERTa": scoring(lambda path: classifier(path, "Roberta", type_vocab_size=1)),
    "XLM-R": scoring(lambda path: classifier(path, "XLMRoberta", hidden_act="relu")),
    "CamemBERT": scoring(lambda path: classifier(path, "Camembert", hidden_act="gelu_new")),
    "ModernBERT, first token": scoring(lambda path: classifier(path, "ModernBert")),
    "ModernBERT, mean": scoring(
        lambda path: classifier(path, "ModernBert", classifier_pooling="mean", local_attention=32)
    ),
    "embedder, mean": embedding(pooled("mean")),
    "embedder, first token": embedding(pooled("cls")),
    "embedder, maximum": embedding(pooled("max")),
    "embedder, dense": embedding(normalized),
    "multi-vector BERT": late(lambda path: trained(multi_vector(path))),
    "multi-vector ModernBERT": late(lambda path: multi_vector(path, "modernbert")),
    "ColBERT": late(lambda path: trained(stanford(path))),
}


def rows(model: OnnxModel, texts: list[TokenIds], outputs: list[str]) -> list[list[Any]]:
    """Return each text's outputs, without its padding; all are computed in one batch."""
    found: dict[int, list[Any]] = {}

    def keep(batch: list[int], arrays: list[Any]) -> None:
        assert len(batch) == len(texts)
        for row, at in enumerate(batch):
            found[at] = [
                array[row, : len(texts[at].ids)] if name == TOKENS else array[row]
                for name, array in zip(outputs, arrays, strict=True)
            ]

    model.run(texts, outputs, keep)
    return [found[at] for at in range(len(texts))]


def assert_equal(engine: str, found: Any, expected: Any) -> None:
    """Compare bits; in OpenVINO only on processors on which they are known to be equal."""
    flags = processor().flags
    if engine == "onnxruntime" or (flags >= {"avx2", "fma"} and "avx512f" not in flags):
        assert found.tobytes() == expected.tobytes()
    else:
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_text_has_the_same_bits_in_batches_of_1_2_3_and_8(
    tmp_path: Path, kind: Kind, engine: str
) -> None:
    pytest.importorskip(engine)
    library = OnnxRuntime() if engine == "onnxruntime" else OpenVino("float32")
    written = kind.write(kind.make(tmp_path / "m"), plain=library.plain)
    random = np.random.default_rng(8)
    texts = [
        TokenIds(random.integers(5, written.tables["ids"], size).tolist(), [0] * (size // 2))
        for size in LENGTHS
    ]

    def made(threads: int) -> OnnxModel:
        settings = EngineSettings("cpu", threads=threads, batch_size=max(SIZES))
        model = OnnxModel(written, settings, Silence(), "", library)
        model.pace = Pace(1 << 20, together=threads > 1)
        return model

    alone, several = made(1), made(2)
    expected = [rows(alone, [text], kind.outputs)[0] for text in texts]
    assert len({one[0].tobytes() for one in expected}) == len(texts)
    for size in SIZES:
        # Among texts of other lengths, and so with other padding.
        shared = len(texts) if size == 1 else sum(len(text.ids) <= LONG_TOKENS for text in texts)
        order = random.permutation(shared).tolist()
        for begin in range(0, shared, size):
            batch = list(itertools.islice(itertools.cycle(order), begin, begin + size))
            found = rows(several, [texts[at] for at in batch], kind.outputs)
            for at, values in zip(batch, found, strict=True):
                for value, wanted in zip(values, expected[at], strict=True):
                    assert_equal(engine, value, wanted)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_embedded_models_give_the_same_bits_alone_and_together(engine: str) -> None:
    pytest.importorskip(engine)
    settings = EngineSettings("cpu", engine=engine)
    files = find_embedder("embedded", offline=True, reporter=Silence())
    embedder = load_embedder(files, settings, Silence())
    texts = ["ferry", TEXTS[0], " ".join(TEXTS) * 3, "a, b"]
    together = embedder.embed_documents(texts)
    for size in SIZES[:-1]:
        for begin in range(0, len(texts), size):
            found = embedder.embed_documents(texts[begin : begin + size])
            assert_equal(engine, found, together[begin : begin + size])
    resolved = find_reranker("embedded", offline=True, reporter=Silence())
    reranker = load_reranker(resolved, settings, Silence())
    pairs = [(query, text) for query in ("pier", TEXTS[2]) for text in texts]
    scores = reranker.score(pairs).values
    alone = np.concatenate([reranker.score([pair]).values for pair in pairs])
    assert_equal(engine, alone, scores)
