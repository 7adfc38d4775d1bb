"""A text is encoded once for all queries, by rerankers that do not read it with a query."""

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ettin_cli.evaluation import sweep
from ettin_cli.evaluation.metrics import parse_metrics
from ettin_cli.evaluation.sweep import Sweep, run_sweep
from ettin_cli.index.reader import Index
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.multi_vector.encoding import OnnxTokenEncoder
from ettin_cli.models.rerankers import score_cache
from ettin_cli.models.rerankers.embedded import EmbeddedTokens
from ettin_cli.models.rerankers.maxsim import TextSink
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker
from ettin_cli.models.rerankers.score_cache import CachedReranker
from ettin_cli.records import (
    Advance,
    Note,
    Pair,
    Query,
    Reranker,
    RerankerCard,
    Scores,
    Share,
    Silence,
    no_progress,
)
from ettin_cli.searching import answering, gathering
from ettin_cli.searching.answering import search
from ettin_cli.searching.cascade import Step
from ettin_cli.searching.gathering import Wanted, gathered
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.retrievers import DenseRetriever, LexicalRetriever, Retriever
from ettin_cli.training.mining import MiningOptions, mine
from ettin_cli.training.positives import judged
from tests.conftest import Ettin
from tests.indexes import Builder, WordEmbedder, jsonl
from tests.models import ettin as write_cross_encoder
from tests.multi_vectors import multi_vector

TEXTS = {
    "nine": "The ferry sails at nine.",
    "noon": "Another ferry sails at noon.",
    "fares": "A ferry ticket costs four coins.",
    "bread": "Knead the dough for ten minutes.",
    "dogs": "Dogs travel free on board.",
}


