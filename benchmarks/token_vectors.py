"""Compare ways to compress the token vectors that the embedded reranker compares.

    python benchmarks/token_vectors.py FOLDER... [--cache FOLDER] [--queries N]

Each folder holds corpus.jsonl, queries.jsonl and qrels.tsv. It is indexed once, and the token
vectors of its passages and first N judged queries are kept in the cache. Every way scores hybrid's
100 candidates of each query, as `ettin search -r embedded` does.

Prints a table: bytes a token, share of tokens kept, error of MaxSim within a query (standard
deviation), and the nDCG@10 of each collection with the blend of the embedded reranker. "mean" and
"worst" are the differences from exact scores, with the blend and without it.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytrec_eval
from numpy.typing import NDArray

import ettin_cli
from ettin_cli.index import TokenCodec
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import find_model
from ettin_cli.models.rerankers.embedded import (
    MAXSIM_WEIGHT,
    EmbeddedModel,
    EmbeddedTokens,
    SharedWords,
    idf_table,
)
from ettin_cli.records import Silence
from ettin_cli.runtime import Loaded

CANDIDATES = 100
SAMPLE = 40_000
LEVELS = {
    1: np.array([-0.7979, 0.7979]),
    2: np.array([-1.5104, -0.4528, 0.4528, 1.5104]),
}

Array = NDArray[np.float32]
# Token vectors -> their approximations.
Approximation = Callable[[Array], Array]


@dataclass(frozen=True)
class Query:
    """A query's candidates, and all parts of their scores but MaxSim."""

    query_id: str
    tokens: Array
    weights: Array
    rows: NDArray[np.int64]
    retrieval: Array
    rest: Array


