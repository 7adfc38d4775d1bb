from .answers import (
    Answer as Answer,
    Candidate as Candidate,
    Hit as Hit,
    Qrels as Qrels,
    Query as Query,
    Request as Request,
    RetrieverRank as RetrieverRank,
    Run as Run,
    Stage as Stage,
)
from .arguments import (
    listed as listed,
    require_least as require_least,
    require_list as require_list,
    require_type as require_type,
)
from .columns import (
    COLUMNS as COLUMNS,
    beginning as beginning,
    columns as columns,
    dumps as dumps,
    hits_schema as hits_schema,
)
from .documents import (
    Document as Document,
    DocumentKind as DocumentKind,
    Heading as Heading,
    Metadata as Metadata,
    Passage as Passage,
    Rejection as Rejection,
)
from .models import (
    NO_TEXT as NO_TEXT,
    Embedder as Embedder,
    EmbedderCard as EmbedderCard,
    Flags as Flags,
    Floats as Floats,
    Pair as Pair,
    Reranker as Reranker,
    RerankerCard as RerankerCard,
    Scores as Scores,
    TextTokens as TextTokens,
    TimedReranker as TimedReranker,
    TokenCounter as TokenCounter,
    TokenEmbedder as TokenEmbedder,
    TokenSink as TokenSink,
)
from .reporting import (
    Advance as Advance,
    Note as Note,
    Reporter as Reporter,
    Share as Share,
    Silence as Silence,
    no_progress as no_progress,
)
