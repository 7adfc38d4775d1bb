"""`ettin eval` measures what `ettin search` answers, to the last byte of a run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ettin_cli.files.queries import read_queries
from ettin_cli.files.writers.registry import write_answers
from ettin_cli.index.reader import Index
from ettin_cli.indexing.building import build_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.models.embedders import find_embedder, load_embedder
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import EMBEDDED
from ettin_cli.models.rerankers.long_texts import with_long_texts
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.records import (
    Advance,
    Embedder,
    Reranker,
    Scores,
    Silence,
    no_progress,
)
from ettin_cli.searching.answering import search
from ettin_cli.searching.cascade import Step
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.retrievers import (
    DenseRetriever,
    HybridRetriever,
    LexicalRetriever,
    Retriever,
)
from tests.conftest import Ettin

if TYPE_CHECKING:
    from ettin_cli.records import Floats

ENGINE = EngineSettings(device="cpu", max_length=24)
TOP_K = 30
CANDIDATES, BLENDS = (5, 20), (0.0, 0.3)
RETRIEVERS, FOLDS, UNITS = (
    ("dense", "bm25", "hybrid"),
    ("same", "near", "none"),
    ("document", "passage"),
)
LONG, RERANKERS = ("truncate", "max"), ("embedded", "embedded:8,embedded")
SUBJECTS = ("ferry", "bakery", "harbour", "choir", "beehive")
ASKED = SUBJECTS[:3]
SENTENCES = (
    "The {} opens at nine and closes at six, on Sundays at noon.",
    "Tickets for the {} are sold at the gate, children go free.",
    "Dogs may come along to the {} if they are kept on a lead.",
    "In winter the {} is looked after by volunteers from the village.",
    "Nobody knows who founded the {}, but the records begin in 1784.",
    "The {} was repaired twice last year, after the storm and after the flood.",
)


@dataclass(frozen=True, slots=True)
class Combination:
    """The options that both commands share."""

    retriever: str
    expand: bool
    reranker: str
    candidates: int
    blend: float
    fold: str
    by: str
    long: str

    @property
    def file(self) -> str:
        """The name of its run among those that eval writes."""
        name = f"{self.retriever}{'-expanded' if self.expand else ''}-with-"
        name += self.reranker.replace(":", "-").replace(",", "-")
        blend = f"-blend-{self.blend:g}" if self.blend else ""
        return f"{name}-{self.candidates}-candidates{blend}.trec"


def combinations(fold: str, by: str, long: str) -> list[Combination]:
    """Return everything that one sweep measures."""
    axes = product(RETRIEVERS, (False, True), RERANKERS, CANDIDATES, BLENDS)
    return [Combination(*axis, fold, by, long) for axis in axes]


SWEEPS = list(product(FOLDS, UNITS, LONG))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an index of copies, near copies and documents of many passages, and its queries."""
    folder = tmp_path_factory.mktemp("one")
    documents = []
    for number, subject in enumerate(SUBJECTS):
        text = "\n\n".join(sentence.format(subject) for sentence in SENTENCES)
        documents += [
            (f"{subject}/long", "\n\n".join([text, text.replace(subject, SUBJECTS[number - 1])])),
            (f"{subject}/copy", SENTENCES[0].format(subject)),
            (f"{subject}/again", SENTENCES[0].format(subject)),
            (f"{subject}/near", SENTENCES[0].format(subject).replace("noon", "one")),
            (f"{subject} other", f"{SENTENCES[number].format(subject)} Ask for the {number} keys."),
        ]
    rows = [{"_id": doc_id, "text": text} for doc_id, text in documents]
    write(folder / "corpus.jsonl", rows)
    asked = "when does the {} open, and may dogs come?"
    queries = [{"_id": f"q {subject}", "text": asked.format(subject)} for subject in ASKED]
    write(folder / "queries.jsonl", queries)
    judged = [f"q%20{subject}\t{subject}/long\t1" for subject in ASKED]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETTIN_CACHE_DIR", str(folder / "cache"))
        request = BuildRequest(
            folder / "index", [str(folder / "corpus.jsonl")], offline=True, settings=ENGINE
        )
        build_index(request, Silence())
    return folder


