"""Compare ways to fuse dense and BM25 scores, and shares of the embedded reranker.

    python benchmarks/fusion.py FOLDER... [--cache FOLDER] [--rerank QUERIES]

Each folder holds corpus.jsonl, queries.jsonl and qrels.tsv. It is indexed once. The cosine and BM25
score of every passage, and the reranker's score of the passages among the top 100 of either, are
kept in the cache for every judged query. A variant is arithmetic over these arrays and takes
seconds. A document scores as its best passage, as in `ettin search`.

Prints two tables of nDCG@10. "mean" and "worst" compare with the better of dense and BM25: the
mean over the collections, and the worst collection. The last two columns are the same over 200
random halves of each collection's queries, on average.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytrec_eval
from numpy.typing import NDArray

import ettin_cli
from ettin_cli.index import Index, inner_products
from ettin_cli.models.embedders import find_embedder, load_embedder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.records import Silence
from ettin_cli.searching.retrievers import LexicalRetriever

TOP = 100
SPLITS = 200
SPREAD_ROWS = 512

Array = NDArray[np.float64]
Scores = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """One query's scores of every passage; `reranked` is NaN where it was not computed."""

    cosines: Array
    bm25: Array
    reranked: Array


# A query -> its rows, best first, and their scores.
Fusion = Callable[[Query], tuple[Rows, Array]]


@dataclass(frozen=True)
class Collection:
    """A collection's scores and judgements."""

    name: str
    doc_ids: list[str]
    query_ids: list[str]
    queries: list[Query]
    qrels: Mapping[str, Mapping[str, int]]

    def first(self, queries: int | None) -> "Collection":
        """Return the collection with its first queries only."""
        ids = self.query_ids[:queries]
        kept = {query_id: self.qrels[query_id] for query_id in ids}
        return replace(self, query_ids=ids, queries=self.queries[:queries], qrels=kept)

    def ndcg(self, fusion: Fusion) -> Array:
        """Return nDCG@10 of each query."""
        run = {
            query_id: self.documents(*fusion(query))
            for query_id, query in zip(self.query_ids, self.queries, strict=True)
        }
        measured = pytrec_eval.RelevanceEvaluator(self.qrels, {"ndcg_cut.10"}).evaluate(run)
        return np.array([measured[i]["ndcg_cut_10"] if run[i] else 0.0 for i in self.query_ids])

    def documents(self, rows: Rows, scores: Array) -> dict[str, float]:
        """Return the score of each document: that of its best passage."""
        best: dict[str, float] = {}
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            doc_id = self.doc_ids[row]
            best[doc_id] = max(best.get(doc_id, score), score)
        return best


