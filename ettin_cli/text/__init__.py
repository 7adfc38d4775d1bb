"""Text without models: passages, snippets, duplicates, terms and BM25."""

from ettin_cli.text.chunking import SPECIAL_TOKENS, Chunking, chunk
from ettin_cli.text.duplicates import FOLDS, NEAR, NONE, SAME, grouped, leading, nearly_grouped
from ettin_cli.text.escaping import inert, inert_line
from ettin_cli.text.snippets import best_lines, query_words, spans

__all__ = [
    "FOLDS",
    "NEAR",
    "NONE",
    "SAME",
    "SPECIAL_TOKENS",
    "Chunking",
    "best_lines",
    "chunk",
    "grouped",
    "inert",
    "inert_line",
    "leading",
    "nearly_grouped",
    "query_words",
    "spans",
]
