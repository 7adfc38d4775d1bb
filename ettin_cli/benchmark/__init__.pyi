from .known_speeds import MeasuredSpeed as MeasuredSpeed, measured_speed as measured_speed
from .machine import Machine as Machine
from .measuring import Plan as Plan
from .pairs import read_pairs as read_pairs
from .planning import (
    Benchmark as Benchmark,
    BenchmarkRequest as BenchmarkRequest,
    plan_benchmark as plan_benchmark,
)
from .results import Race as Race
from .rows import (
    AGREEMENT as AGREEMENT,
    ENGINE as ENGINE,
    SPEED as SPEED,
    headers as headers,
    race_rows as race_rows,
    shown_rows as shown_rows,
    summary as summary,
)
