"""Measure BM25 on a sentence collection in Korean, Japanese, Chinese, Thai and German.

    python benchmarks/languages.py

`languages.tsv` has a query for each sentence; the sentences of a language are its collection. The
words of a query occur inflected, in compounds or without spaces around them. Shown are the share
of queries whose sentence comes first, and of those whose sentence is found at all.
"""

import csv
import math
from collections import Counter, defaultdict
from pathlib import Path

from ettin_cli.text.lexical.bm25 import K1, B, inverse_frequency
from ettin_cli.text.lexical.terms import LANGUAGES, Terms

SENTENCES = Path(__file__).with_suffix(".tsv")


def pairs() -> dict[str, list[tuple[str, str]]]:
    """Return the queries and their sentences, by language."""
    found = defaultdict(list)
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            found[row["language"]].append((row["query"], row["sentence"]))
    return dict(found)


def ranks(terms: Terms, queries: list[tuple[str, str]]) -> list[float]:
    """Return the rank of each query's sentence by BM25, or infinity."""
    texts = [Counter(terms.of(sentence)) for _, sentence in queries]
    holding = Counter(term for text in texts for term in text)
    mean = sum(text.total() for text in texts) / len(texts)

    def score(query: list[str], text: Counter[str]) -> float:
        norm = K1 * (1 - B + B * text.total() / mean)
        return sum(
            inverse_frequency(len(texts), holding[term]) * text[term] / (text[term] + norm)
            for term in query
        )

    found = []
    for at, (query, _) in enumerate(queries):
        scores = [score(terms.of_query(query), text) for text in texts]
        better = sum(other >= scores[at] for other in scores)
        found.append(float(better) if scores[at] else math.inf)
    return found


def main() -> None:
    """Print a line per language."""
    for language, queries in pairs().items():
        stemmer = language if language in LANGUAGES else "english"
        placed = ranks(Terms(stemmer), queries)
        first = sum(rank == 1 for rank in placed) / len(placed)
        retrieved = sum(rank < math.inf for rank in placed) / len(placed)
        print(f"{language:9} {len(queries)} queries: {first:.2f} first, {retrieved:.2f} found")


if __name__ == "__main__":
    main()
