"""Words of texts: terms that passages and queries share, what a QUERY may demand of them, BM25."""

from ettin_cli.lexical.bm25 import inverse_frequency, saturated
from ettin_cli.lexical.syntax import Demands, parse_query
from ettin_cli.lexical.terms import ENGLISH, LANGUAGES, Terms, require_language

__all__ = [
    "ENGLISH",
    "LANGUAGES",
    "Demands",
    "Terms",
    "inverse_frequency",
    "parse_query",
    "require_language",
    "saturated",
]
