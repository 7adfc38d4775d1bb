"""The two stories: build an index of sources, and search it."""

from ettin_cli.pipeline.building import BuildReport, build_index
from ettin_cli.pipeline.planning import Plan, out_of_date
from ettin_cli.pipeline.recipes import BuildRequest
from ettin_cli.pipeline.searching import search, source_index

__all__ = [
    "BuildReport",
    "BuildRequest",
    "Plan",
    "build_index",
    "out_of_date",
    "search",
    "source_index",
]
