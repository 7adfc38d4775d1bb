"""Two-stage retrieval from the command line: retrieve with embeddings, rerank with Ettin."""

__version__ = "0.1.0"