def lines(path: Path) -> Iterator[dict[str, str]]:
    """Yield the objects of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def collection(folder: Path, cache_folder: Path, rerank: int | None) -> Collection:
    """Return a collection, with its scores from the cache where they were computed before.

    Args:
        rerank: How many queries to rerank; None: all.
    """
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    with (folder / "qrels.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            qrels[row["query-id"]][row["corpus-id"]] = int(row["score"])
    texts = {r["_id"]: r["text"] for r in lines(folder / "queries.jsonl") if r["_id"] in qrels}
    index_folder = cache_folder / folder.name
    if not (index_folder / "manifest.json").exists():
        ettin_cli.build(folder / "corpus.jsonl", into=index_folder, embedder="embedded")
    queries = list(texts.values())[:rerank]
    with Index(index_folder) as index:
        doc_ids = list(index.doc_ids())
        cosines, bm25 = kept(
            cache_folder / f"{folder.name}.npz", partial(retrieved, index, list(texts.values()))
        )
        scores = np.full(cosines.shape, np.nan, np.float32)
        if queries:
            name = f"{folder.name}-reranked{'' if rerank is None else f'-{rerank}'}.npz"
            scores[: len(queries)] = kept(
                cache_folder / name, partial(reranker_scores, index, queries, cosines, bm25)
            )[0]
    rows = zip(cosines, bm25, scores, strict=True)
    every = [Query(*(row.astype(np.float64) for row in three)) for three in rows]
    return Collection(folder.name, doc_ids, list(texts), every, qrels)


def kept(path: Path, compute: Callable[[], list[Scores]]) -> list[Scores]:
    """Return arrays from a file, which is written the first time."""
    if not path.exists():
        np.savez(path, *compute())
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def retrieved(index: Index, queries: list[str]) -> list[Scores]:
    """Return the cosine and the BM25 score of every passage for every query."""
    files = find_embedder("embedded", offline=True, reporter=Silence())
    vectors = load_embedder(files, EngineSettings(), Silence()).embed_queries(queries)
    stored = np.asarray(index.vectors, np.float32)
    lexical = LexicalRetriever(index)
    scored = [lexical.scores(lexical.terms_of([query])) for query in queries]
    return [
        np.stack([inner_products(stored, vector) for vector in vectors]),
        np.stack([one.of(np.arange(len(stored))) for one in scored]),
    ]


def reranker_scores(
    index: Index, queries: list[str], cosines: Scores, bm25: Scores
) -> list[Scores]:
    """Return the embedded reranker's score of each passage that is among the top of either side."""
    found = find_reranker("embedded", offline=True, reporter=Silence())
    reranker = load_reranker(found, EngineSettings(), Silence())
    contents = list(index.passages.contents(list(range(len(index.passages)))))
    pairs = [(at, row) for at in range(len(queries)) for row in union(cosines[at], bm25[at])]
    values = reranker.score([(queries[at], contents[row]) for at, row in pairs]).values
    scores = np.full((len(queries), len(contents)), np.nan, np.float32)
    for (at, row), value in zip(pairs, values.tolist(), strict=True):
        scores[at, row] = value
    return [scores]


def top(scores: Array | Scores, depth: int = TOP) -> Rows:
    """Return the rows of the highest scores, best first, ties in row order."""
    return np.argsort(-scores, kind="stable")[:depth]


def union(cosines: Scores, bm25: Scores) -> list[int]:
    """Return the rows among the top of either side, in order."""
    return np.union1d(top(cosines), top(bm25)).tolist()


def one_side(scores: Callable[[Query], Array]) -> Fusion:
    """Return the ranking of one side alone."""

    def ranking(query: Query) -> tuple[Rows, Array]:
        rows = top(scores(query))
        return rows, scores(query)[rows]

    return ranking


def fused(score: Callable[[Query], Array], pool: int = TOP) -> Fusion:
    """Return a fusion: the top 100 by a score, of the rows among the top of either side."""

    def ranking(query: Query) -> tuple[Rows, Array]:
        rows = np.union1d(top(query.cosines, pool), top(query.bm25, pool))
        scores = score(query)[rows]
        order = np.argsort(-scores, kind="stable")[:TOP]
        return rows[order], scores[order]

    return ranking


def cosine_in_deviations(query: Query) -> Array:
    """The cosine in deviations of a sample, plus ten times BM25's share."""
    sample = np.linspace(0, len(query.cosines) - 1, min(SPREAD_ROWS, len(query.cosines)))
    return query.cosines / query.cosines[sample.astype(int)].std() + 10 * query.bm25


def reciprocal_rank(query: Query, k: int) -> Array:
    """Return the sum of 1 / (k + rank) over both top lists."""
    total = np.zeros(len(query.cosines))
    for scores in (query.cosines, query.bm25):
        rows = top(scores)
        total[rows] += 1 / (k + np.arange(1, len(rows) + 1))
    return total


def deviation(head: Array) -> float:
    """Return the standard deviation of the top scores."""
    return float(head.std())


def span(head: Array) -> float:
    """Return the difference between the highest and the lowest of the top scores."""
    return float(head.max() - head.min())


