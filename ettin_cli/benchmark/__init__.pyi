from .contenders import SENTENCE_TRANSFORMERS as SENTENCE_TRANSFORMERS
from .machine import Machine as Machine, this_machine as this_machine
from .measuring import Plan as Plan, check_lengths as check_lengths, measure as measure
from .pairs import SampleTexts as SampleTexts, read_pairs as read_pairs
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
