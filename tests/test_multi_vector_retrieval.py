"""Retrieval by late interaction: the passages with the highest MaxSim of a whole index."""

import json
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ettin_cli.errors import IndexDamagedError, IndexMismatchError, InvalidArgumentError
from ettin_cli.index import writer
from ettin_cli.index.manifest import read_manifest
from ettin_cli.index.reader import Index
from ettin_cli.index.source_files import FileEntry
from ettin_cli.index.token_codes import TokenCodec
from ettin_cli.index.token_lists import TOKEN_CENTROIDS, TOKEN_LISTS, TOKEN_ROWS, TokenLists
from ettin_cli.index.writer import BuildRecipe, Generation
from ettin_cli.models.rerankers import QueryVectors
from ettin_cli.records import (
    Advance,
    EmbedderCard,
    Passage,
    Silence,
    TextTokens,
    TokenSink,
    no_progress,
)
from ettin_cli.searching.multi_vector import MultiVectorRetriever, TokenNearness
from ettin_cli.searching.retrievers import HybridRetriever, LexicalRetriever, Retriever
from ettin_cli.searching.searcher import choose_retriever
from tests.conftest import Ettin
from tests.indexes import unit_vectors
from tests.models import embedder as plain_embedder
from tests.multi_vectors import multi_vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ettin_cli.records import Flags, Floats

DIMENSION = 16
CARD = EmbedderCard("words", None, "f" * 64, DIMENSION, 64)
CODEC = TokenCodec(DIMENSION, 4)
RECIPE = BuildRecipe(CARD, "auto", 0, "auto", tokens=CODEC, token_lists=True)
LISTS = (TOKEN_CENTROIDS, TOKEN_LISTS, TOKEN_ROWS)


@cache
def word_vector(word: str) -> "Floats":
    """Return a unit vector of a word; words that begin alike are alike."""
    seeds = zlib.crc32(word[:2].encode()), zlib.crc32(word.encode())
    vector = sum(
        s * unit_vectors(1, DIMENSION, seed)[0] for s, seed in zip((2, 1), seeds, strict=True)
    )
    unit: Floats = np.asarray(vector / np.linalg.norm(vector), np.float32)
    return unit


def tokens_of(text: str) -> "Floats":
    """Return a vector per word; "-" is not compared."""
    vectors = [word_vector(word) for word in text.split() if word != "-"]
    return np.array(vectors, np.float32).reshape(len(vectors), DIMENSION)


@cache
def stored_tokens(text: str) -> "Floats":
    """Return the vectors of a text as they are after compression."""
    return CODEC.decoded(CODEC.encoded(tokens_of(text)))


class WordTokens:
    """A multi-vector embedder whose tokens are words."""

    backend = "words"
    card = CARD

    def query_tokens(self, queries: Sequence[str]) -> list[QueryVectors]:
        made = map(tokens_of, queries)
        return [QueryVectors(tokens, np.ones(len(tokens), np.float32)) for tokens in made]

    def embed_queries(self, texts: Sequence[str]) -> "Floats":
        return self.embed_documents(texts)

    def embed_documents(self, texts: Sequence[str], advance: Advance = no_progress) -> "Floats":
        return self.embed_tokens(texts, lambda at, text: None, advance)[0]

    def embed_tokens(
        self, texts: Sequence[str], sink: TokenSink, advance: Advance = no_progress
    ) -> tuple["Floats", "Flags"]:
        pooled = np.zeros((len(texts), DIMENSION), np.float32)
        for at, text in enumerate(texts):
            tokens = tokens_of(text)
            pooled[at] = tokens.sum(axis=0) / max(1, np.linalg.norm(tokens.sum(axis=0)))
            sink(at, TextTokens(tokens))
            advance(1)
        return pooled, np.zeros(len(texts), np.bool_)


