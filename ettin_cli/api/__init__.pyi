from .session import Session as Session
from .shortcuts import (
    build as build,
    embedder as embedder,
    open as open,
    reranker as reranker,
    search as search,
)
