"""How a multi-vector model reads queries and texts, in the formats of three libraries.

sentence-transformers stores the settings with the modules, PyLate beside them, and Stanford's
ColBERT in its own metadata.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ettin_cli.models.engines.onnx_export import STANFORD
from ettin_cli.models.engines.tokens import position_limit, read_trunk_settings, token_limit
from ettin_cli.models.model_folder import read_json, read_modules

NATIVE = "MultiVectorEncoder"
PYLATE = "ColBERT"
MEAN = "meanmaxsim"
PYLATE_KEYS = {
    *("query_prefix", "document_prefix", "do_query_expansion"),
    *("attend_to_expansion_tokens", "skiplist_words"),
}
# ColBERT's default query length (Khattab and Zaharia, 2020).
QUERY_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Expansion:
    """Padding of short queries with mask tokens, which are scored like the query's own.

    Args:
        length: Number of tokens to pad to.
        attend: Whether the query's own tokens attend to them.
        token: The token to pad with; None: the tokenizer's mask token.
    """

    length: int
    attend: bool
    token: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """Settings for reading queries and texts.

    Args:
        query_prompt: Prefix of every query.
        document_prompt: Prefix of every text.
        markers: Prefixes that are one token each if the tokenizer has them, though it may not
            read them as such.
        query_tokens: Token limit of queries, special tokens included.
        document_tokens: Token limit of texts.
        skipped: Tokens that are not scored.
        skipped_in: Where they are not scored: `query`, `document`.
        kept: Ids of the only tokens of a text that are scored; empty: all.
        mean: Whether a score is divided by the number of the query's tokens.
        native: Whether sentence-transformers saved the model with all of these settings.
    """

    query_prompt: str
    document_prompt: str
    markers: tuple[str, ...]
    query_tokens: int
    document_tokens: int
    expansion: Expansion | None
    skipped: tuple[str, ...]
    skipped_in: tuple[str, ...]
    kept: tuple[int, ...]
    mean: bool
    native: bool


def is_multi_vector(folder: Path) -> bool:
    """Return whether a folder contains a multi-vector model."""
    settings = _settings(folder)
    if settings.get("model_type"):
        return settings["model_type"] in (NATIVE, PYLATE)
    return bool(settings.keys() & PYLATE_KEYS) or is_stanford(folder)


def is_stanford(folder: Path) -> bool:
    """Return whether a model has the layout of Stanford's ColBERT."""
    config = read_json(folder / "config.json", default={})
    return STANFORD in (config.get("architectures") or [])


def read_reading(folder: Path) -> Reading:
    """Return the settings with which a folder's model reads queries and texts.

    Raises:
        ModelError: A settings file is not JSON.
    """
    if is_stanford(folder):
        return _of_stanford(folder)
    settings = _settings(folder)
    if settings.get("model_type") == NATIVE and not settings.keys() & PYLATE_KEYS:
        return _of_sentence_transformers(folder, settings)
    return _of_pylate(folder, settings)


def _settings(folder: Path) -> dict[str, Any]:
    settings = read_json(folder / "config_sentence_transformers.json", default={})
    return settings if isinstance(settings, dict) else {}


def _of_sentence_transformers(folder: Path, settings: Mapping[str, Any]) -> Reading:
    trunk = read_trunk_settings(folder)
    masks = [
        module["path"]
        for module in read_modules(folder)
        if module["type"].endswith("MultiVectorMask")
    ]
    mask = read_json(folder / masks[-1] / "config.json", default={}) if masks else {}
    prompts = settings.get("prompts") or {}
    return _reading(
        folder,
        prompts=(prompts.get("query") or "", prompts.get("document") or ""),
        lengths=(trunk.get("query_length"), trunk.get("document_length")),
        expansion=trunk.get("query_expansion"),
        skipped=mask.get("skiplist_words") or [],
        skipped_in=tuple(mask.get("skiplist_tasks") or ["document"]),
        kept=tuple(mask.get("keep_only_token_ids") or []),
        native=True,
        mean=settings.get("similarity_fn_name") == MEAN,
    )


def _of_pylate(folder: Path, settings: Mapping[str, Any]) -> Reading:
    prompts = settings.get("prompts") or {}
    prefixes = {side: settings.get(f"{side}_prefix") or "" for side in ("query", "document")}
    length = settings.get("query_length")
    expansion = None
    if settings.get("do_query_expansion") is not False:
        attend = bool(settings.get("attend_to_expansion_tokens"))
        expansion = {"strategy": "fixed", "attend": attend, "length": length or QUERY_TOKENS}
    skipped = settings.get("skiplist_words")
    query, document = (
        prefix + (prompts.get(side) or "").removeprefix(prefix) for side, prefix in prefixes.items()
    )
    return _reading(
        folder,
        prompts=(query, document),
        markers=tuple(prefixes.values()),
        lengths=(length, settings.get("document_length")),
        expansion=expansion,
        skipped=string.punctuation if skipped is None else skipped,
        mean=settings.get("similarity_fn_name") == MEAN,
    )


def _of_stanford(folder: Path) -> Reading:
    metadata = read_json(folder / "artifact.metadata", default={})
    prompts = (
        (metadata.get("query_token_id") or "[unused0]") + " ",
        (metadata.get("doc_token_id") or "[unused1]") + " ",
    )
    return _reading(
        folder,
        prompts=prompts,
        markers=prompts,
        lengths=(None, metadata.get("doc_maxlen")),
        expansion={
            "attend": bool(metadata.get("attend_to_mask_tokens")),
            "length": metadata.get("query_maxlen") or QUERY_TOKENS,
        },
        skipped=string.punctuation if metadata.get("mask_punctuation", True) else "",
    )


def _reading(
    folder: Path,
    *,
    prompts: tuple[str, str],
    lengths: tuple[int | None, int | None],
    expansion: Mapping[str, Any] | None,
    skipped: Any,
    markers: tuple[str, ...] = (),
    skipped_in: tuple[str, ...] = ("document",),
    kept: tuple[int, ...] = (),
    mean: bool = False,
    native: bool = False,
) -> Reading:
    filled = None
    limit, most = token_limit(folder), position_limit(folder)
    query, document = (length or limit for length in lengths)
    if expansion:
        filled = Expansion(
            int(expansion["length"]), bool(expansion.get("attend")), expansion.get("token")
        )
        fixed = expansion.get("strategy", "fixed") == "fixed"
        query = filled.length if fixed else max(query, filled.length)
    return Reading(
        *prompts,
        markers=markers,
        query_tokens=min(query, most or query),
        document_tokens=min(document, most or document),
        expansion=filled,
        skipped=tuple(skipped),
        skipped_in=skipped_in,
        kept=kept,
        mean=mean,
        native=native,
    )
