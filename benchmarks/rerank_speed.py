"""Compare `ettin rerank` with a plain sentence-transformers loop over the same file.

    python benchmarks/rerank_speed.py COLLECTION [--queries 30] [--documents 20] [--rounds 3]

COLLECTION holds corpus.jsonl and queries.jsonl. The model has the exact shape of Ettin 17m and
seeded random weights, since speed does not depend on them. As in its documentation, the loop calls
`predict` on the pairs of one query after another. Both are timed in turn, without loading the
model. Prints the medians, their ratio and the largest score difference.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ettin_cli.files.requests.fields import RequestFields
from ettin_cli.files.requests.reading import open_requests
from ettin_cli.files.resuming import ResumableOutput
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.registry import load_reranker, reranker_of
from ettin_cli.records import Silence
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.rerank_requests import rerank
from tests.models import ettin

Scores = dict[tuple[str, str], float]


def make_input(collection: Path, path: Path, queries: int, documents: int) -> None:
    """Write queries with random documents of the collection, one query per line."""
    chosen = random.Random(7)
    texts = [json.loads(line)["text"] for line in (collection / "corpus.jsonl").open()]
    asked = [json.loads(line)["text"] for line in (collection / "queries.jsonl").open()]
    with path.open("w", encoding="utf-8") as file:
        for query in asked[:queries]:
            row = {"query": query, "documents": chosen.sample(texts, documents)}
            file.write(json.dumps(row) + "\n")


def with_ettin(model: Path, path: Path) -> Callable[[], Scores]:
    """Return a function that reranks the file as the command does."""
    reranker = load_reranker(
        reranker_of(ModelFiles("17m", model)), EngineSettings(device="cpu"), Silence()
    )
    options = SearchOptions(top_k=1_000_000, candidates=1_000_000, by="passage")
    target = path.with_name("out.jsonl")

    def run() -> Scores:
        scores = {}
        with (
            open_requests(path, RequestFields()) as requests,
            ResumableOutput(target, "jsonl", "", text=True, resume=False) as output,
        ):
            for window in rerank(requests.items, reranker, options, Silence()):
                output.write(window.answers, window.rejections, window.end)
                for answer in window.answers:
                    for hit in answer.hits:
                        scores[answer.query.text, hit.passage.text] = hit.score
            output.finish()
        return scores

    return run


def with_a_loop(model: Path, path: Path) -> Callable[[], Scores]:
    """Return a function that scores the file with sentence-transformers, query by query."""
    from sentence_transformers import CrossEncoder
    from torch.nn import Identity

    reranker = CrossEncoder(str(model), device="cpu")

    def run() -> Scores:
        scores = {}
        for line in path.open(encoding="utf-8"):
            row = json.loads(line)
            pairs = [(row["query"], text) for text in row["documents"]]
            found = reranker.predict(pairs, activation_fn=Identity(), show_progress_bar=False)
            scores |= {pair: float(score) for pair, score in zip(pairs, found, strict=True)}
        return scores

    return run


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        make_input(arguments.collection, path, arguments.queries, arguments.documents)
        model = ettin(Path(folder) / "17m")
        ways = {"ettin": with_ettin(model, path), "loop": with_a_loop(model, path)}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        scores = {name: run() for name, run in ways.items()}
        for _ in range(arguments.rounds):
            for name, run in ways.items():
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
    pairs = len(scores["loop"])
    apart = max(abs(scores["loop"][pair] - scores["ettin"][pair]) for pair in scores["loop"])
    for name, times in seconds.items():
        middle = statistics.median(times)
        spread = " ".join(f"{one:.2f}" for one in sorted(times))
        print(f"{name:<6} {pairs / middle:7.1f} pairs/s   seconds {spread}")
    ratios = [b / a for a, b in zip(seconds["ettin"], seconds["loop"], strict=True)]
    print(f"ratio {statistics.median(ratios):.2f}, scores differ by at most {apart:.1e}")


if __name__ == "__main__":
    main()
