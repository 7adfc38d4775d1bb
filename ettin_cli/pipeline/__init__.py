"""The stories: build an index of sources, search it, and rerank what somebody else retrieved."""

from ettin_cli.pipeline.building import BuildReport, build_index
from ettin_cli.pipeline.candidates import CandidateFinder, chosen_rows
from ettin_cli.pipeline.planning import Plan, out_of_date
from ettin_cli.pipeline.recipes import BuildRequest
from ettin_cli.pipeline.repairing import RepairReport, repair_index
from ettin_cli.pipeline.reranking import Window, rerank
from ettin_cli.pipeline.retrieving import (
    AUTO,
    BM25,
    DENSE,
    RETRIEVERS,
    DenseRetriever,
    HybridRetriever,
    LexicalRetriever,
    Retriever,
)
from ettin_cli.pipeline.searching import search, source_index

__all__ = [
    "AUTO",
    "BM25",
    "DENSE",
    "RETRIEVERS",
    "BuildReport",
    "BuildRequest",
    "CandidateFinder",
    "DenseRetriever",
    "HybridRetriever",
    "LexicalRetriever",
    "Plan",
    "RepairReport",
    "Retriever",
    "Window",
    "build_index",
    "chosen_rows",
    "out_of_date",
    "repair_index",
    "rerank",
    "search",
    "source_index",
]
