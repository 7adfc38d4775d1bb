"""Words of texts: terms that passages and queries share, what a QUERY may demand of them, BM25."""

from ettin_cli.text.lexical.bm25 import inverse_frequency, saturated
from ettin_cli.text.lexical.query_syntax import Demands, parse_query
from ettin_cli.text.lexical.terms import (
    ENGLISH,
    LANGUAGES,
    Remembered,
    Terms,
    require_language,
    words,
)

__all__ = [
    "ENGLISH",
    "LANGUAGES",
    "Demands",
    "Remembered",
    "Terms",
    "inverse_frequency",
    "parse_query",
    "require_language",
    "saturated",
    "words",
]
