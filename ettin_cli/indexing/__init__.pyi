from .building import BuildReport as BuildReport, build_index as build_index
from .planning import base_of as base_of, out_of_date as out_of_date
from .repairing import RepairReport as RepairReport, repair_index as repair_index
from .requests import BuildRequest as BuildRequest
