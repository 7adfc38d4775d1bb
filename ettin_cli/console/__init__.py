"""The only part that writes to the terminal."""

from ettin_cli.console.bench_table import show_races
from ettin_cli.console.console import Console, Tally, destination
from ettin_cli.console.eval_table import FORMATS, show_evaluation
from ettin_cli.console.judging import judge
from ettin_cli.console.judging_screen import ToJudge
from ettin_cli.console.streams import Shown, quietly_closed
from ettin_cli.console.units import count, duration, size
from ettin_cli.text.escaping import inert

__all__ = [
    "FORMATS",
    "Console",
    "Shown",
    "Tally",
    "ToJudge",
    "count",
    "destination",
    "duration",
    "inert",
    "judge",
    "quietly_closed",
    "show_evaluation",
    "show_races",
    "size",
]
