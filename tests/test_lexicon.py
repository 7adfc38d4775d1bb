"""Every passage is scored by BM25 exactly, and damage is never taken for a score."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.errors import IndexDamagedError
from ettin_cli.index import lexicon as module
from ettin_cli.index.lexicon import COUNTS, DOCUMENTS, LENGTHS, POSTINGS, Lexicon, write_lexicon
from ettin_cli.index.passages import PASSAGES, Passages, PassageWriter
from ettin_cli.lexical import Terms
from ettin_cli.lexical.bm25 import K1, B
from ettin_cli.records import Passage

TERMS = Terms("english")
WORDS = "ferry harbour ticket train bread dough oven pier rope anchor tide lamp".split()


def passages_of(folder: Path, count: int) -> Passages:
    chance = np.random.default_rng(3)
    writer = PassageWriter(folder / PASSAGES)
    for number in range(count):
        some = chance.choice(WORDS, chance.integers(0, 30)).tolist()
        writer.add(Passage(f"d{number // 3}", " ".join(some)), 0)
    writer.close()
    return Passages(folder / PASSAGES, count)


@pytest.fixture
def passages(tmp_path: Path) -> Passages:
    return passages_of(tmp_path, 200)


@pytest.fixture
def lexicon(tmp_path: Path, passages: Passages) -> Lexicon:
    write_lexicon(tmp_path, passages, TERMS)
    return Lexicon(tmp_path, len(passages))


def bm25(query: Counter[str], texts: list[Counter[str]]) -> list[float]:
    """Return BM25 as it is written in the books, as a share of the most that it can be."""
    mean = sum(text.total() for text in texts) / len(texts)
    holding = {term: sum(term in text for text in texts) for term in query}
    idf = {t: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for t, n in holding.items()}
    most = sum(query[t] * idf[t] for t, n in holding.items() if n)
    scores = []
    for text in texts:
        norm = K1 * (1 - B + B * text.total() / mean)
        scores.append(sum(query[t] * idf[t] * text[t] / (text[t] + norm) for t in query) / most)
    return scores


@pytest.mark.parametrize("query", ["ferry", "the ferry ticket", "bread bread oven", "tides lamp x"])
def test_scores_are_those_of_the_formula(lexicon: Lexicon, passages: Passages, query: str) -> None:
    wanted = Counter(TERMS.of_query(query))
    texts = [Counter(TERMS.of(text)) for text in passages.contents(range(len(passages)))]
    whole: dict[str, Counter[str]] = {}
    owners = passages.column("doc_id", range(len(passages)))
    for owner, text in zip(owners, texts, strict=True):
        whole.setdefault(owner, Counter()).update(text)
    of_document = dict(zip(whole, bm25(wanted, list(whole.values())), strict=True))
    expected = [
        (one + of_document[owner]) / 2 if one else 0.0
        for one, owner in zip(bm25(wanted, texts), owners, strict=True)
    ]
    assert lexicon.scores(wanted) == pytest.approx(expected, abs=1e-6)


def test_blocks_of_any_size_give_the_same_files(
    tmp_path: Path, passages: Passages, lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_TERMS", 50)
    monkeypatch.setattr(module, "READ_ROWS", 7)
    (tmp_path / "b").mkdir()
    write_lexicon(tmp_path / "b", passages, TERMS)
    for name in module.LEXICAL:
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == sorted(module.LEXICAL)


def test_words_that_nothing_holds_score_nothing(lexicon: Lexicon) -> None:
    assert not lexicon.scores(Counter(["zebra"])).any()
    assert not lexicon.scores(Counter()).any()


def test_no_passages_are_no_trouble(tmp_path: Path) -> None:
    empty = passages_of(tmp_path, 0)
    write_lexicon(tmp_path, empty, TERMS)
    assert len(Lexicon(tmp_path, 0).scores(Counter(["ferry"]))) == 0


def test_rows_that_hold_every_term(lexicon: Lexicon, passages: Passages) -> None:
    texts = [set(TERMS.of(text)) for text in passages.contents(range(len(passages)))]
    wanted = TERMS.of("ferry rope")
    expected = [row for row, text in enumerate(texts) if text.issuperset(wanted)]
    assert lexicon.holding(wanted).tolist() == expected


@pytest.mark.parametrize("name", [POSTINGS, COUNTS, LENGTHS, DOCUMENTS])
def test_a_file_of_another_length_is_damage(
    tmp_path: Path, lexicon: Lexicon, passages: Passages, name: str
) -> None:
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-4])
    with pytest.raises(IndexDamagedError):
        Lexicon(tmp_path, len(passages))


def test_postings_out_of_order_are_damage(
    tmp_path: Path, lexicon: Lexicon, passages: Passages
) -> None:
    content = np.fromfile(tmp_path / POSTINGS, "<u4")
    content[:] = content[::-1]
    content.tofile(tmp_path / POSTINGS)
    with pytest.raises(IndexDamagedError, match=POSTINGS):
        Lexicon(tmp_path, len(passages)).scores(Counter(["ferri"]))
