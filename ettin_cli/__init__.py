"""Build an index, retrieve candidates, rerank them with Ettin cross-encoders.

    import ettin_cli as ettin

    ettin.build("docs", into=".ettin")
    with ettin.open(".ettin", reranker="32m") as index:
        answer = index.search("can I bring my dog", top_k=3)
        answer.hits[0].passage.title, answer.hits[0].score

Exports are imported on first use, so that `import ettin_cli` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from ettin_cli.api import (
        Session as Session,
        build as build,
        embedder as embedder,
        open as open,
        reranker as reranker,
        search as search,
    )
    from ettin_cli.errors import EttinError as EttinError
    from ettin_cli.models.engines import EngineSettings as EngineSettings
    from ettin_cli.records import (
        Answer as Answer,
        Document as Document,
        Hit as Hit,
        Passage as Passage,
        Query as Query,
    )
    from ettin_cli.searching import (
        Searcher as Searcher,
        SearchOptions as SearchOptions,
        TextReranker as TextReranker,
    )

_EXPORTED = {
    "Answer": "records",
    "Document": "records",
    "EngineSettings": "models.engines",
    "EttinError": "errors",
    "Hit": "records",
    "Passage": "records",
    "Query": "records",
    "SearchOptions": "searching",
    "Searcher": "searching",
    "Session": "api",
    "TextReranker": "searching",
    "build": "api",
    "embedder": "api",
    "open": "api",
    "reranker": "api",
    "search": "api",
}
__all__ = ["__version__", *_EXPORTED]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    exported = getattr(import_module(f"ettin_cli.{_EXPORTED[name]}"), name)
    globals()[name] = exported
    return exported


def __dir__() -> list[str]:
    return sorted(__all__)