def above(scores: Array, unit: Callable[[Array], float], depth: int, *, floor: bool) -> Array:
    """Return how far scores are above the lowest of their top, in units of that top.

    Args:
        floor: Whether a row outside the top counts as its lowest.
    """
    head = scores[top(scores, depth)]
    lowest = head.min()
    size = unit(head)
    every = np.maximum(scores, lowest) if floor else scores
    return (every - lowest) / size if size > 0 else np.zeros(len(scores))


Weight = float | Callable[[Query], float]


def convex(
    query: Query,
    weight: Weight,
    unit: Callable[[Array], float] = deviation,
    depth: int = TOP,
    *,
    floor: bool = True,
) -> Array:
    """Return a convex combination of both sides' scores; constants per query do not matter."""
    share = weight if isinstance(weight, float) else weight(query)
    sides = [above(side, unit, depth, floor=floor) for side in (query.cosines, query.bm25)]
    return share * sides[0] + (1 - share) * sides[1]


def prominence(scores: Array, depth: int = TOP) -> float:
    """Return how many deviations the first three are above the mean of the top."""
    head = scores[top(scores, depth)]
    size = head.std()
    return float((head[:3].mean() - head.mean()) / size) if size else 0.0


def by_prominence(query: Query) -> float:
    """Weight a side by how far its first hits stand out (query performance prediction)."""
    dense, lexical = prominence(query.cosines), prominence(query.bm25)
    return dense / (dense + lexical) if dense + lexical else 0.5


def by_spread(query: Query) -> float:
    """Weight a side by the deviation of its top over the mean of its top (NQC)."""
    values = []
    for side in (query.cosines, query.bm25):
        head = side[top(side)]
        values.append(head.std() / max(head.mean(), 1e-9))
    return float(values[0] / sum(values)) if sum(values) else 0.5


def by_share(query: Query) -> float:
    """Weight BM25 by the share of the query that its first hit holds (term rarity)."""
    return float(0.75 - 0.5 * query.bm25.max())


def by_agreement(query: Query) -> float:
    """Weight dense by the overlap of both top ten."""
    both = np.intersect1d(top(query.cosines, 10), top(query.bm25, 10))
    return 0.4 + 0.02 * len(both)


def by_disagreement(query: Query) -> float:
    """Weight dense by how little both top ten overlap."""
    both = np.intersect1d(top(query.cosines, 10), top(query.bm25, 10))
    return 0.6 - 0.02 * len(both)


def standardised(scores: Array) -> Array:
    """Return scores with mean 0 and deviation 1."""
    size = scores.std()
    return (scores - scores.mean()) / size if size else np.zeros(len(scores))


def blended(fusion: Fusion, share: float) -> Fusion:
    """Return a fusion reranked with a share of the reranker's score, both standardised."""

    def ranking(query: Query) -> tuple[Rows, Array]:
        rows, scores = fusion(query)
        reranked = standardised(query.reranked[rows])
        return rows, (1 - share) * standardised(scores) + share * reranked

    return ranking


def third_voice(query: Query, share: float) -> Array:
    """Return three sides: the reranker's score over the union, floored as the others."""
    known = ~np.isnan(query.reranked)
    reranked = np.where(known, query.reranked, np.nanmin(query.reranked))
    voice = above(reranked, span, TOP, floor=True)
    return (1 - share) * convex(query, 0.5, span) + share * voice


