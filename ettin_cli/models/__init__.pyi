from .at_workers import (
    NamedEmbedder as NamedEmbedder,
    engine_of as engine_of,
    enter as enter,
    other_model as other_model,
)
from .downloading import hub_warnings_to as hub_warnings_to, promptly as promptly
from .embedders import (
    AUTO as AUTO,
    check_trust as check_trust,
    find_embedder as find_embedder,
    instructed as instructed,
    load_embedder as load_embedder,
    note_dimensions as note_dimensions,
    query_limit as query_limit,
    read_card as read_card,
    token_dimension as token_dimension,
    with_tokens as with_tokens,
)
from .encoders import unit as unit
from .hub import (
    EMBEDDED as EMBEDDED,
    ModelFiles as ModelFiles,
    cached_folder as cached_folder,
    embedded_folder as embedded_folder,
    find_model as find_model,
    hub_name as hub_name,
    is_offline as is_offline,
    weights_hash as weights_hash,
)
from .hub_errors import (
    HubDataset as HubDataset,
    failed as failed,
    refused as refused,
    unwritable as unwritable,
)
from .hub_problems import (
    FileError as FileError,
    HubProblem as HubProblem,
    Trouble as Trouble,
    hub_problem as hub_problem,
)
from .model_folder import (
    read_json as read_json,
    read_modules as read_modules,
    refuse_code as refuse_code,
)
from .outages import (
    forget_outage as forget_outage,
    outage as outage,
    remember_outage as remember_outage,
)
from .remembered import (
    note_use as note_use,
    recall as recall,
    remember_fact as remember_fact,
)
from .token_counting import ModelTokens as ModelTokens, load_token_counter as load_token_counter
from .transfers import MB as MB, each_requested as each_requested, transfer as transfer
from .vector_checks import queries_cut as queries_cut
