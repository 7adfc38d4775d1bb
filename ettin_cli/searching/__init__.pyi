from .answering import WINDOW as WINDOW, source_index as source_index
from .candidates import (
    CandidateFinder as CandidateFinder,
    ReadOnce as ReadOnce,
    chosen_rows as chosen_rows,
    read_candidates as read_candidates,
)
from .cascade import (
    Remaining as Remaining,
    Step as Step,
    cascade_name as cascade_name,
    pairs_of as pairs_of,
    parse_cascade as parse_cascade,
    rerank_candidates as rerank_candidates,
    work as work,
)
from .constraints import as_typed as as_typed, searched_text as searched_text
from .gathering import (
    MOST_CHARACTERS as MOST_CHARACTERS,
    MOST_PAIRS as MOST_PAIRS,
    MOST_TEXTS as MOST_TEXTS,
    Wanted as Wanted,
    encodes_apart as encodes_apart,
    gathered as gathered,
)
from .multi_vector import QueryTokenEmbedder as QueryTokenEmbedder
from .named_index import NamedIndex as NamedIndex, search_engine as search_engine
from .named_rerankers import NamedRerankers as NamedRerankers
from .progress import Task as Task, WindowProgress as WindowProgress
from .ranking import (
    SearchOptions as SearchOptions,
    rank as rank,
    require_blend as require_blend,
)
from .rerank_requests import Window as Window, rerank as rerank
from .rerankers import RerankerCascade as RerankerCascade
from .retrievers import (
    BM25 as BM25,
    Retrieved as Retrieved,
    Retriever as Retriever,
    Search as Search,
)
from .searcher import (
    Searcher as Searcher,
    choose_retriever as choose_retriever,
    from_here as from_here,
    parsed as parsed,
    require_no_scores as require_no_scores,
    require_retriever as require_retriever,
)
from .session_models import Models as Models
from .text_reranker import Text as Text, TextReranker as TextReranker
