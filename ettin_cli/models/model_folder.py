"""A model's folder: its list of modules, and checks that it is complete and free of custom code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ettin_cli.errors import ModelError
from ettin_cli.platforms import is_file

MODULES = "modules.json"
OURS = "sentence_transformers."
STATIC = "StaticEmbedding"
# PyLate's own layer, which equals sentence-transformers' under another name.
PYLATE_DENSE = "pylate.models.Dense.Dense"


def check_folder(folder: Path) -> None:
    """Check that a model's folder is complete, according to its list of modules.

    Raises:
        ModelError: Weights or a module are missing, or the weights are pickles.
        OSError: The folder cannot be read.
    """
    if not is_file(folder / "config.json") and not is_file(folder / MODULES):
        raise ModelError(
            f"{folder} is not a model: it has neither config.json nor modules.json", folder=folder
        )
    modules = read_modules(folder)
    for module in modules or [{"path": "", "type": "Transformer"}]:
        _check_module(folder, module)


def _check_module(folder: Path, module: dict[str, str]) -> None:
    path, kind = module["path"], module["type"].rsplit(".", 1)[-1]
    part = (folder / path).resolve()
    if not part.is_relative_to(folder.resolve()):
        raise ModelError(
            f"{folder}/modules.json refers to {path!r}, which is outside the model", folder=folder
        )
    weights, pickles = list(part.glob("*.safetensors")), sorted(part.glob("*.bin"))
    if not weights and pickles:
        raise ModelError(
            f"{part} has only {pickles[0].name}, a pickle, which can run code",
            code="unsafe-weights",
            folder=folder,
        )
    if kind in ("Transformer", STATIC) and not weights:
        raise ModelError(
            f"{part} has no weights in safetensors", code="unsafe-weights", folder=folder
        )
    if kind in ("Dense", "LayerNorm") and not is_file(part / "model.safetensors"):
        raise ModelError(
            f"{folder} lacks {path}/model.safetensors, the {kind} part of its head; "
            "scores without it would be wrong",
            code="model-incomplete",
            folder=folder,
        )
    configured = ("Dense", "LayerNorm", "Pooling", "MultiVectorMask")
    if kind in configured and not is_file(part / "config.json"):
        raise ModelError(
            f"{folder} lacks {path}/config.json, the {kind} part of its head",
            code="model-incomplete",
            folder=folder,
        )


def read_modules(folder: Path) -> list[dict[str, str]]:
    """Return the list of modules of a sentence-transformers model; empty if it has none.

    Raises:
        ModelError: The file is not such a list.
    """
    modules = read_json(folder / MODULES, default=[])
    for module in modules if isinstance(modules, list) else [None]:
        if not isinstance(module, dict) or not {"path", "type"} <= module.keys():
            raise ModelError(
                f"{folder}/modules.json is not a list of modules, each with path and type",
                code="model-incomplete",
                folder=folder,
            )
    return [{"path": str(module["path"]), "type": str(module["type"])} for module in modules]


def refuse_code(folder: Path) -> None:
    """Check that loading a model runs only the libraries' code.

    Raises:
        ModelError: Its configuration, its list of modules or a layer's activation refers to
            custom code.
    """
    for module in read_modules(folder) or [{"path": "", "type": f"{OURS}Transformer"}]:
        if foreign := _foreign(folder / module["path"], module["type"]):
            raise ModelError(
                f"{folder} needs {foreign}, which is custom code",
                code="untrusted-code",
                model=folder,
            )


def _foreign(part: Path, kind: str) -> str | None:
    """Return the custom code that a module needs; None if it needs none."""
    if not kind.startswith(OURS) and kind != PYLATE_DENSE:
        return kind
    config = read_json(part / "config.json", default={})
    if kind.endswith(".Dense"):
        activation = str(config.get("activation_function", "torch."))
        return None if activation.startswith("torch.") else activation
    named = own_class(config)
    if named is None:
        return None
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    # Many models still refer to their code from before transformers included it. If the class
    # names differ, transformers would run another model of that type and give other vectors.
    known = MODEL_MAPPING_NAMES.get(config.get("model_type"))
    return None if named.rpartition(".")[2] == known else named


def own_class(config: dict[str, Any]) -> str | None:
    """Return the class that a transformer's configuration selects from its own code."""
    named = (config.get("auto_map") or {}).get("AutoModel")
    return None if named is None else str(named)


def read_json(path: Path, default: Any) -> Any:
    """Return a JSON file's value, or `default` if there is no such file.

    Raises:
        ModelError: It is not JSON.
    """
    import json

    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}", code="cannot-read", path=path) from error