def variants() -> dict[str, Fusion]:
    """Return the fusions to compare, by name."""
    tried = {
        "dense": one_side(lambda query: query.cosines),
        "bm25": one_side(lambda query: query.bm25),
        "cosine in deviations + 10 BM25": fused(cosine_in_deviations),
    }
    for k in (10, 60):
        tried[f"reciprocal rank, k {k}"] = fused(partial(reciprocal_rank, k=k))
    for name, unit in (("z-scores", deviation), ("min-max", span)):
        for weight in (0.3, 0.4, 0.5, 0.6):
            tried[f"{name}, {weight:g}"] = fused(partial(convex, weight=weight, unit=unit))
    for name, unit in (("z-scores", deviation), ("min-max", span)):
        exact = partial(convex, weight=0.5, unit=unit, floor=False)
        tried[f"{name}, 0.5, exact below the top 100"] = fused(exact)
        for depth in (20, 50, 200, 1000):
            deep = partial(convex, weight=0.5, unit=unit, depth=depth)
            tried[f"{name}, 0.5, top {depth}"] = fused(deep, depth)
    for adaptive in (by_prominence, by_spread, by_share, by_agreement, by_disagreement):
        tried[f"min-max, {adaptive.__name__}"] = fused(partial(convex, weight=adaptive, unit=span))
    return tried


def reranked(tried: Mapping[str, Fusion]) -> dict[str, Fusion]:
    """Return the rerankings to compare, by name."""
    made = {}
    for name in ("min-max, 0.5", "z-scores, 0.5", "cosine in deviations + 10 BM25"):
        for share in (0.0, 0.2, 0.3, 0.45, 1.0):
            made[f"{name}; reranker {share:g}"] = blended(tried[name], share)
    for share in (0.2, 0.3):
        voices = fused(partial(third_voice, share=share))
        made[f"min-max, 0.5, with the reranker as a third side, {share:g}"] = voices
    return made


@dataclass(frozen=True)
class Row:
    """A variant's results."""

    name: str
    ndcg: dict[str, float]
    mean: float
    worst: float
    halves: float
    worst_half: float

    def __str__(self) -> str:
        cells = [*(f"{value:.3f}" for value in self.ndcg.values())]
        gains = [self.mean, self.worst, self.halves, self.worst_half]
        return f"| {self.name} | {' | '.join([*cells, *(f'{gain:+.4f}' for gain in gains)])} |"


def compare(collections: list[Collection], tried: Mapping[str, Fusion]) -> Iterator[Row]:
    """Yield a row per variant, compared with the better of dense and BM25."""
    sides = variants()
    rng = np.random.default_rng(0)
    halves = [
        [rng.permutation(len(data.queries))[: len(data.queries) // 2] for data in collections]
        for _ in range(SPLITS)
    ]
    dense, lexical = (
        [data.ndcg(sides[side]) for data in collections] for side in ("dense", "bm25")
    )
    for name, fusion in tried.items():
        values = [data.ndcg(fusion) for data in collections]
        gains = [
            value.mean() - max(one.mean(), other.mean())
            for value, one, other in zip(values, dense, lexical, strict=True)
        ]
        of_halves = np.array(
            [
                [
                    value[half].mean() - max(one[half].mean(), other[half].mean())
                    for value, one, other, half in zip(values, dense, lexical, split, strict=True)
                ]
                for split in halves
            ]
        )
        yield Row(
            name,
            {data.name: float(v.mean()) for data, v in zip(collections, values, strict=True)},
            float(np.mean(gains)),
            min(gains),
            float(of_halves.mean()),
            float(of_halves.min(axis=1).mean()),
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("fusion"))
    parser.add_argument("--rerank", type=int, help="queries to rerank of each; 0: none")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    collections = [
        collection(folder, arguments.cache, arguments.rerank) for folder in arguments.folders
    ]
    tried = variants()
    show(collections, tried)
    if arguments.rerank != 0:
        show([data.first(arguments.rerank) for data in collections], reranked(tried))


def show(collections: list[Collection], tried: Mapping[str, Fusion]) -> None:
    """Print a table."""
    names = [f"{data.name} ({len(data.queries)})" for data in collections]
    columns = ["", *names, "mean", "worst", "mean of halves", "worst half"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in compare(collections, tried):
        print(row, flush=True)
    print()


if __name__ == "__main__":
    main()
