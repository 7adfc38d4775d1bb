from .chunking import SPECIAL_TOKENS as SPECIAL_TOKENS, Chunking as Chunking, chunk as chunk
from .duplicates import (
    FOLDS as FOLDS,
    grouped as grouped,
    leading as leading,
    nearly_grouped as nearly_grouped,
)
from .escaping import inert as inert, inert_line as inert_line
from .headings import FENCE as FENCE
from .markup import (
    Markup as Markup,
    element as element,
    exact as exact,
    joined as joined,
    void as void,
)
from .snippets import best_lines as best_lines, query_words as query_words, spans as spans
