"""Sources -> an index: plan, read, embed, write, repair."""

from ettin_cli.indexing.building import BuildReport, build_index
from ettin_cli.indexing.planning import out_of_date
from ettin_cli.indexing.repairing import RepairReport, repair_index
from ettin_cli.indexing.requests import BuildRequest

__all__ = [
    "BuildReport",
    "BuildRequest",
    "RepairReport",
    "build_index",
    "out_of_date",
    "repair_index",
]
