"""Every passage gets its exact BM25 score, and damage never yields a score."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import IndexDamagedError
from ettin_cli.index import lexicon_writer as inverting
from ettin_cli.index.accumulating import Scored
from ettin_cli.index.lexicon import COUNTS, DOCUMENTS, LENGTHS, LEXICAL, POSTINGS, Lexicon
from ettin_cli.index.lexicon_writer import KnownPostings, write_lexicon
from ettin_cli.index.manifest import FileRecord, read_manifest
from ettin_cli.index.passages import PASSAGES, Passages, PassageWriter
from ettin_cli.index.reader import Index
from ettin_cli.index.salvage import damaged_files
from ettin_cli.indexing.repairing import repair_index
from ettin_cli.indexing.requests import BuildRequest
from ettin_cli.records import Passage, Silence
from ettin_cli.searching.retrievers import LexicalRetriever
from ettin_cli.storage import checksum
from ettin_cli.text.lexical.bm25 import K1, B
from ettin_cli.text.lexical.terms import Terms, words
from tests.indexes import Builder, ferry_files

TERMS = Terms("english")
WORDS = "ferry harbour ticket train bread dough oven pier rope anchor tide lamp".split()


def passages_of(folder: Path, count: int) -> Passages:
    chance = np.random.default_rng(3)
    some = (chance.choice(WORDS, chance.integers(0, 30)).tolist() for _ in range(count))
    return written(folder, [" ".join(words) for words in some])


def written(folder: Path, texts: Sequence[str]) -> Passages:
    folder.mkdir(exist_ok=True)
    writer = PassageWriter(folder / PASSAGES)
    for number, text in enumerate(texts):
        writer.add(Passage(f"d{number // 3}", text), 0)
    writer.close()
    return Passages(folder / PASSAGES, len(texts))


def opened(folder: Path, rows: int) -> Lexicon:
    paths = [folder / name for name in LEXICAL]
    records = {one.name: FileRecord(one.stat().st_size, checksum(one)) for one in paths}
    return Lexicon(folder, rows, records)


def lexical_bytes(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in LEXICAL}


@pytest.fixture
def passages(tmp_path: Path) -> Passages:
    return passages_of(tmp_path, 200)


@pytest.fixture
def lexicon(tmp_path: Path, passages: Passages) -> Lexicon:
    write_lexicon(tmp_path, passages, TERMS)
    return opened(tmp_path, len(passages))


def bm25(query: Counter[str], texts: list[Counter[str]]) -> list[float]:
    """Return BM25 by the textbook formula, divided by its maximum."""
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
    scored = lexicon.scores(wanted)
    assert scored.rows.tolist() == [row for row, score in enumerate(expected) if score]
    assert scored.scores == pytest.approx(list(filter(None, expected)), abs=1e-6)
    assert scored.of(np.arange(len(passages))) == pytest.approx(expected, abs=1e-6)


def test_blocks_of_any_size_give_the_same_files(
    tmp_path: Path, passages: Passages, lexicon: Lexicon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inverting, "BLOCK_TERMS", 50)
    monkeypatch.setattr(inverting, "READ_ROWS", 7)
    (tmp_path / "b").mkdir()
    write_lexicon(tmp_path / "b", passages, TERMS)
    assert lexical_bytes(tmp_path / "b") == lexical_bytes(tmp_path)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == sorted(LEXICAL)


def test_words_that_nothing_holds_score_nothing(lexicon: Lexicon) -> None:
    assert not len(lexicon.scores(Counter(["zebra"])).rows)
    assert not len(lexicon.scores(Counter()).rows)


def test_no_passages_are_no_trouble(tmp_path: Path) -> None:
    empty = passages_of(tmp_path, 0)
    write_lexicon(tmp_path, empty, TERMS)
    assert len(opened(tmp_path, 0).scores(Counter(["ferry"])).rows) == 0


def test_rows_that_hold_every_term(lexicon: Lexicon, passages: Passages) -> None:
    texts = [set(TERMS.of(text)) for text in passages.contents(range(len(passages)))]
    wanted = TERMS.of("ferry rope")
    expected = [row for row, text in enumerate(texts) if text.issuperset(wanted)]
    assert lexicon.holding(wanted).tolist() == expected


def test_passages_without_a_word_are_no_trouble(tmp_path: Path) -> None:
    write_lexicon(tmp_path, written(tmp_path, ["?!", "", "..."]), TERMS)
    assert not len(opened(tmp_path, 3).scores(Counter(["ferry"])).rows)


# Reuse of the old generation


@pytest.mark.parametrize("block", [5, 1 << 22])
def test_texts_that_are_known_give_the_bytes_that_looking_them_up_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(inverting, "BLOCK_TERMS", block)
    texts = ["the ferry sails", "bread and dough", "", "oven oven", "the tide " * 40_000, "pier"]
    write_lexicon(tmp_path, written(tmp_path, texts), TERMS)
    lexicon = opened(tmp_path, len(texts))
    chance = np.random.default_rng(11)
    for run in range(12):
        rows = chance.integers(-1, len(texts), chance.integers(0, 12))
        now = [texts[row] if row >= 0 else f"new anchor {at}" for at, row in enumerate(rows)]
        passages = written(tmp_path / f"{run}", now)
        write_lexicon(passages.path.parent, passages, TERMS, KnownPostings(lexicon, rows))
        known = lexical_bytes(passages.path.parent)
        write_lexicon(passages.path.parent, passages, TERMS)
        assert known == lexical_bytes(passages.path.parent)


def lexical_part(folder: Path) -> dict[str, bytes]:
    return lexical_bytes(folder / "generations" / read_manifest(folder).generation)


def note_lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the words to be looked up in texts, as it happens."""
    looked_up: list[str] = []

    def noted(text: str) -> list[str]:
        looked_up.append(text)
        return words(text)

    monkeypatch.setattr(inverting, "words", noted)
    return looked_up


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return ferry_files(tmp_path / "docs")