class Encoded:
    """Counts the texts and the calls that reach the encoders."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: Counter[str] = Counter()
        self.calls = 0
        for encoder in (EmbeddedTokens, OnnxTokenEncoder):
            monkeypatch.setattr(encoder, "texts", self._counting(encoder.texts))

    def _counting(self, texts: Any) -> Any:
        def counting(encoder: Any, some: Sequence[str], sink: TextSink) -> Any:
            self.texts.update(some)
            self.calls += 1
            return texts(encoder, some, sink)

        return counting

    def each(self, times: int) -> bool:
        """Return whether every text was encoded so often, and forget what was."""
        expected = dict.fromkeys(TEXTS.values(), times)
        found, self.texts, self.calls = self.texts, Counter(), 0
        return found == expected


@pytest.fixture
def encoded(ettin: Ettin) -> Encoded:
    return Encoded(ettin.monkeypatch)


@pytest.fixture
def many(ettin: Ettin, tmp_path: Path) -> list[str]:
    """An index in `i`, 140 queries and judgements of them; the words that name the files."""
    source = str(jsonl(tmp_path / "t.jsonl", **TEXTS))
    assert ettin("index", source, "-i", "i", "--token-vectors", "none").code == 0
    words = [*" ".join(TEXTS.values()).split()]
    asked = [f"{words[n % len(words)]} {words[n * 7 % len(words)]} {n}" for n in range(140)]
    (tmp_path / "q.tsv").write_text("".join(f"q{n}\t{text}\n" for n, text in enumerate(asked)))
    judged = [f"q{n} 0 {list(TEXTS)[n % len(TEXTS)]} 1\n" for n in range(140)]
    (tmp_path / "qrels").write_text("".join(judged))
    return ["--queries", "q.tsv", "--qrels", "qrels"]


def scores_of(lines: str) -> dict[str, dict[str, float]]:
    """Return the scores in answers as JSON lines, by query and document."""
    rows = map(json.loads, lines.splitlines())
    return {row["query"]: {hit["doc_id"]: hit["score"] for hit in row["hits"]} for row in rows}


# A search


@pytest.mark.parametrize("model", ["embedded", "multi"])
def test_a_file_of_queries_encodes_a_passage_once(
    ettin: Ettin, encoded: Encoded, many: list[str], tmp_path: Path, model: str
) -> None:
    name = model
    if model == "multi":
        (tmp_path / "multi").mkdir()
        name = str(multi_vector(tmp_path / "multi"))
    words = ["search", "-i", "i", "-r", name, "--retriever", "dense", "--blend", "0"]
    words += ["--format", "jsonl"]
    shown = ettin(*words, "--queries", "q.tsv")
    assert shown.code == 0
    assert encoded.each(1)
    assert ettin(*words, "--queries", "q.tsv", "-o", "out.jsonl").code == 0
    assert encoded.each(1)
    together = scores_of(shown.out)
    assert len(together) == 140
    assert scores_of((tmp_path / "out.jsonl").read_text()) == together
    for query in list(together)[::69]:
        alone = scores_of(ettin(*words, query).out)
        assert alone == {query: together[query]}


def test_a_stream_of_queries_is_answered_while_it_is_read(
    ettin: Ettin, encoded: Encoded, many: list[str], tmp_path: Path
) -> None:
    piped = io.TextIOWrapper(io.BytesIO((tmp_path / "q.tsv").read_bytes()))
    ettin.monkeypatch.setattr("sys.stdin", piped)
    words = ["search", "-i", "i", "-r", "embedded", "--retriever", "dense", "--format", "jsonl"]
    assert ettin(*words, "--queries", "-").code == 0
    # 140 queries, 64 at a time.
    assert encoded.each(3)


class Late:
    """Scores by the length of a text; records the pairs of each call.

    Args:
        reads_pairs: What its card says.
    """

    def __init__(self, *, reads_pairs: bool = False) -> None:
        self.card = RerankerCard("late", "words", 64, reads_pairs)
        self.calls: list[list[Pair]] = []

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        self.calls.append(list(pairs))
        advance(len(pairs))
        values = [float(len(text)) for _, text in pairs]
        return Scores(np.array(values, np.float32), np.zeros(len(pairs), np.bool_))

    def timed(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Any:
        return self.score(pairs, advance), np.ones(len(pairs), np.float32)


@pytest.fixture
def index(build: Builder, tmp_path: Path) -> Index:
    rows = {f"d{n:02}": f"word{n} in row {n}" for n in range(40)}
    build(tmp_path / "i", jsonl(tmp_path / "t.jsonl", **rows))
    return Index(tmp_path / "i")


def searched(index: Index, reranker: Late, *before: Step[Any], candidates: int = 40) -> list[Any]:
    queries = [Query(str(n), f"word{n % 40} row") for n in range(130)]
    retriever = DenseRetriever(index, WordEmbedder(index.manifest.embedder))
    options = SearchOptions(candidates=candidates)
    return list(search(index, queries, retriever, reranker, options, Silence(), None, before))


def test_a_reranker_of_pairs_gets_64_queries_at_a_time(index: Index) -> None:
    pairs, late = Late(reads_pairs=True), Late()
    answers = searched(index, pairs)
    assert [len(call) // 40 for call in pairs.calls] == [64, 64, 2]
    gathered_answers = searched(index, late)
    assert [len(call) // 40 for call in late.calls] == [130]
    assert late.calls[0] == [pair for call in pairs.calls for pair in call]
    assert [replace(one, seconds={}) for one in gathered_answers] == [
        replace(one, seconds={}) for one in answers
    ]
    for one in gathered_answers:
        assert list(one.seconds) == ["embed", "retrieve", "rerank", "total"]


@pytest.mark.parametrize(
    ("first", "last", "calls"),
    [
        (False, True, ([130], [64, 64, 2])),
        (False, False, ([130], [130])),
        (True, False, ([64, 64, 2], [64, 64, 2])),
    ],
)
def test_a_cascade_gathers_up_to_its_first_reranker_of_pairs(
    index: Index, first: bool, last: bool, calls: tuple[list[int], list[int]]
) -> None:
    one, other = Late(reads_pairs=first), Late(reads_pairs=last)
    answers = searched(index, other, Step(one, 10))
    assert [len(call) // 40 for call in one.calls] == calls[0]
    assert [len(call) // 10 for call in other.calls] == calls[1]
    assert len(answers) == 130
    for answer in answers:
        assert [(stage.scored, stage.kept) for stage in answer.stages] == [(40, 10), (10, 10)]
        lengths = [len(hit.passage.text) for hit in answer.hits]
        assert lengths == sorted(lengths)[::-1]
    assert [answer.query.query_id for answer in answers] == [str(n) for n in range(130)]


def test_a_window_has_no_more_texts_than_its_bound(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "WINDOW", 2)
    monkeypatch.setattr(gathering, "MOST_TEXTS", 12)
    late = Late()
    answers = searched(index, late, candidates=3)
    assert [answer.query.query_id for answer in answers] == [str(n) for n in range(130)]
    texts = [{text for _, text in call} for call in late.calls]
    assert max(map(len, texts)) <= 12
    # Each window is as large as it can be: the next two queries would not have fitted.
    for before, call in zip(texts, late.calls[1:], strict=False):
        assert len(before | {text for _, text in call[:6]}) > 12


# Windows


def numbered(window: Sequence[tuple[str, list[int]]]) -> list[int]:
    return [texts[0] for _, texts in window]


def test_blocks_are_gathered_up_to_each_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def windows(blocks: list[list[tuple[str, list[int]]]]) -> list[list[int]]:
        return [numbered(one) for one in gathered(blocks, lambda item: Wanted(*item))]

    blocks = [[("ab", [n, n + 1])] for n in range(9)]
    assert windows(blocks) == [list(range(9))]
    monkeypatch.setattr(gathering, "MOST_TEXTS", 4)
    assert windows(blocks) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert windows([[("", [n]) for n in range(6)], [("", [7])]]) == [list(range(6)), [7]]
    # Texts that are there already cost nothing.
    assert windows([[("", [0, 1])], [("", [0, 1, 2])], [("", [2, 0])]]) == [[0, 0, 2]]
    monkeypatch.setattr(gathering, "MOST_PAIRS", 3)
    assert windows([[("", [0])]] * 7) == [[0] * 3, [0] * 3, [0]]
    monkeypatch.setattr(gathering, "MOST_CHARACTERS", 5)
    assert windows([[("abc", [0])], [("de", [0])], [("f", [0])]]) == [[0, 0], [0]]
    assert windows([]) == []


# An evaluation


def test_an_evaluation_encodes_a_passage_once(
    ettin: Ettin, encoded: Encoded, many: list[str]
) -> None:
    ettin.monkeypatch.setattr(sweep, "WINDOW", 50)
    # Texts that are saved at once, each with the pairs of all queries.
    ettin.monkeypatch.setattr(score_cache, "CHUNK", 2)
    words = ["eval", "-i", "i", *many, "-r", "embedded", "--format", "json"]
    words += ["--retriever", "dense", "--retriever", "bm25", "--candidates", "2,100"]
    first = ettin(*words)
    assert first.code == 0, first.err
    # Five texts, two at a time.
    assert encoded.calls == 3
    assert encoded.each(1)
    again = ettin(*words)
    assert encoded.calls == 0
    assert without_times(json.loads(again.out)) == without_times(json.loads(first.out))


def without_times(value: Any) -> Any:
    """Return JSON without the fields that say how long something took."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if "second" not in k}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def cached(late: Late, monkeypatch: pytest.MonkeyPatch, folder: Path) -> CachedReranker:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(folder / "cache"))
    resolved = find_reranker("embedded", offline=True, reporter=Silence())
    monkeypatch.setattr(resolved, "reads_pairs", late.card.reads_pairs, raising=False)
    return CachedReranker(resolved, EngineSettings(device="cpu"), lambda: late, Silence())


