"""Files of candidates that somebody else retrieved -> requests to rerank, streamed."""

from ettin_cli.files.requests.counted import MeasuredRows
from ettin_cli.files.requests.examples import (
    POSITIVE,
    Example,
    example,
    holds_example,
    negative_fields,
    text_fields,
)
from ettin_cli.files.requests.fields import RequestFields, pair
from ettin_cli.files.requests.pairs import rejection
from ettin_cli.files.requests.reading import RequestFile, open_requests
from ettin_cli.files.requests.rows import read_rows, readable
from ettin_cli.files.requests.spool import Spool
from ettin_cli.files.requests.values import DOCUMENT, QUERY, name_of

__all__ = [
    "DOCUMENT",
    "POSITIVE",
    "QUERY",
    "Example",
    "MeasuredRows",
    "RequestFields",
    "RequestFile",
    "Spool",
    "example",
    "holds_example",
    "name_of",
    "negative_fields",
    "open_requests",
    "pair",
    "read_rows",
    "readable",
    "rejection",
    "text_fields",
]
