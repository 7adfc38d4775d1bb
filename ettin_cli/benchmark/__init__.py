"""Measure how fast each engine scores pairs here, beside sentence-transformers, and how alike."""

from ettin_cli.benchmark.contenders import SENTENCE_TRANSFORMERS
from ettin_cli.benchmark.machine import Machine, this_machine
from ettin_cli.benchmark.measuring import Plan, check_lengths, measure
from ettin_cli.benchmark.pairs import Pair, SampleTexts, read_pairs
from ettin_cli.benchmark.results import Race
from ettin_cli.benchmark.rows import (
    AGREEMENT,
    ENGINE,
    SPEED,
    headers,
    race_rows,
    shown_rows,
    summary,
)

__all__ = [
    "AGREEMENT",
    "ENGINE",
    "SENTENCE_TRANSFORMERS",
    "SPEED",
    "Machine",
    "Pair",
    "Plan",
    "Race",
    "SampleTexts",
    "check_lengths",
    "headers",
    "measure",
    "race_rows",
    "read_pairs",
    "shown_rows",
    "summary",
    "this_machine",
]
