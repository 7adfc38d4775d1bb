from .embedded import ABOUT as ABOUT, KnowsRarity as KnowsRarity
from .empty_texts import blanks_last as blanks_last, with_text as with_text
from .kept_scores import (
    KeptScores as KeptScores,
    ScoreStore as ScoreStore,
    store_scores as store_scores,
)
from .long_texts import (
    TimedLongReranker as TimedLongReranker,
    require_long as require_long,
    with_long_texts as with_long_texts,
)
from .maxsim import (
    ComparesTokens as ComparesTokens,
    QueryVectors as QueryVectors,
    TextSink as TextSink,
    TextVectors as TextVectors,
    TokenEncoder as TokenEncoder,
    query_cut as query_cut,
)
from .registry import (
    find_reranker as find_reranker,
    load_reranker as load_reranker,
    reranker_of as reranker_of,
    reranker_plugin as reranker_plugin,
    reranker_plugins as reranker_plugins,
)
from .resolved import FolderReranker as FolderReranker, ResolvedReranker as ResolvedReranker
from .score_cache import (
    CachedReranker as CachedReranker,
    ScoreFile as ScoreFile,
    library_versions as library_versions,
    score_folder as score_folder,
)
from .score_checks import ScriptNotice as ScriptNotice, distinct as distinct
