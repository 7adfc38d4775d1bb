from .accumulating import Scored as Scored, best_first as best_first
from .contents import (
    CLUSTERS as CLUSTERS,
    QUANTIZER as QUANTIZER,
    bytes_a_vector as bytes_a_vector,
    bytes_of_tokens as bytes_of_tokens,
)
from .default_index import find_index as find_index, index_name as index_name
from .document_texts import (
    DocumentText as DocumentText,
    document_path as document_path,
    document_text as document_text,
    nearest_ids as nearest_ids,
)
from .factories import (
    AUTO_EXACT as AUTO_EXACT,
    require_divisible as require_divisible,
    require_factory as require_factory,
    resolved as resolved,
    trained as trained,
    tuned as tuned,
    write_index as write_index,
)
from .field_values import Filter as Filter
from .freshness import (
    entry_for as entry_for,
    is_unchanged as is_unchanged,
    portable as portable,
    touched as touched,
)
from .joined_lexicon import JoinedLexicon as JoinedLexicon, JoinedScores as JoinedScores
from .joined_passages import JoinedVectors as JoinedVectors
from .joined_tokens import JoinedTokenLists as JoinedTokenLists, JoinedTokens as JoinedTokens
from .known_vectors import text_hashes as text_hashes
from .lexicon import Lexicon as Lexicon, Statistics as Statistics
from .lock import writing as writing
from .manifest import (
    SHARDS as SHARDS,
    WORK as WORK,
    Counts as Counts,
    Manifest as Manifest,
    RecordedSource as RecordedSource,
    ShardRecord as ShardRecord,
    TokenVectors as TokenVectors,
    not_an_index as not_an_index,
    read_manifest as read_manifest,
    whole_of as whole_of,
)
from .nearest import VectorPart as VectorPart
from .passages import Passages as Passages, PassageWriter as PassageWriter
from .reader import Index as Index
from .salvage import (
    IntactParts as IntactParts,
    damaged_files as damaged_files,
    require_intact as require_intact,
)
from .shards import (
    DRAFTS as DRAFTS,
    SearchedBy as SearchedBy,
    ShardedGeneration as ShardedGeneration,
    Shared as Shared,
    finish as finish,
    intact_leftovers as intact_leftovers,
    is_complete as is_complete,
    is_finished as is_finished,
    record_search as record_search,
    remove_unnamed as remove_unnamed,
    shard_name as shard_name,
)
from .source_files import FileEntry as FileEntry, joined_entry as joined_entry
from .token_codes import (
    TokenCodec as TokenCodec,
    require_bits as require_bits,
    usual_bits as usual_bits,
)
from .token_lists import TokenLists as TokenLists
from .token_lists_writer import clusters_of as clusters_of
from .token_vectors import StoredTokens as StoredTokens
from .token_writer import CodedTexts as CodedTexts
from .unit_files import (
    UNIT_SUFFIX as UNIT_SUFFIX,
    UNITS as UNITS,
    Samples as Samples,
    packed_unit as packed_unit,
)
from .vectors import (
    EXACT as EXACT,
    Rows as Rows,
    Stored as Stored,
    inner_products as inner_products,
)
from .writer import (
    BuildRecipe as BuildRecipe,
    Generation as Generation,
    Missing as Missing,
    forget_unfinished as forget_unfinished,
    remove_leftovers as remove_leftovers,
)
