"""Measure retrieval and reranking: what systems are worth on judged queries, and whether it shows."""
