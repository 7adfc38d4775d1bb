"""Calls for a session of one use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ettin_cli.api.session import Session
from ettin_cli.records import Answer, Embedder
from ettin_cli.searching import TextReranker
from ettin_cli.settings import AUTO, TRUNCATE

if TYPE_CHECKING:
    from ettin_cli.indexing import BuildReport
    from ettin_cli.searching import Searcher


def open(index: str | os.PathLike[str] | None = None, **options: Any) -> Searcher:
    """Open an index in a session of its own, which ends when the searcher is closed.

    Args:
        index: As in `Session.open`; so are the options.
    """
    session = Session()
    return session.open(index, **options).closing(session.close)


def build(*sources: str | os.PathLike[str], **options: Any) -> BuildReport:
    """Build an index, or bring it up to date: `Session.build`."""
    with Session() as session:
        return session.build(*sources, **options)


def search(query: str, *sources: str | os.PathLike[str], **options: Any) -> Answer:
    """Answer a query over files and folders, or over an index: `Session.search`."""
    with Session() as session:
        return session.search(query, *sources, **options)


def reranker(name: str | None = None, *, long: str = TRUNCATE) -> TextReranker:
    """Load a reranker: `Session.reranker`."""
    session = Session()
    loaded = session.reranker(name, long=long)
    return TextReranker(loaded.last, loaded.before, on_close=session.close)


def embedder(name: str = AUTO) -> Embedder:
    """Load an embedder: `Session.embedder`."""
    return Session().embedder(name)
