"""Safetensors -> float32 arrays, memory-mapped from the files."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.errors import ModelError
from ettin_cli.models.model_folder import read_json

if TYPE_CHECKING:
    from ettin_cli.records import Floats

HEADER_SIZE = "<Q"
BYTES_OF = {"F32": 4, "F16": 2, "BF16": 2}


class Weights(Mapping[str, "Floats"]):
    """The named weights of a folder, under one prefix.

    Float32 weights take no extra memory: pages are read on use and shared by all processes.
    Half precision is converted on access.

    Args:
        prefix: Common prefix of the names, which is left out here.

    Raises:
        ModelError: The folder has no weights, or a weights file is damaged.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self.folder, self.prefix = folder, prefix
        files = _files(folder)
        if not files:
            raise ModelError(f"{folder} has no weights", code="model-incomplete", folder=folder)
        self._locations = {
            name: place for file in files for name, place in _locations(file).items()
        }

    def under(self, prefix: str) -> Weights:
        """Return the same weights under a longer prefix."""
        narrower = Weights.__new__(Weights)
        narrower.folder, narrower.prefix = self.folder, self.prefix + prefix
        narrower._locations = self._locations
        return narrower

    def __getitem__(self, name: str) -> Floats:
        return _mapped(*self._locations[self.prefix + name])

    def __iter__(self) -> Iterator[str]:
        size = len(self.prefix)
        return (name[size:] for name in self._locations if name.startswith(self.prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _files(folder: Path) -> list[Path]:
    """Return the files that transformers reads; others beside them are other versions."""
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    parts = read_json(folder / "model.safetensors.index.json", default={})
    # Only the last path component, so that no name leads out of the folder.
    return sorted({folder / Path(name).name for name in parts.get("weight_map", {}).values()})


def _locations(file: Path) -> dict[str, tuple[Path, int, dict[str, Any]]]:
    """Return the location of each array: the file, the start of its data, and its entry."""
    try:
        with file.open("rb") as opened:
            (size,) = struct.unpack(HEADER_SIZE, opened.read(struct.calcsize(HEADER_SIZE)))
            begin = opened.tell() + size
            most = file.stat().st_size
            if begin > most:
                raise ValueError(f"its header says {size} bytes, the file has {most}")
            header = json.loads(opened.read(size))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            _check(name, entry, most - begin)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(
            f"cannot read the weights in {file}: {error}",
            code="model-incomplete",
            folder=file.parent,
        ) from error
    return {name: (file, begin, entry) for name, entry in header.items()}


def _check(name: str, entry: dict[str, Any], size: int) -> None:
    begin, end = entry["data_offsets"]
    wanted = math.prod(entry["shape"]) * BYTES_OF.get(entry["dtype"], 0)
    if not 0 <= begin <= end <= size or (wanted and end - begin != wanted):
        raise ValueError(f"{name} extends beyond the file")


def _mapped(file: Path, begin: int, entry: dict[str, Any]) -> Floats:
    import numpy as np

    kinds: dict[str, np.dtype[Any]] = {
        "F32": np.dtype("<f4"),
        "F16": np.dtype("<f2"),
        "BF16": np.dtype("<u2"),
    }
    kind, shape = kinds.get(entry["dtype"]), tuple(entry["shape"])
    if kind is None:
        raise KeyError(f"weights of type {entry['dtype']}")
    values: Any = np.memmap(file, kind, "r", begin + entry["data_offsets"][0], shape)
    if entry["dtype"] == "BF16":
        # bfloat16 is the upper half of a float32.
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(values, np.float32)
