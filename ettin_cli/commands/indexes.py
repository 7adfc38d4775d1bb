"""What commands that work on an index have in common: the index, and the embedder it needs."""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ettin_cli.commands import options
from ettin_cli.commands.index import tell
from ettin_cli.console import Console
from ettin_cli.embedding import find_embedder, load_embedder, read_card
from ettin_cli.engines import EngineSettings
from ettin_cli.errors import IndexMismatchError, UsageError
from ettin_cli.index import Index
from ettin_cli.lexical import Terms
from ettin_cli.loading import Loaded
from ettin_cli.pipeline import (
    AUTO,
    BM25,
    DENSE,
    RETRIEVERS,
    BuildRequest,
    DenseRetriever,
    HybridRetriever,
    LexicalRetriever,
    Retriever,
    build_index,
    source_index,
)
from ettin_cli.records import Embedder


def index_of(
    sources: list[str],
    index: Path | None,
    engine: EngineSettings,
    offline: bool,
    console: Console,
    loaded: Loaded,
) -> tuple[Index, bool]:
    """Return an up to date index of the sources, and whether some of them were rejected."""
    embedder = os.environ.get("ETTIN_EMBEDDER") or None
    if index == Path(os.environ.get("ETTIN_INDEX") or os.devnull):
        # That is what is searched without SOURCE, and not to be added to in passing.
        index = None
    folder = index or source_index(sources, embedder or "auto")
    if folder.is_dir() and index is None:
        # `ettin cache` shows when an entry was last used.
        os.utime(folder)
    # A cap on tokens is the reranker's here; the index keeps to what its embedder reads.
    engine = replace(engine, max_length=None)
    added = [options.stdin_or(one) for one in sources]
    request = BuildRequest(folder, added, embedder=embedder, engine=engine, offline=offline)
    with options.goes_on("the same command goes on where it stopped", console):
        report = build_index(request, console, loaded)
    if report.written or report.rejections:
        tell(report, folder, console)
    return Index(folder), bool(report.rejections)


def require_retrievers(names: Iterable[str]) -> None:
    """Make sure that there are retrievers of these names.

    Raises:
        UsageError: There is none of one of them.
    """
    for name in names:
        if name not in RETRIEVERS:
            raise UsageError(f"no retriever {name!r}", hint=", ".join(RETRIEVERS))


def retriever_of(
    name: str,
    index: Index,
    embedder: Callable[[], Embedder],
    console: Console,
    *,
    expand: bool = False,
) -> Retriever:
    """Return what finds candidates in an index; `auto` is both ways where the index has words.

    Args:
        embedder: Loads the embedder of the index, if it is needed.
        expand: Retrieve twice, the second time by what was found first.

    Raises:
        IndexMismatchError: The index has no words, or its embedder other weights now.
    """
    if name == AUTO and index.manifest.language is None:
        console.notice(
            f"retrieving by embeddings alone: {index.folder} has no words to look up; "
            f"ettin index -i {index.folder} adds them"
        )
        name = DENSE
    if name != DENSE and index.lexicon.made_by != Terms(index.language).made_by:
        console.notice(
            f"the words of {index.folder} were cut as another version cuts them, so some are not "
            f"found; ettin index -i {index.folder} renews them"
        )
    if name == BM25:
        return LexicalRetriever(index, expand=expand)
    kind = DenseRetriever if name == DENSE else HybridRetriever
    return kind(index, embedder(), expand=expand)


def embedder_of(
    index: Index, engine: EngineSettings, offline: bool, console: Console, loaded: Loaded
) -> Embedder:
    """Return the embedder that an index was made by.

    Args:
        loaded: What its model is shared in.

    Raises:
        IndexMismatchError: The model of that name has other weights now.
    """
    card = index.manifest.embedder
    files = find_embedder(card.name, offline=offline, reporter=console)
    if read_card(files).weights != card.weights:
        raise IndexMismatchError(
            f"{index.folder} was made by another version of {card.name}",
            hint=f"ettin index -i {index.folder} --rebuild",
        )
    return load_embedder(files, engine, console, card, loaded)
