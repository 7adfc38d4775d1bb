"""Compute, fork, and compute again in the child, as servers and data loaders do.

    python -m tests.forking CASE FOLDER

Writes a JSON line for the parent and one for its child, which exits like any Python process.
"""

import json
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ettin_cli.corpus.pdf import pdf_document
from ettin_cli.index.factories import build as write_faiss
from ettin_cli.index.reader import Index
from ettin_cli.index.vectors import nearest, open_index
from ettin_cli.models.embedders import load_embedder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.cross_encoder import load_cross_encoder
from ettin_cli.records import Silence
from tests.indexes import unit_vectors
from tests.models import TEXTS
from tests.replay import run

Work = Callable[[], Any]
PAIRS = [(query, text) for query in TEXTS for text in TEXTS]


def retrieve(folder: Path) -> Work:
    """Search an index that was opened once, with more queries than FAISS has threads."""
    index = Index(folder / "i")
    queries = unit_vectors(64, dimension=index.manifest.embedder.dimension)
    return lambda: [(rows.tolist(), scores.tolist()) for rows, scores in index.retrieve(queries, 5)]


def retrieve_in_threads(folder: Path) -> Work:
    """Search in threads, as a server's worker does."""
    work = retrieve(folder)

    def compute() -> Any:
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(work())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    return compute


def search(folder: Path) -> Work:
    """Search with a command line: terms, vectors and a reranker."""

    def compute() -> Any:
        words = ["ferry 3", "-i", str(folder / "i"), "-r", "embedded", "-k", "5", "-f", "jsonl"]
        code, said = run("search", *words, "-q")
        assert code == 0, said
        return [(hit["doc_id"], hit["score"]) for hit in json.loads(said.splitlines()[0])["hits"]]

    return compute


def build(folder: Path) -> Work:
    """Build an index with a command line."""

    def compute() -> Any:
        target = tempfile.mkdtemp(dir=folder)
        code, said = run("index", str(folder / "docs"), "-i", f"{target}/i")
        assert code == 0, said
        return np.array(Index(Path(target, "i")).vectors).tolist()

    return compute


def factory(name: str) -> Callable[[Path], Work]:
    """Return a case that trains, fills and searches a FAISS index."""

    def case(folder: Path) -> Work:
        def compute() -> Any:
            path = Path(tempfile.mkdtemp(dir=folder), "vectors.faiss")
            index = open_index(path, write_faiss(unit_vectors(2000), name, path)[1])
            return [len(rows) for rows in nearest(index, unit_vectors(64), 5)]

        return compute

    return case


def embed(folder: Path) -> Work:
    """Embed with a model that was loaded once."""
    model = folder / "embedder"
    embedder = load_embedder(ModelFiles(str(model), model), EngineSettings(), Silence())
    return lambda: embedder.embed_documents(TEXTS * 40).tolist()


def rerank(engine: str) -> Callable[[Path], Work]:
    """Return a case that reranks with a model that was loaded once.

    A few pairs are computed by all threads together, many by one thread each.
    """

    def case(folder: Path) -> Work:
        settings = EngineSettings("cpu", threads=2, engine=engine, batch_size=4)
        model = load_cross_encoder(folder / "reranker", settings, Silence())
        return lambda: [model.score(PAIRS[:2])[0].tolist(), model.score(PAIRS * 4)[0].tolist()]

    return case


def rerank_by_torch(folder: Path) -> Work:
    """Rerank with a model that was loaded once, and with one loaded after torch has computed."""
    work = rerank("torch")(folder)
    return lambda: [work(), rerank("torch")(folder)()]


def read_pdf(folder: Path) -> Work:
    """Read a PDF in its separate process, which the child does not share."""
    return lambda: pdf_document(folder / "a.pdf", "a").text


CASES: dict[str, Callable[[Path], Work]] = {
    "retrieve": retrieve,
    "retrieve in threads": retrieve_in_threads,
    "search": search,
    "build": build,
    "train SQfp16": factory("SQfp16"),
    "train IVF": factory("IVF16,Flat"),
    "train HNSW": factory("HNSW16"),
    "embed": embed,
    "rerank by onnxruntime": rerank("onnxruntime"),
    "rerank by openvino": rerank("openvino"),
    "rerank by torch": rerank_by_torch,
    "read a PDF": read_pdf,
}


def main() -> None:
    """Run a case in this process and in two children, one of which only exits."""
    work = CASES[sys.argv[1]](Path(sys.argv[2]))
    say(work())
    for idle in (True, False):
        if idle and "torch" in sys.argv[1] and waits_for_torchs_threads():
            continue
        child = os.fork()
        if not child:
            if not idle:
                say(work())
            sys.exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == 0, f"the child ended with {code}"
    say(work())


def waits_for_torchs_threads() -> bool:
    """Return whether torch waits, at a child's exit, for threads that only its parent has.

    Its pool of threads is freed at the exit of a child that never used torch, and glibc waits
    for them forever from version 2.43 on.
    """
    name, version = platform.libc_ver()
    return name == "glibc" and tuple(map(int, version.split("."))) >= (2, 43)


def say(found: object) -> None:
    """Write a result."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