@pytest.mark.parametrize(("reads_pairs", "sizes"), [(False, [60, 60, 30]), (True, [64, 64, 22])])
def test_scores_are_saved_between_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads_pairs: bool, sizes: list[int]
) -> None:
    monkeypatch.setattr(score_cache, "CHUNK", 64 if reads_pairs else 2)
    late = Late(reads_pairs=reads_pairs)
    asked = [(f"query {n % 30}", "text " * (1 + n // 30)) for n in range(150)]
    scores = cached(late, monkeypatch, tmp_path).score(asked[::-1])
    assert scores.values.tolist() == [float(len(text)) for _, text in asked[::-1]]
    assert [len(call) for call in late.calls] == sizes
    if not reads_pairs:
        apart = [{text for _, text in call} for call in late.calls]
        assert sum(map(len, apart)) == len(set.union(*apart)) == 5


def test_an_interruption_loses_the_last_texts_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Late):
        def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().score(pairs, advance)

    monkeypatch.setattr(score_cache, "CHUNK", 2)
    asked = [(f"query {n % 30}", "text " * (1 + n // 30)) for n in range(150)]
    with pytest.raises(KeyboardInterrupt):
        cached(Interrupted(), monkeypatch, tmp_path).score(asked)
    late = Late()
    cached(late, monkeypatch, tmp_path).score(asked)
    assert [pair for call in late.calls for pair in call] == asked[120:]


# Mining, and progress


class Slow(Late):
    """Advances in four steps."""

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        for step in range(4):
            advance(len(pairs[step::4]))
        return super().score(pairs)


class Shares(Silence):
    """Records the share of the work that is done, after each step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @contextmanager
    def track(
        self,
        label: str,
        total: int | None,
        unit: str,
        share: Share | None = None,
        note: Note | None = None,
    ) -> Iterator[Advance]:
        def advance(_: int) -> None:
            assert share is not None
            self.seen.append(share() or 0.0)

        yield advance


def test_mining_encodes_a_passage_once(
    ettin: Ettin, encoded: Encoded, many: list[str], tmp_path: Path
) -> None:
    words = ["mine", "-i", "i", *many, "--max-score-ratio", "0.9", "--retriever", "dense"]
    assert ettin(*words, "-r", "embedded", "-o", "m.jsonl").code == 0
    assert encoded.each(1)
    ettin.monkeypatch.setattr(gathering, "MOST_TEXTS", 1)
    assert ettin(*words, "-r", "embedded", "-o", "few.jsonl").code == 0
    # 140 queries, 32 at a time.
    assert encoded.each(5)
    assert (tmp_path / "few.jsonl").read_bytes() == (tmp_path / "m.jsonl").read_bytes()


def test_the_progress_of_mining_moves_within_a_window(index: Index) -> None:
    queries = [Query(str(n), f"word{n}") for n in range(40)]
    qrels = {str(n): {f"d{n:02}": 1} for n in range(40)}
    retriever = DenseRetriever(index, WordEmbedder(index.manifest.embedder))
    sought = judged(index, queries, qrels)
    shares = Shares()
    list(mine(index, sought, 40, retriever, Slow(), MiningOptions(), shares))
    assert shares.seen[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.01)


@pytest.mark.parametrize("reads_pairs", [False, True])
def test_the_progress_of_an_evaluation_only_grows(index: Index, reads_pairs: bool) -> None:
    queries = [Query(str(n), f"word{n % 40} row") for n in range(300)]
    qrels = {str(n): {f"d{n % 40:02}": 1} for n in range(300)}
    retrievers: dict[str, Retriever] = {
        "dense": DenseRetriever(index, WordEmbedder(index.manifest.embedder)),
        "bm25": LexicalRetriever(index),
    }
    slow = {name: Slow(reads_pairs=reads_pairs) for name in ("one", "two")}
    metrics = parse_metrics("nDCG@10")
    tried = Sweep(retrievers, slow, [5, 20], [0.0], metrics, {"two": [Step(Slow(), 10)]})
    shares = Shares()
    run_sweep(index, queries, qrels, tried, shares)
    assert sorted(shares.seen) == shares.seen
    assert shares.seen[0] < 0.2
    # Nothing is left of the last retriever, whose pairs the first one had.
    assert 0.7 < shares.seen[-1] <= 1
    gaps = [after - before for before, after in pairwise(shares.seen)]
    assert max(gaps) < 0.3


# Which rerankers


def test_a_card_says_whether_pairs_are_read(ettin: Ettin, tmp_path: Path) -> None:
    folders = tmp_path / "cross", tmp_path / "multi"
    for folder in folders:
        folder.mkdir()
    cross, multi = write_cross_encoder(folders[0]), multi_vector(folders[1])
    settings = EngineSettings(device="cpu")
    for name, expected in (("embedded", False), (str(multi), False), (str(cross), True)):
        resolved = find_reranker(name, offline=True, reporter=Silence())
        loaded = load_reranker(resolved, settings, Silence())
        assert loaded.card.reads_pairs == expected
        assert (
            CachedReranker(resolved, settings, partial(same, loaded), Silence()).card == loaded.card
        )


def same(reranker: Reranker) -> Reranker:
    return reranker
