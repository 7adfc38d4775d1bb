"""Multi-vector models (ColBERT and its kin): texts -> a vector a token, by either route."""

from ettin_cli.models.multi_vector.encoding import load_token_encoder
from ettin_cli.models.multi_vector.kind import LateInteractionModel, find
from ettin_cli.models.multi_vector.reading import Reading, is_multi_vector, read_reading

__all__ = [
    "LateInteractionModel",
    "Reading",
    "find",
    "is_multi_vector",
    "load_token_encoder",
    "read_reading",
]