def write(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def index(folder: Path) -> Index:
    return Index(folder / "index")


class RememberingEmbedder:
    """Embeds each batch of queries once."""

    def __init__(self, embedder: Embedder) -> None:
        self.card, self.backend = embedder.card, embedder.backend
        self.embed_documents = embedder.embed_documents
        self.embed = cache(embedder.embed_queries)

    def embed_queries(self, texts: Sequence[str]) -> "Floats":
        return self.embed(tuple(texts))


@cache
def embedder(index: Index) -> Embedder:
    files = find_embedder("auto", offline=True, reporter=Silence())
    return RememberingEmbedder(load_embedder(files, ENGINE, Silence(), index.manifest.embedder))


@cache
def retriever(index: Index, name: str, expand: bool) -> Retriever:
    if name == "bm25":
        return LexicalRetriever(index, expand=expand)
    kind = DenseRetriever if name == "dense" else HybridRetriever
    return kind(index, embedder(index), expand=expand)


class Remembering:
    """Scores each pair separately, so that its score does not depend on the batch."""

    def __init__(self, reranker: Reranker) -> None:
        self.reranker = reranker
        self.card = reranker.card
        self.known: dict[tuple[str, str], tuple[float, bool]] = {}

    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        for pair in pairs:
            if pair not in self.known:
                alone = self.reranker.score([pair])
                self.known[pair] = alone.values.item(), alone.truncated.item()
        values, truncated = zip(*map(self.known.__getitem__, pairs), strict=True)
        return Scores(np.array(values, np.float32), np.array(truncated, np.bool_))


@cache
def reranker(long: str) -> Reranker:
    files = find_reranker(EMBEDDED, offline=True, reporter=Silence())
    loaded = load_reranker(files, ENGINE, Silence())
    return Remembering(with_long_texts(loaded, files, long, Silence()))


def searched(index: Index, folder: Path, one: Combination) -> bytes:
    options = SearchOptions(TOP_K, one.candidates, one.by, blend=one.blend, fold=one.fold)
    before = [Step(reranker(one.long), 8)] if ":" in one.reranker else []
    answers = search(
        index,
        list(read_queries(folder / "queries.jsonl")),
        retriever(index, one.retriever, one.expand),
        reranker(one.long),
        options,
        Silence(),
        None,
        before,
    )
    file = BytesIO()
    write_answers(answers, "trec", file, many=True)
    return file.getvalue()


@pytest.mark.parametrize(("fold", "by", "long"), SWEEPS)
def test_the_run_that_eval_writes_is_that_of_a_search(
    ettin: Ettin, folder: Path, index: Index, tmp_path: Path, fold: str, by: str, long: str
) -> None:
    # Sweeps share the scores that they keep.
    ettin.monkeypatch.setenv("ETTIN_CACHE_DIR", str(folder / "cache"))
    common = ["-i", str(folder / "index"), "--queries", str(folder / "queries.jsonl")]
    common += ["--fold", fold, "--by", by, "--long", long, "--max-length", "24"]
    words = [word for name in RETRIEVERS for word in ("--retriever", name)]
    words += [word for name in RERANKERS for word in ("-r", name)]
    done = ettin(
        *("eval", *common, "--qrels", str(folder / "qrels.tsv"), *words, "--expand"),
        *("-c", "5,20", "--blend", "0,0.3", "--metrics", f"nDCG@10,R@{TOP_K}", "-o", "measured"),
    )
    assert done.code == 0, done.err
    every = combinations(fold, by, long)
    runs = {one: (tmp_path / "measured" / "runs" / one.file).read_bytes() for one in every}
    assert len(set(runs.values())) > len(every) / 4
    for one, run in runs.items():
        assert searched(index, folder, one).decode().splitlines() == run.decode().splitlines(), one
    # And one of them on the command line.
    one = every[SWEEPS.index((fold, by, long)) * 5 % len(every)]
    words = ["--retriever", one.retriever, "-r", one.reranker, "-c", str(one.candidates)]
    words += ["--blend", str(one.blend), *(["--expand"] if one.expand else [])]
    assert (
        ettin("search", *common, *words, "-k", str(TOP_K), "-f", "trec").out.encode() == runs[one]
    )


def test_retrieval_alone_is_a_search_without_a_reranker(
    ettin: Ettin, folder: Path, tmp_path: Path
) -> None:
    common = ["-i", str(folder / "index"), "--queries", str(folder / "queries.jsonl")]
    qrels = str(folder / "qrels.tsv")
    ettin("eval", *common, "--qrels", qrels, "-r", "none", "-c", "5", "-o", "measured")
    run = (tmp_path / "measured" / "runs" / "none.trec").read_text()
    assert ettin("search", *common, "-r", "none", "-c", "5", "-k", "100", "-f", "trec").out == run