def made(folder: Path, texts: Sequence[str], old: Index | None = None) -> Index:
    """Write an index of these passages."""
    generation = Generation(folder, RECIPE, old)
    for number, text in enumerate(texts):
        generation.passages.add(Passage(f"d{number}", text), 0)
    missing = generation.missing()
    missing.embed_tokens(WordTokens().embed_tokens)
    missing.finish()
    missing.write_lists()
    entry = FileEntry(0, "a", "a", 1, 1, "x", passages=len(texts))
    generation.commit([entry], (), len(texts))
    return Index(folder)


def drawn(count: int, seed: int = 3, words: int = 20) -> list[str]:
    """Return texts of words that are drawn by Zipf's law."""
    rng = np.random.default_rng(seed)
    known = [f"{a}{b}{c}" for a in "abcdefgh" for b in "aeiou" for c in "klmnprst"]
    likely = 1 / (np.arange(len(known)) + 3)
    lengths = rng.integers(words // 2, words, count)
    return [" ".join(rng.choice(known, n, p=likely / likely.sum())) for n in lengths]


def exhaustive(texts: Sequence[str], forms: Sequence[str]) -> "NDArray[np.float64]":
    """Return the MaxSim of each text's compressed token vectors, the mean over the forms."""
    scores = np.zeros(len(texts))
    for form in forms:
        query = CODEC.rotated(tokens_of(form))
        for at, text in enumerate(texts):
            if len(query) and len(stored_tokens(text)):
                scores[at] += (query @ stored_tokens(text).T).max(axis=1).sum() / len(forms)
    return scores


def retrieved(
    retriever: Retriever, forms: Sequence[str], depth: int, among: Sequence[int] | None = None
) -> tuple[list[int], list[float]]:
    [one] = retriever.searches([forms])
    found = one(depth, None if among is None else np.array(among, np.int64))
    return found.rows.tolist(), found.scores.tolist()


def bytes_of(index: Index) -> list[bytes]:
    return [(index.generation / name).read_bytes() for name in LISTS]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Index]:
    """Return 2,000 passages, some of them equal, and their index."""
    texts = drawn(1900)
    texts += texts[:100]
    return texts, made(tmp_path_factory.mktemp("many"), texts)


# What is found


@pytest.mark.parametrize("forms", [["aak baz cor"], ["aak", "hus hut"], ["-"], ["-", "gal"]])
@pytest.mark.parametrize("among", [None, range(0, 90, 2), [7], []])
def test_a_small_index_is_searched_exhaustively(
    tmp_path: Path, forms: list[str], among: Sequence[int] | None
) -> None:
    texts = [*drawn(88), "-", "- -"]
    texts[40] = texts[3]
    retriever = MultiVectorRetriever(made(tmp_path, texts), WordTokens())
    scores = exhaustive(texts, forms)
    chosen = range(len(texts)) if among is None else among
    expected = sorted(chosen, key=lambda row: (-np.float32(scores[row]), row))
    for depth in (5, 200):
        rows, found = retrieved(retriever, forms, depth, among)
        assert found == pytest.approx([scores[row] for row in expected[:depth]], abs=1e-5)
        assert [scores[row] for row in rows] == pytest.approx(found, abs=1e-5)
        assert len(set(rows)) == len(rows)
        # Equal scores are in the order of the corpus.
        assert [(-score, row) for score, row in zip(found, rows, strict=True)] == sorted(
            (-score, row) for score, row in zip(found, rows, strict=True)
        )
    if forms == ["-"]:
        assert rows == list(chosen)
    elif among is None:
        assert found[rows.index(40)] == found[rows.index(3)]
        # The last have no token to compare.
        assert rows[-2:] == [88, 89]