class Collection:
    """A collection with the token vectors of its passages and queries."""

    def __init__(self, folder: Path, cache: Path, queries: int, encoder: EmbeddedTokens) -> None:
        self.name, self.folder, self.cache = folder.name, folder, cache
        self.encoder = encoder
        self.qrels: dict[str, dict[str, int]] = defaultdict(dict)
        with (folder / "qrels.tsv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                self.qrels[row["query-id"]][row["corpus-id"]] = int(row["score"])
        every = {row["_id"]: row["text"] for row in lines(folder / "queries.jsonl")}
        self.texts = {i: text for i, text in every.items() if i in self.qrels}
        self.query_ids = list(self.texts)[:queries]

    def read(self) -> "Collection":
        """Compute or load everything that the ways share."""
        index_folder = self.cache / f"{self.name}-index"
        if not (index_folder / "manifest.json").exists():
            source = self.folder / "corpus.jsonl"
            ettin_cli.build(source, into=index_folder, embedder="embedded")
        with ettin_cli.open(index_folder, reranker="none") as searcher:
            index = searcher.index
            self.doc_ids = list(index.doc_ids())
            contents = index.passages.contents(np.arange(len(index.passages)))
            asked = [ettin_cli.Query(i, self.texts[i]) for i in self.query_ids]
            options = ettin_cli.SearchOptions(top_k=CANDIDATES, by="passage", fold="none")
            answers = list(searcher.search_many(asked, options))
        ids, _ = self.encoder.encoder.token_ids(contents)
        self.ids = [np.array(one.ids) for one in ids]
        self.tokens, pooled = self._encoded(contents)
        words = SharedWords(self.encoder.rarity)
        encoded, _ = self.encoder.queries([query.text for query in asked])
        self.queries = []
        for query, vectors, answer in zip(asked, encoded, answers, strict=True):
            rows = np.array([hit.passage_id for hit in answer.hits])
            retrieval = np.array([hit.score for hit in answer.hits], np.float32)
            shares = words.shares([(query.text, contents[row]) for row in rows])
            assert vectors.pooled is not None
            rest = pooled[rows] @ vectors.pooled + shares
            tokens = vectors.tokens, vectors.weights
            self.queries.append(Query(query.query_id, *tokens, rows, retrieval, rest))
        return self

    def _encoded(self, contents: Sequence[str]) -> tuple[list[Array], Array]:
        path = self.cache / f"{self.name}-tokens.npz"
        if not path.exists():
            kept = dict[int, Any]()
            self.encoder.texts(contents, kept.__setitem__)
            every = [kept[at] for at in range(len(contents))]
            np.savez(
                path,
                tokens=np.concatenate([one.tokens.astype(np.float16) for one in every]),
                pooled=np.stack([one.pooled for one in every]),
            )
        with np.load(path) as arrays:
            bounds = np.cumsum([len(ids) for ids in self.ids])[:-1]
            return np.split(arrays["tokens"], bounds), arrays["pooled"]

    @cached_property
    def exact(self) -> list[Array]:
        """The MaxSim of each query's candidates with all tokens."""
        return self.maxsim(lambda tokens: tokens, 0)

    def maxsim(self, approximation: Approximation, least: float) -> list[Array]:
        """Return the MaxSim of each query's candidates.

        Args:
            least: Tokens of a lower inverse document frequency are left out.
        """
        known = dict[int, Array]()
        for row in {row for query in self.queries for row in query.rows.tolist()}:
            kept = idf_table()[self.ids[row]] >= least
            tokens = self.tokens[row][kept if kept.any() else ~kept].astype(np.float32)
            known[row] = approximation(tokens)
        return [
            np.array([(q.tokens @ known[row].T).max(axis=1) @ q.weights for row in q.rows.tolist()])
            for q in self.queries
        ]

    def ndcg(self, maxsim: Sequence[Array], blend: float) -> float:
        """Return the mean nDCG@10."""
        run: dict[str, dict[str, float]] = {}
        for query, values in zip(self.queries, maxsim, strict=True):
            scores = standardised(values + query.rest)
            final = blend * standardised(query.retrieval) + (1 - blend) * scores
            best: dict[str, float] = {}
            for row, score in zip(query.rows.tolist(), final.tolist(), strict=True):
                doc_id = self.doc_ids[row]
                best[doc_id] = max(best.get(doc_id, score), score)
            run[query.query_id] = best
        judged = {i: self.qrels[i] for i in self.query_ids}
        measured = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10"}).evaluate(run)
        return float(np.mean([measured[i]["ndcg_cut_10"] for i in self.query_ids]))

    def sample(self, least: float) -> Array:
        """Return token vectors to fit a compression to."""
        every = np.concatenate(self.tokens)[idf_table()[np.concatenate(self.ids)] >= least]
        chosen = np.random.default_rng(1).permutation(len(every))[:SAMPLE]
        rows: Array = every[np.sort(chosen)].astype(np.float32)
        return rows


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def standardised(values: Array) -> Array:
    """Return values with mean 0 and standard deviation 1."""
    spread: Array = (values - values.mean()) / (values.std() or 1)
    return spread


def codes(bits: int) -> Callable[[Array], Approximation]:
    """Return the compression of this product."""
    codec = TokenCodec(384, bits)
    rotation = codec.rotated(np.eye(384, dtype=np.float32))
    return lambda _: lambda tokens: codec.decoded(codec.encoded(tokens)) @ rotation.T


def principal(
    dimensions: int, bits: int, *, factor: bool = True
) -> Callable[[Array], Approximation]:
    """Return a projection to principal components, each quantised by levels of a normal variable.

    Args:
        factor: Whether each vector has the factor that makes its product with its code exact.
    """

    def fitted(sample: Array) -> Approximation:
        _, vectors = np.linalg.eigh(sample.T @ sample)
        components = np.ascontiguousarray(vectors[:, ::-1][:, :dimensions])
        scale, levels = (sample @ components).std(axis=0), LEVELS[bits].astype(np.float32)
        middles = (levels[1:] + levels[:-1]) / 2

        def approximated(tokens: Array) -> Array:
            near = levels[np.searchsorted(middles, tokens @ components / scale)] * scale
            back: Array = near @ components.T
            return back / (back * tokens).sum(axis=1, keepdims=True) if factor else back

        return approximated

    return fitted


def product_quantized(parts: int) -> Callable[[Array], Approximation]:
    """Return optimised product quantisation by FAISS, a byte a part."""
    import faiss

    def fitted(sample: Array) -> Approximation:
        index = faiss.index_factory(sample.shape[1], f"OPQ{parts},PQ{parts}x8")
        index.train(sample)
        return lambda tokens: index.sa_decode(index.sa_encode(np.ascontiguousarray(tokens)))

    return fitted


# Name, bytes a token, how it is made, and the least inverse document frequency.
WAYS: list[tuple[str, float, Callable[[Array], Approximation], float]] = [
    *((f"exact, idf >= {cut}", 768, lambda _: lambda tokens: tokens, cut) for cut in (3, 4, 5)),
    *((f"{bits} bit, idf >= {cut}", 48 * bits + 2, codes(bits), cut)
      for bits, cut in ((1, 0), (1, 3), (1, 4), (2, 3), (4, 3))),
    ("PCA 192, 1 bit, idf >= 3", 26, principal(192, 1), 3),
    ("PCA 128, 2 bit, idf >= 3", 34, principal(128, 2), 3),
    ("PCA 128, 2 bit, no factor, idf >= 3", 32, principal(128, 2, factor=False), 3),
    ("PCA 128, 2 bit, no factor, idf >= 4", 32, principal(128, 2, factor=False), 4),
    ("OPQ 32 bytes, idf >= 3", 32, product_quantized(32), 3),
]  # fmt: skip


def row(
    name: str, size: float, way: Callable[[Array], Approximation], cut: float,
    collections: Sequence[Collection],
) -> str:  # fmt: skip
    """Return a line of the table."""
    errors, kept, blended, raw, figures = [], [], [], [], []
    for one in collections:
        got = one.maxsim(way(one.sample(cut)), cut)
        differences = [a - b for a, b in zip(got, one.exact, strict=True)]
        errors.append(np.concatenate([d - d.mean() for d in differences]).std() / MAXSIM_WEIGHT)
        kept.append(np.mean(idf_table()[np.concatenate(one.ids)] >= cut))
        figures.append(one.ndcg(got, EmbeddedModel.blend))
        blended.append(figures[-1] - one.ndcg(one.exact, EmbeddedModel.blend))
        raw.append(one.ndcg(got, 0) - one.ndcg(one.exact, 0))
    parts: Mapping[str, Any] = {"mean": np.mean, "worst": np.min}
    gains = [f"{of(values):+.4f}" for values in (blended, raw) for of in parts.values()]
    shown = [f"{value:.3f}" for value in figures]
    what = [name, f"{size:.0f}", f"{np.mean(kept):.2f}", f"{np.mean(errors):.4f}"]
    return "| " + " | ".join([*what, *shown, *gains]) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("token-vectors-cache"))
    parser.add_argument("--queries", type=int, default=80)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    files = find_model("embedded", offline=True, reporter=Silence())
    encoder = EmbeddedTokens(files, EngineSettings(), Silence(), Loaded())
    collections = [
        Collection(folder, given.cache, given.queries, encoder).read() for folder in given.folders
    ]
    names = [one.name for one in collections]
    head = ["", "bytes", "kept", "error", *names, "mean", "worst", "mean raw", "worst raw"]
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    exact = [f"{one.ndcg(one.exact, EmbeddedModel.blend):.3f}" for one in collections]
    print("| " + " | ".join(["exact", "768", "1.00", "0", *exact, *[""] * 4]) + " |")
    for way in WAYS:
        print(row(*way, collections), flush=True)


if __name__ == "__main__":
    main()
