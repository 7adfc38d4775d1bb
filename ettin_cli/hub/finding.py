"""Where a model of a given name is: in a folder, the package, the cache, or on the hub."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from ettin_cli.errors import EttinError, ModelError
from ettin_cli.hub.client import fetch, is_offline, not_here
from ettin_cli.hub.files import EMBEDDED, ModelFiles, check_folder, embedded_folder
from ettin_cli.records import Reporter
from ettin_cli.settings import ETTIN_MODELS, MINILM_ID, MINILM_REVISION

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_model(name: str, *, offline: bool, reporter: Reporter) -> ModelFiles:
    """Return a model's files, fetched from the hub if they are nowhere on this machine.

    Args:
        name: `embedded`, an Ettin alias, a folder, or a hub id, in this order.
        offline: Never touch the network; also set by ETTIN_OFFLINE and HF_HUB_OFFLINE.

    Raises:
        ModelError: It is not to be had, or its folder is not whole.
        MissingExtraError: The package of the embedded model is not installed.
    """
    if name == EMBEDDED:
        return ModelFiles(EMBEDDED, embedded_folder())
    if name not in ETTIN_MODELS and Path(name).is_dir():
        check_folder(Path(name))
        return ModelFiles(name, Path(name))
    hub_id, revision = hub_name(name)
    if not HUB_ID.fullmatch(hub_id):
        raise ModelError(
            f"no model {name!r}: neither a known name, nor a folder, nor a hub id",
            hint="ettin models",
        )
    return ModelFiles(hub_id, _hub_folder(hub_id, revision, offline, reporter), revision)


def _hub_folder(hub_id: str, revision: str | None, offline: bool, reporter: Reporter) -> Path:
    if folder := cached_folder(hub_id):
        return folder
    if is_offline(offline):
        if partial := _snapshot(hub_id, revision):
            check_folder(partial)
        raise not_here(hub_id, "the network is not to be used")
    folder = fetch(hub_id, revision, reporter)
    check_folder(folder)
    return folder


def hub_name(name: str) -> tuple[str, str | None]:
    """Return a model's hub id and its pinned revision, if it has one."""
    if model := ETTIN_MODELS.get(name):
        return model.hub_id, model.revision
    pinned = {model.hub_id: model.revision for model in ETTIN_MODELS.values()}
    return name, {**pinned, MINILM_ID: MINILM_REVISION}.get(name)


def cached_folder(name: str) -> Path | None:
    """Return where huggingface_hub's cache has a model, or None if it has not all of it."""
    hub_id, revision = hub_name(name)
    folder = _snapshot(hub_id, revision) if HUB_ID.fullmatch(hub_id) else None
    with suppress(ModelError):
        if folder:
            check_folder(folder)
            return folder
    return None


def _snapshot(hub_id: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in ("modules.json", "config.json"):
        found = try_to_load_from_cache(hub_id, name, revision=revision)
        if isinstance(found, str):
            return Path(found).parent
    return None


def on_this_machine(name: str) -> bool:
    """Say whether a model can be used without the network."""
    try:
        return bool(embedded_folder() if name == EMBEDDED else cached_folder(name))
    except EttinError:
        return False
