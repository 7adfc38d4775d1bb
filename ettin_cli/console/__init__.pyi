from .bench_table import RACE_FORMATS as RACE_FORMATS, show_races as show_races
from .console import Console as Console, Tally as Tally, destination as destination
from .eval_table import FORMATS as FORMATS, show_evaluation as show_evaluation
from .judging import judge as judge
from .judging_screen import ToJudge as ToJudge
from .streams import Shown as Shown, quietly_closed as quietly_closed
from .units import count as count, duration as duration, size as size