@pytest.mark.parametrize("among", [None, range(0, 2000, 3), range(100, 140)])
def test_lists_lead_to_the_best_of_a_large_index(
    many: tuple[list[str], Index], among: range | None
) -> None:
    texts, index = many
    retriever = MultiVectorRetriever(index, WordTokens())
    chosen = np.arange(len(texts)) if among is None else np.array(among)
    hits = []
    for query in drawn(8, seed=9, words=8):
        scores = exhaustive(texts, [query])
        best = chosen[np.lexsort((chosen, -np.float32(scores[chosen])))][:100]
        rows, found = retrieved(retriever, [query], 100, among)
        assert found == pytest.approx([scores[row] for row in rows], abs=1e-5)
        assert found == sorted(found, reverse=True)
        assert set(rows) <= set(chosen.tolist())
        # Equal texts may take each other's place.
        hits.append(np.mean(np.array(found) >= scores[best[-1]] - 1e-5))
        if len(rows) < 100:
            assert sorted(rows) == chosen.tolist()
        [asked] = retriever.near.asked([[query]])
        scored = retriever.near._candidates(asked, 100, None)
        assert len(scored) == 1000
    assert np.mean(hits) >= 0.98


def test_every_centroid_lists_each_of_its_texts_once(many: tuple[list[str], Index]) -> None:
    texts, index = many
    lists = index.token_lists
    assert isinstance(lists, TokenLists)
    total = sum(len(tokens_of(text)) for text in dict.fromkeys(texts))
    assert len(lists.centroids) == pytest.approx(min(16 * total**0.5, total / 16), rel=0.25)
    assert np.linalg.norm(lists.centroids, axis=1) == pytest.approx(1, abs=1e-2)
    held: list[list[int]] = [
        lists._lists[begin:end].tolist()
        for begin, end in zip(lists.begins[:-1], lists.begins[1:], strict=True)
    ]
    assert all(rows == sorted(set(rows)) for rows in held)
    assert {row for rows in held for row in rows} == set(range(1900))
    for row in (0, 1234, 1899):
        own = sum(row in rows for rows in held)
        assert 1 <= own <= len(tokens_of(texts[row]))
    assert lists.positions[1900:].tolist() == lists.positions[:100].tolist()


def test_a_text_scores_as_if_it_were_a_passage(many: tuple[list[str], Index]) -> None:
    texts, index = many
    retriever = MultiVectorRetriever(index, WordTokens())
    asked = ["aak baz cor", "dem"]
    outside = [*drawn(3, seed=77), "-", texts[5]]
    assert retriever.score_texts(asked, outside) == pytest.approx(
        exhaustive(outside, asked).tolist(), abs=1e-5
    )


# Hybrid


@pytest.mark.parametrize("among", [None, range(0, 2000, 3), range(40)])
def test_hybrid_fuses_maxsim_with_bm25(many: tuple[list[str], Index], among: range | None) -> None:
    texts, index = many
    forms = ["aak baz cor fil", "huk"]
    hybrid = choose_retriever("auto", index, WordTokens, Silence())
    assert isinstance(hybrid, HybridRetriever)
    near, words = exhaustive(texts, forms), LexicalRetriever(index)
    worth = words.scores(words.terms_of(forms)).of(np.arange(len(texts)))
    chosen = np.arange(len(texts)) if among is None else np.array(among)
    weighted = []
    for share, side in ((0.499, near), (0.501, worth)):
        head = np.sort(side[chosen])[::-1][:100]
        weighted.append(share * (side - head[-1]) / (head[0] - head[-1]))
    above = sum(side.clip(min=0) for side in weighted)
    [one] = hybrid.searches([forms])
    found = one(30, None if among is None else chosen)
    expected = chosen[np.argsort(-above[chosen], kind="stable")][: len(found.rows)]
    assert above[found.rows] == pytest.approx(found.scores, abs=1e-4)
    assert above[expected] == pytest.approx(found.scores, abs=1e-4)
    assert set(found.by_retriever) == {"multi-vector", "bm25"}
    for at, row in enumerate(found.rows.tolist()):
        assert found.ranks_of(at)["multi-vector"].score == pytest.approx(near[row], abs=1e-5)
        assert found.ranks_of(at)["bm25"].score == pytest.approx(worth[row], abs=1e-5)


