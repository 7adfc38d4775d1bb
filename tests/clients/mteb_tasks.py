"""What mteb knows and measures: facts of tasks, and figures of models on given data.

    python mteb_tasks.py < request.json

Needs: mteb pytrec_eval-terrier
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def facts(names: list[str]) -> dict[str, Any]:
    """Return the repository, the split and the settings of each task."""
    import mteb

    found = {}
    for name in names:
        task = mteb.get_task(name)
        metadata = task.metadata
        prompt = metadata.prompt
        found[name] = {
            "repository": metadata.dataset["path"],
            "revision": metadata.dataset["revision"],
            "splits": metadata.eval_splits,
            "licence": metadata.license,
            "instruction": prompt["query"] if prompt else task.abstask_prompt,
            "ignores_own": task.ignore_identical_ids,
        }
    return found


def benchmark(name: str) -> list[str]:
    """Return the retrieval tasks of a benchmark."""
    import mteb

    return [
        task.metadata.name
        for task in mteb.get_benchmark(name).tasks
        if task.metadata.type == "Retrieval"
    ]


def task_of(request: dict[str, Any]) -> Any:
    """Return a task with given data instead of those on the hub, which keeps its scores."""
    import mteb
    from datasets import Dataset

    task = mteb.get_task(request["task"])
    task.dataset = {
        "default": {
            "test": {
                "corpus": Dataset.from_list(request["corpus"]),
                "queries": Dataset.from_list(request["queries"]),
                "relevant_docs": request["qrels"],
                "top_ranked": None,
            }
        }
    }
    task.data_loaded = True
    task.kept = {}

    def keep(scores: Any, *_: object, **__: object) -> dict[str, float]:
        task.kept = scores
        return {}

    task.task_specific_scores = keep
    return task


def figures(request: dict[str, Any]) -> dict[str, Any]:
    """Return the values of each query: of retrieval by an embedder, and of reranking its best."""
    from mteb.models import CrossEncoderWrapper, SentenceTransformerEncoderWrapper
    from sentence_transformers import CrossEncoder, SentenceTransformer

    task = task_of(request)
    embedder = SentenceTransformerEncoderWrapper(
        SentenceTransformer(request["embedder"], device="cpu")
    )
    with tempfile.TemporaryDirectory() as folder:
        how: dict[str, Any] = {"subsets_to_run": ["default"], "encode_kwargs": {}}
        task.evaluate(embedder, "test", prediction_folder=Path(folder), **how)
        retrieved = task.kept
        again = task_of(request)
        again.convert_to_reranking(Path(folder), top_k=request["depth"])
        reranker = CrossEncoderWrapper(CrossEncoder(request["reranker"], device="cpu"))
        again.evaluate(reranker, "test", **how)
    return {"retrieved": retrieved, "reranked": again.kept}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    answer: Any
    match asked["about"]:
        case "facts":
            answer = facts(asked["names"])
        case "benchmark":
            answer = benchmark(asked["name"])
        case _:
            answer = figures(asked)
    sys.stdout.write(json.dumps(answer) + "\n")
