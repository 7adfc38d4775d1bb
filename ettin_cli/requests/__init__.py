"""Files of candidates that somebody else retrieved -> requests to rerank, streamed."""

from ettin_cli.requests.fields import RequestFields
from ettin_cli.requests.reading import RequestFile, open_requests

__all__ = ["RequestFields", "RequestFile", "open_requests"]