# Generations


def test_an_update_has_the_lists_of_a_new_build(tmp_path: Path) -> None:
    texts = drawn(300)
    old = made(tmp_path / "one", texts[50:])
    assert bytes_of(made(tmp_path / "one", texts, old)) == bytes_of(made(tmp_path / "two", texts))


def test_a_build_that_fails_at_the_lists_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = drawn(300)
    whole = made(tmp_path / "whole", texts)

    def fails(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writer, "write_lists", fails)
        made(tmp_path / "one", texts)
    monkeypatch.setattr(WordTokens, "embed_tokens", fails)
    generation = Generation(tmp_path / "one", RECIPE, None)
    for number, text in enumerate(texts):
        generation.passages.add(Passage(f"d{number}", text), 0)
    missing = generation.missing()
    assert missing.total == 0
    missing.finish()
    missing.write_lists()
    generation.commit([FileEntry(0, "a", "a", 1, 1, "x", passages=len(texts))], (), len(texts))
    assert bytes_of(Index(tmp_path / "one")) == bytes_of(whole)


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    index = made(tmp_path, [])
    for name in ("multi-vector", "hybrid"):
        retriever = choose_retriever(name, index, WordTokens, Silence())
        assert retrieved(retriever, ["aak"], 10) == ([], [])
    assert retrieved(MultiVectorRetriever(made(tmp_path / "b", ["-"]), WordTokens()), ["a"], 9) == (
        [0],
        [0.0],
    )


# Bad input


def damaged(index: Index, name: str, damage: Callable[[bytearray], None]) -> Index:
    content = bytearray((index.generation / name).read_bytes())
    damage(content)
    (index.generation / name).unlink()
    (index.generation / name).write_bytes(content)
    return Index(index.folder)


def flip(content: bytearray) -> None:
    content[len(content) // 2] ^= 64


def far(content: bytearray) -> None:
    content[-4:] = b"\xff\xff\xff\x7f"


def backwards(content: bytearray) -> None:
    content[8:16] = (2**40).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (TOKEN_CENTROIDS, flip),
        (TOKEN_ROWS, flip),
        (TOKEN_LISTS, far),
        (TOKEN_LISTS, backwards),
        ("tokens.codes", flip),
    ],
)
def test_damaged_bytes_are_found_before_they_are_used(
    tmp_path: Path, name: str, damage: Callable[[bytearray], None]
) -> None:
    texts = drawn(1100, words=6)
    index = damaged(made(tmp_path, texts), name, damage)
    retriever = MultiVectorRetriever(index, WordTokens())
    with pytest.raises(IndexDamagedError, match="damaged"):
        # Every list is read, and every text scored.
        for text in texts[:20]:
            retrieved(retriever, [text], 50)
        retrieved(retriever, ["aak"], 1100)


def test_a_list_of_another_size_is_damaged(tmp_path: Path) -> None:
    index = made(tmp_path, drawn(30))
    (index.generation / TOKEN_LISTS).write_bytes(b"")
    with pytest.raises(IndexDamagedError):
        Index(tmp_path)


@pytest.mark.parametrize("name", ["multi-vector", "hybrid", "auto"])
def test_token_vectors_are_not_expanded(tmp_path: Path, name: str) -> None:
    index = made(tmp_path, drawn(30))
    with pytest.raises(InvalidArgumentError, match="cannot be expanded"):
        choose_retriever(name, index, WordTokens, Silence(), expand=True)
    for other in ("dense", "bm25"):
        choose_retriever(other, index, WordTokens, Silence(), expand=True)


# Commands


