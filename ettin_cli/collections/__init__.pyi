from .datasets import (
    Shard as Shard,
    Table as Table,
    is_dataset_name as is_dataset_name,
    open_dataset as open_dataset,
)
from .fetching import (
    LISTINGS as LISTINGS,
    DatasetFiles as DatasetFiles,
    require_room as require_room,
)
from .footers import FOOTERS as FOOTERS
from .opened import (
    GivenCandidates as GivenCandidates,
    OpenCollection as OpenCollection,
    open_collection as open_collection,
)
from .registry import (
    ARGUMENTS as ARGUMENTS,
    COLLECTIONS as COLLECTIONS,
    CQADUPSTACK as CQADUPSTACK,
    FAMILIES as FAMILIES,
    NANOBEIR as NANOBEIR,
    NANOBEIR_REPOSITORY as NANOBEIR_REPOSITORY,
    Collection as Collection,
    family as family,
    is_collection_name as is_collection_name,
    named as named,
    namesakes as namesakes,
)
