from .chunking import SPECIAL_TOKENS as SPECIAL_TOKENS, Chunking as Chunking, chunk as chunk
from .duplicates import (
    FOLDS as FOLDS,
    grouped as grouped,
    leading as leading,
    nearly_grouped as nearly_grouped,
)
from .escaping import inert as inert, inert_line as inert_line
from .headings import FENCE as FENCE
from .snippets import best_lines as best_lines, query_words as query_words, spans as spans
