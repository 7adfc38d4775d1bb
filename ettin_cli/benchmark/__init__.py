"""Measure how fast each engine scores pairs here, beside sentence-transformers, and how alike."""
