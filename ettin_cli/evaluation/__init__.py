"""Measure what retrieval and reranking are worth on judged queries, and whether it shows."""