def test_an_index_that_is_brought_up_to_date_has_the_words_of_one_built_in_peace(
    docs: Path, tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "i", docs)
    looked_up = note_lookups(monkeypatch)
    (docs / "0.txt").rename(docs / "9.txt")
    (docs / "1.txt").unlink()
    (docs / "2.txt").write_text((docs / "3.txt").read_text())
    (docs / "4.txt").write_text("the anchor of ferry 4\n")
    build(tmp_path / "i")
    # A text whose file has another name has another title.
    assert looked_up == [
        "2 file 3 tells of ferry 3",
        "4 the anchor of ferry 4",
        "9 file 0 tells of ferry 0",
    ]
    build(tmp_path / "calm", docs)
    assert lexical_part(tmp_path / "i") == lexical_part(tmp_path / "calm")


@pytest.mark.parametrize("rebuild", [False, True])
def test_another_language_is_taken_up_without_embedding_unless_all_is_built_again(
    docs: Path, tmp_path: Path, build: Builder, rebuild: bool
) -> None:
    build(tmp_path / "i", docs)
    assert build(tmp_path / "i", language="none", rebuild=rebuild).embedded == 7 * rebuild
    build(tmp_path / "calm", docs, language="none")
    assert lexical_part(tmp_path / "i") == lexical_part(tmp_path / "calm")
    assert not build(tmp_path / "i").written
    assert Index(tmp_path / "i").language == "none"


def test_terms_that_another_version_made_are_not_used_again(
    docs: Path, tmp_path: Path, build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "i", docs)
    monkeypatch.setattr("ettin_cli.text.lexical.terms.VERSION", 0)
    looked_up = note_lookups(monkeypatch)
    (docs / "8.txt").write_text("one more\n")
    build(tmp_path / "i")
    assert len(looked_up) == 8


# Damage


def listed(scored: Scored) -> dict[int, float]:
    return dict(zip(scored.rows.tolist(), scored.scores.tolist(), strict=True))


def test_no_flipped_bit_is_taken_for_a_score(docs: Path, tmp_path: Path, build: Builder) -> None:
    build(tmp_path / "i", docs)
    folder = tmp_path / "i" / "generations" / read_manifest(tmp_path / "i").generation
    manifest = read_manifest(tmp_path / "i")
    calm = Lexicon(folder, 7, manifest.files)
    queries = [Counter([term]) for term in [*calm.terms, "zebra"]]
    expected = [listed(calm.scores(query)) for query in queries]
    told = 0
    for name in LEXICAL:
        content = (folder / name).read_bytes()
        for at in range(len(content)):
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            (folder / name).unlink()
            (folder / name).write_bytes(changed)
            damaged = Lexicon(folder, 7, manifest.files)
            for query, scores in zip(queries, expected, strict=True):
                try:
                    assert listed(damaged.scores(query)) == scores
                except IndexDamagedError as error:
                    assert str(folder / name) in error.problem
                    assert hint_of(error) == f"ettin verify -i {tmp_path / 'i'} --repair"
                    told += 1
        (folder / name).write_bytes(content)
    assert told > 1000


@pytest.mark.parametrize("name", LEXICAL)
@pytest.mark.parametrize("how", ["missing", "flipped"])
def test_a_damaged_file_is_made_again_without_embedding(
    docs: Path, tmp_path: Path, build: Builder, name: str, how: str
) -> None:
    build(tmp_path / "i", docs)
    before = lexical_part(tmp_path / "i")
    path = tmp_path / "i" / "generations" / read_manifest(tmp_path / "i").generation / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if how == "flipped":
        content[len(content) // 2] ^= 16
        path.write_bytes(content)
    report = repair_index(BuildRequest(tmp_path / "i", offline=True), Silence())
    assert report.damaged == [str(path)]
    assert report.built is not None
    assert report.built.embedded == 0
    assert lexical_part(tmp_path / "i") == before
    assert damaged_files(tmp_path / "i") == []
    [search] = LexicalRetriever(Index(tmp_path / "i")).searches([["ferry 3"]])
    assert search(1, None).rows.tolist() == [3]


@pytest.mark.parametrize("name", [POSTINGS, COUNTS, LENGTHS, DOCUMENTS])
def test_a_file_of_another_length_is_damage(
    tmp_path: Path, lexicon: Lexicon, passages: Passages, name: str
) -> None:
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-4])
    with pytest.raises(IndexDamagedError):
        opened(tmp_path, len(passages))