INDEX = Path(".ettin")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = [{"_id": f"d{at}", "text": text} for at, text in enumerate(drawn(40, words=12))]
    rows += [{"_id": "first", "text": "The ferry sails at nine", "port": "east"}]
    rows += [{"_id": "again", "text": "The ferry sails at nine", "port": "west"}]
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_all_commands_know_the_retriever(ettin: Ettin, corpus: Path, tmp_path: Path) -> None:
    model = multi_vector(tmp_path / "model")
    assert ettin("index", str(corpus), "--embedder", str(model)).code == 0
    assert set(LISTS) < set(read_manifest(INDEX).files)
    words = ["the ferry sails at nine", "--retriever", "multi-vector", "-r", "none", "-f", "json"]
    words += ["-k", "50"]
    ran = json.loads(ettin("search", *words).out)
    assert ran["retriever"] == "multi-vector"
    assert len(ran["hits"]) == 41
    [first] = [hit for hit in ran["hits"] if hit["doc_id"] == "first"]
    west = json.loads(ettin("search", *words, "--filter", "port=west").out)
    assert [hit["doc_id"] for hit in west["hits"]] == ["again"]
    assert west["hits"][0]["score"] == first["score"]
    # The reranker scores as retrieval does.
    reranked = json.loads(ettin("search", *words[:3], "-r", str(model), "-f", "json").out)
    assert reranked["hits"][0]["score"] == ran["hits"][0]["score"]
    both = json.loads(ettin("search", *words[:1], "-r", "none", "-f", "json").out)
    assert both["hits"][0]["retrieval"].keys() == {"multi-vector", "bm25"}

    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "the ferry sails"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\tfirst\t1\n")
    common = ["--queries", "queries.jsonl", "--retriever", "multi-vector", "-r", "none", "-c", "20"]
    ran_eval = ettin("eval", *common, "--qrels", "qrels.tsv", "-o", "measured")
    assert ran_eval.code == 0, ran_eval.err
    run = (tmp_path / "measured" / "runs" / "none.trec").read_text()
    assert ettin("search", *common, "-k", "100", "-f", "trec").out == run
    mined = ettin("mine", *common[:4], "--qrels", "qrels.tsv", "-o", "mined.jsonl")
    assert mined.code == 0, mined.err

    long = ettin("search", "ferry " * 10_000, *words[1:])
    assert long.code == 0
    assert "1 query truncated" in long.err


@pytest.mark.parametrize("name", LISTS)
def test_damage_is_verified_and_repaired(
    ettin: Ettin, corpus: Path, tmp_path: Path, name: str
) -> None:
    ettin("index", str(corpus), "--embedder", str(multi_vector(tmp_path / "model")))
    with Index(INDEX) as index:
        before = bytes_of(index)
        flip_file = index.generation / name
    content = bytearray(flip_file.read_bytes())
    flip(content)
    flip_file.write_bytes(content)
    assert ettin("verify").code == 1
    assert ettin("verify", "--repair").code == 0
    assert ettin("verify").code == 0
    with Index(INDEX) as index:
        assert bytes_of(index) == before


def test_an_index_without_token_vectors_says_how_to_build_it(
    ettin: Ettin, corpus: Path, tmp_path: Path
) -> None:
    model = plain_embedder(tmp_path / "plain")
    assert ettin("index", str(corpus), "--embedder", str(model)).code == 0
    ran = ettin("search", "ferry", "--retriever", "multi-vector", "-r", "none")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "ettin: error: .ettin has no token vectors of a multi-vector model\n"
        "  hint: build it with a multi-vector model: "
        "ettin index -i .ettin --embedder MODEL --token-vectors auto --rebuild\n"
    )
    with pytest.raises(IndexMismatchError):
        TokenNearness(Index(INDEX), WordTokens())


def test_token_vectors_that_are_added_later_have_lists(
    ettin: Ettin, corpus: Path, tmp_path: Path
) -> None:
    model = multi_vector(tmp_path / "model")
    ettin("index", str(corpus), "--embedder", str(model), "--token-vectors", "none")
    words = ["search", "ferry", "--retriever", "multi-vector", "-r", "none"]
    assert ettin(*words).code == 1
    assert ettin("index", "--token-vectors", "auto").code == 0
    assert ettin(*words).code == 0
