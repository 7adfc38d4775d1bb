"""Small facts that outlive a process, kept in our cache folder.

They only save time: one that is damaged or cannot be written is as good as none.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from ettin_cli.settings import cache_folder
from ettin_cli.storage import replacing


def remembered(name: str) -> dict[str, Any]:
    """Return what was remembered under a name; empty if nothing was, or it is damaged."""
    try:
        value = json.loads((cache_folder() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def remember(name: str, value: dict[str, Any]) -> None:
    """Keep a value under a name; in a cache that cannot be written, keep nothing."""
    with suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        with replacing(cache_folder() / name) as draft:
            draft.write_text(json.dumps(value), encoding="utf-8")
