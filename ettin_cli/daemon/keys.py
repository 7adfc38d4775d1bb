"""When a model that is loaded elsewhere computes what one loaded here would: a key of both.

Two models with equal keys have the same files and run with the same settings.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ettin_cli.models import ModelFiles
from ettin_cli.models.engines import EngineSettings, cpu_threads
from ettin_cli.models.rerankers import FolderReranker, ResolvedReranker
from ettin_cli.records import EmbedderCard


def reranker_key(resolved: ResolvedReranker, settings: EngineSettings) -> str | None:
    """Return the key of a reranker; None if it is of a plugin, which may depend on anything."""
    if not isinstance(resolved, FolderReranker):
        return None
    return _key(type(resolved).__qualname__, resolved.files, settings, None)


def embedder_key(files: ModelFiles, card: EmbedderCard, settings: EngineSettings) -> str:
    """Return the key of an embedder, whose description is that of an index or of its files."""
    return _key("embedder", files, settings, card)


def _key(kind: str, files: ModelFiles, settings: EngineSettings, card: EmbedderCard | None) -> str:
    described = asdict(card) if card else {}
    for name in ("name", "revision"):
        described.pop(name, None)
    folder = files.folder.resolve()
    # A known model from the hub has prompts and limits of its own.
    facts = [kind, files.hub_id, str(folder), _state(folder), described]
    return json.dumps([*facts, asdict(settings), cpu_threads(settings)], sort_keys=True)


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """Return the size and the time of each file, which change when a file does."""
    files = []
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(place, name)
            with suppress(OSError):
                state = path.stat()
                files.append((str(path.relative_to(folder)), state.st_size, state.st_mtime_ns))
    return sorted(files)
