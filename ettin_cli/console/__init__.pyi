from .bench_table import BENCH_FORMATS as BENCH_FORMATS, show_races as show_races
from .console import Console as Console, Tally as Tally, destination as destination
from .eval_table import (
    EVAL_FORMATS as EVAL_FORMATS,
    show_evaluation as show_evaluation,
    show_suite as show_suite,
)
from .judging import judge as judge
from .judging_screen import ToJudge as ToJudge
from .streams import EscapedStdout as EscapedStdout, quietly_closed as quietly_closed
from .units import (
    count as count,
    duration as duration,
    making_folder as making_folder,
    size as size,
)
