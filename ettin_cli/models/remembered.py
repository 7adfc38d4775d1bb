"""Facts about models and the hub, remembered as JSON files in the cache folder."""

from __future__ import annotations

from typing import Any

from ettin_cli.errors import EttinError
from ettin_cli.models.model_folder import read_json
from ettin_cli.runtime import Lock
from ettin_cli.settings import cache_folder
from ettin_cli.storage import private_folder, replacing

_remembering = Lock()


def recall(name: str) -> dict[str, Any]:
    """Return the facts stored under a name; empty if they cannot be read."""
    try:
        value = read_json(cache_folder() / name, default={})
    except EttinError:
        return {}
    return value if isinstance(value, dict) else {}


def remember(name: str, value: dict[str, Any]) -> None:
    """Store facts in the cache folder; if it cannot be written, that only costs time."""
    import json
    from contextlib import suppress

    with suppress(OSError):
        private_folder(cache_folder())
        with replacing(cache_folder() / name) as draft:
            draft.write_text(json.dumps(value), encoding="utf-8")


def note_use(name: str) -> None:
    """Note that the facts under a name were used now, if there are any."""
    import os
    from contextlib import suppress

    with suppress(OSError):
        os.utime(cache_folder() / name)


def remember_fact(name: str, key: str, value: Any) -> None:
    """Add a fact to those under a name; concurrent additions of other threads are kept."""
    with _remembering:
        remember(name, {**recall(name), key: value})
