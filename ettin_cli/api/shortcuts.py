"""Calls with a session of their own, for a single use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ettin_cli.api.session import Session
from ettin_cli.records import Answer, Embedder, Query
from ettin_cli.searching import TextReranker
from ettin_cli.settings import AUTO, TRUNCATE

if TYPE_CHECKING:
    from ettin_cli.indexing import BuildReport
    from ettin_cli.searching import Searcher


def open(index: str | os.PathLike[str] | None = None, **options: Any) -> Searcher:
    """Open an index to search it; closing the searcher also frees its models.

    Args:
        index: As in `Session.open`.
        options: As in `Session.open`.

    Example:
        >>> report = ettin.build("docs", into="notes")
        >>> with ettin.open("notes", reranker="none") as index:
        ...     answer = index.search("can I bring my dog", top_k=3)
        >>> len(answer.hits), answer.hits[0].passage.doc_id
        (3, 'faq.html')
    """
    session = Session()
    return session.open(index, **options).closing(session.close)


def build(*sources: str | os.PathLike[str], **options: Any) -> BuildReport:
    """Build an index, or update it, as `Session.build` does.

    Example:
        >>> report = ettin.build(documents=[{"text": "Bread is at noon."}], into="breads")
        >>> report.manifest.counts.passages
        1
    """
    with Session() as session:
        return session.build(*sources, **options)


def search(query: str | Query, *sources: str | os.PathLike[str], **options: Any) -> Answer:
    """Search files and folders, or the default index, as `Session.search` does.

    Example:
        >>> ettin.search("use my phone", "docs", reranker="embedded", top_k=1).hits[0].passage.path
        'docs/internet-and-phones.md'
    """
    with Session() as session:
        return session.search(query, *sources, **options)


def reranker(name: str | None = None, *, long: str = TRUNCATE) -> TextReranker:
    """Load a reranker or a cascade, as `Session.reranker` does; closing it frees its models.

    Example:
        >>> with ettin.reranker("embedded") as reranker:
        ...     answer = reranker.rank("ferry", ["Bread is at noon.", "It sails at nine."])
        >>> [hit.passage.doc_id for hit in answer.hits]
        ['1', '0']
    """
    session = Session()
    loaded = session.reranker(name, long=long)
    return TextReranker(loaded.last, loaded.before, on_close=session.close)


def embedder(name: str = AUTO) -> Embedder:
    """Load an embedder, as `Session.embedder` does; its memory is freed with the object.

    Example:
        >>> ettin.embedder().embed_queries(["when does the ferry sail"]).shape
        (1, 384)
    """
    return Session().embedder(name)
