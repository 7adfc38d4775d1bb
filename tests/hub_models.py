"""The models that `ettin` knows by name, as repositories of the stand-in hub."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ettin_cli.settings import EMBEDDERS, ETTIN_MODELS
from tests.hub_server import Content, Repository, Sparse
from tests.models import ettin, ettin_head, ettin_shape, tokenizer

VOCABULARY = 50_368
# Hidden size, intermediate size, layers and heads, as published.
SHAPES = {
    "17m": (256, 384, 7, 4),
    "32m": (384, 576, 10, 6),
    "68m": (512, 768, 19, 8),
    "150m": (768, 1152, 22, 12),
    "400m": (1024, 2624, 28, 16),
    "1b": (1792, 3840, 28, 28),
}
FLOAT32 = 4
# Files that stand beside those of a model, and that nobody needs to load it.
BESIDE: dict[str, Content] = {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "README.md": b"---\nlicense: apache-2.0\n---\n",
    "onnx/model.onnx": Sparse(70_000_000),
    "onnx/model_qint8_arm64.onnx": Sparse(17_000_000),
    "onnx/config.json": b"{}",
    "openvino/openvino_model.bin": Sparse(67_000_000),
    "pytorch_model.bin": Sparse(67_000_000),
    "training_args.bin": b"",
    "training/state.json": b"{}",
}


def name_of(alias: str) -> str:
    """Return the name of a known model's repository."""
    model = ETTIN_MODELS.get(alias) or EMBEDDERS[alias]
    return f"models/{model.hub_id}"


def repository(alias: str, folder: Path) -> Repository:
    """Return a known model's repository with the files of a folder, at its pinned revision."""
    model = ETTIN_MODELS.get(alias) or EMBEDDERS[alias]
    return Repository({**BESIDE, **files_of(folder)}, model.revision or "")


def files_of(folder: Path) -> dict[str, Content]:
    """Return the files below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def small_ettin(folder: Path) -> Path:
    """Write a small model of Ettin's architecture."""
    return ettin(folder, hidden=32, layers=1, heads=2)


def full_ettin(alias: str, folder: Path) -> Path:
    """Write a model of the exact shape of a published one, with random weights."""
    hidden, intermediate, layers, heads = SHAPES[alias]
    assert intermediate * 2 == hidden * 3
    return ettin(folder, hidden=hidden, layers=layers, heads=heads, vocabulary=VOCABULARY)


def declared_ettin(alias: str, folder: Path) -> dict[str, Content]:
    """Return the files of a model of the exact shape of a published one; the trunk is zeros."""
    hidden, intermediate, layers, heads = SHAPES[alias]
    tokenizer(folder)
    config = ettin_shape(VOCABULARY, hidden, intermediate, layers, heads)
    config.save_pretrained(folder)
    ettin_head(folder, hidden)
    return {**files_of(folder), "model.safetensors": _zeros(config)}


def _zeros(config: Any) -> Sparse:
    """Return a trunk's weights in safetensors, of which only the header is in memory."""
    import torch
    from transformers import ModernBertModel

    with torch.device("meta"):
        tensors = ModernBertModel(config).state_dict()
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + math.prod(tensor.shape) * FLOAT32
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    begins = len(text).to_bytes(8, "little") + text
    return Sparse(len(begins) + end, begins)


def parameters(files: dict[str, Content]) -> int:
    """Return the number of parameters that the safetensors of a model declare."""
    return sum(
        math.prod(tensor["shape"])
        for path, content in files.items()
        if path.endswith(".safetensors")
        for tensor in _tensors(content)
    )


def _tensors(content: Content) -> Iterator[dict[str, list[int]]]:
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    return (value for name, value in header.items() if name != "__metadata__")
