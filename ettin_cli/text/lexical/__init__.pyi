from .bm25 import (
    inverse_frequency as inverse_frequency,
    length_norms as length_norms,
    saturated as saturated,
    saturated_by as saturated_by,
)
from .query_syntax import Demands as Demands, parse_query as parse_query
from .terms import (
    ENGLISH as ENGLISH,
    LANGUAGES as LANGUAGES,
    Remembered as Remembered,
    Terms as Terms,
    require_language as require_language,
    words as words,
)
