"""A query -> hits: retrieve, merge, rerank, rank, calibrate."""

from ettin_cli.search.candidates import CandidateFinder, chosen_rows, read_candidates
from ettin_cli.search.cascade import Left, Step, cascade_name, rerank_candidates, work
from ettin_cli.search.progress import WindowProgress
from ettin_cli.search.ranking import DOCUMENT, PASSAGE, SearchOptions, rank
from ettin_cli.search.rerank_requests import Window, rerank
from ettin_cli.search.rerankers import FoundRerankers
from ettin_cli.search.retrievers import AUTO, BM25, Retrieved, Retriever, Search
from ettin_cli.search.searcher import (
    Searcher,
    choose_retriever,
    parsed,
    require_long,
    require_retriever,
)
from ettin_cli.search.searching import WINDOW, source_index
from ettin_cli.search.session_models import Models

__all__ = [
    "AUTO",
    "BM25",
    "DOCUMENT",
    "PASSAGE",
    "WINDOW",
    "CandidateFinder",
    "FoundRerankers",
    "Left",
    "Models",
    "Retrieved",
    "Retriever",
    "Search",
    "SearchOptions",
    "Searcher",
    "Step",
    "Window",
    "WindowProgress",
    "cascade_name",
    "choose_retriever",
    "chosen_rows",
    "parsed",
    "rank",
    "read_candidates",
    "require_long",
    "require_retriever",
    "rerank",
    "rerank_candidates",
    "source_index",
    "work",
]
