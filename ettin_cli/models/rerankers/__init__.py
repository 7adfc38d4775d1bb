"""Kinds of reranker, and what wraps them: long texts, empty texts, kept scores."""

from ettin_cli.models.rerankers.embedded import ABOUT
from ettin_cli.models.rerankers.empty_texts import blanks_last, with_text
from ettin_cli.models.rerankers.long_texts import TimedLongReranker, reading
from ettin_cli.models.rerankers.registry import (
    external_reranker,
    external_rerankers,
    find_reranker,
    load_reranker,
    reranker_of,
)
from ettin_cli.models.rerankers.resolved import FolderReranker, ResolvedReranker
from ettin_cli.models.rerankers.score_cache import CachedReranker, score_folder

__all__ = [
    "ABOUT",
    "CachedReranker",
    "FolderReranker",
    "ResolvedReranker",
    "TimedLongReranker",
    "blanks_last",
    "external_reranker",
    "external_rerankers",
    "find_reranker",
    "load_reranker",
    "reading",
    "reranker_of",
    "score_folder",
    "with_text",
]
