"""Measure the gain of the embedded reranker over dense retrieval with its own model.

    python benchmarks/embedded_reranker.py FOLDER...

Each folder holds corpus.jsonl, queries.jsonl and qrels.tsv. Every document is one text, title
first, truncated at the model's 256 tokens; the top 50 of dense retrieval are reranked. With
--judged NAME the judged candidates of each query are ranked instead. Prints the mean nDCG@10 over
all judged queries.
"""

import argparse
import csv
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytrec_eval

from ettin_cli.models.embedders import find_embedder, load_embedder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.records import Embedder, Passage, Reranker, Silence

DEPTH = 50
WINDOW = 64
JUDGED_ONLY = ("noveleval", "mediqa2019_rerank")

Run = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Collection:
    """A corpus, the queries that have judgements, and the judgements."""

    texts: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def read(folder: Path) -> Collection:
    """Return a collection from its folder."""
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    with (folder / "qrels.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            qrels[row["query-id"]][row["corpus-id"]] = int(row["score"])
    texts = {
        row["_id"]: Passage(row["_id"], row["text"], row.get("title") or "").content
        for row in lines(folder / "corpus.jsonl")
    }
    queries = {row["_id"]: row["text"] for row in lines(folder / "queries.jsonl")}
    return Collection(texts, {i: text for i, text in queries.items() if i in qrels}, qrels)


def lines(path: Path) -> Iterator[dict[str, str]]:
    """Yield the objects of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def dense_run(data: Collection, embedder: Embedder, judged_only: bool) -> Run:
    """Return each query's candidates with their cosines."""
    doc_ids = list(data.texts)
    documents = embedder.embed_documents(list(data.texts.values()))
    queries = embedder.embed_queries(list(data.queries.values()))
    run: Run = {}
    for query_id, scores in zip(data.queries, queries @ documents.T, strict=True):
        found = dict(zip(doc_ids, scores.tolist(), strict=True))
        if judged_only:
            run[query_id] = {i: found[i] for i in data.qrels[query_id] if i in found}
        else:
            best = np.argsort(-scores, kind="stable")[:DEPTH]
            run[query_id] = {doc_ids[at]: float(scores[at]) for at in best}
    return run


def reranked_run(data: Collection, dense: Run, reranker: Reranker) -> Run:
    """Return the same candidates with the reranker's scores."""
    run: Run = {}
    query_ids = list(dense)
    for begin in range(0, len(query_ids), WINDOW):
        rows = [(q, d) for q in query_ids[begin : begin + WINDOW] for d in dense[q]]
        scores = reranker.score([(data.queries[q], data.texts[d]) for q, d in rows])
        for (query_id, doc_id), score in zip(rows, scores.values.tolist(), strict=True):
            run.setdefault(query_id, {})[doc_id] = score
    return run


def ndcg(data: Collection, run: Run) -> float:
    """Return the mean nDCG@10 over all judged queries."""
    measured = pytrec_eval.RelevanceEvaluator(data.qrels, {"ndcg_cut.10"}).evaluate(run)
    return float(np.mean([measured[query_id]["ndcg_cut_10"] for query_id in data.queries]))


def main() -> None:
    """Print one row per collection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--judged", nargs="*", default=JUDGED_ONLY, metavar="NAME")
    arguments = parser.parse_args()
    settings, quiet = EngineSettings(), Silence()
    files = find_embedder("embedded", offline=True, reporter=quiet)
    embedder = load_embedder(files, settings, quiet)
    reranker = load_reranker(
        find_reranker("embedded", offline=True, reporter=quiet), settings, quiet
    )
    print("| collection | queries | dense | embedded | gain | seconds |\n|---|---|---|---|---|---|")
    for folder in arguments.folders:
        began = time.perf_counter()
        data = read(folder)
        dense = dense_run(data, embedder, folder.name in arguments.judged)
        before, after = ndcg(data, dense), ndcg(data, reranked_run(data, dense, reranker))
        print(
            f"| {folder.name} | {len(data.queries)} | {before:.4f} | {after:.4f} "
            f"| {after - before:+.4f} | {time.perf_counter() - began:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
