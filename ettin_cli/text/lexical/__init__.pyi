from .bm25 import inverse_frequency as inverse_frequency, saturated as saturated
from .query_syntax import Demands as Demands, parse_query as parse_query
from .terms import (
    ENGLISH as ENGLISH,
    LANGUAGES as LANGUAGES,
    Remembered as Remembered,
    Terms as Terms,
    require_language as require_language,
    words as words,
)
