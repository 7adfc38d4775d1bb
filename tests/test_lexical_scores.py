"""BM25 adds up postings alone, and gives the bits that arrays of all rows would."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ettin_cli.index import accumulating
from ettin_cli.index.joined_lexicon import JoinedLexicon
from ettin_cli.index.lexicon import DOCUMENT_COUNT, LEXICAL, TERMS, Lexicon
from ettin_cli.index.lexicon_writer import write_lexicon
from ettin_cli.index.manifest import FileRecord
from ettin_cli.index.passages import PASSAGES, Passages, PassageWriter
from ettin_cli.records import Passage
from ettin_cli.storage import checksum
from ettin_cli.text.lexical.bm25 import K1, B
from ettin_cli.text.lexical.terms import Terms

WORDS = [f"w{number}" for number in range(40)]
QUERIES: list[dict[str, float]] = [
    {"w0": 1},
    {"w3": 2, "w0": 1, "w17": 1},
    {"w39": 1, "w1": 1, "absent": 3, "w2": 1, "w38": 1},
    {"w5": 0.30000001, "w4": 0.7, "w0": 0.0, "w30": 1e-30},
    {"w0": 0.0},
    {"w0": 1e-60, "w1": 1e-60},
    {word: 1 / (at + 1) for at, word in enumerate(WORDS)},
    {"absent": 1},
    {},
]
# A document with more passages than are merged in one piece has 60.
SHAPES = {"single": [1] * 300, "several": [3, 1, 1, 60, 2, 5] * 5}


def corpus(shape: str) -> list[tuple[str, str]]:
    """Return the document and the text of each passage, with words of very different frequency."""
    chance = np.random.default_rng(7)
    odds = 1 / np.arange(1, len(WORDS) + 1)
    owners = [f"d{at}" for at, size in enumerate(SHAPES[shape]) for _ in range(size)]
    sizes = chance.integers(0, 30, len(owners))
    return [
        (owner, " ".join(chance.choice(WORDS, size, p=odds / odds.sum())))
        for owner, size in zip(owners, sizes, strict=True)
    ]


def lexicon_of(folder: Path, texts: Sequence[tuple[str, str]]) -> Lexicon:
    folder.mkdir(parents=True)
    writer = PassageWriter(folder / PASSAGES)
    for owner, text in texts:
        writer.add(Passage(owner, text), 0)
    writer.close()
    write_lexicon(folder, Passages(folder / PASSAGES, len(texts)), Terms("none"))
    return opened(folder, len(texts))


def opened(folder: Path, rows: int) -> Lexicon:
    paths = [folder / name for name in LEXICAL]
    records = {one.name: FileRecord(one.stat().st_size, checksum(one)) for one in paths}
    return Lexicon(folder, rows, records)


def dense(texts: Sequence[tuple[str, str]], query: Mapping[str, float]) -> np.ndarray:
    """Return the score of every passage, from arrays of all passages and documents."""
    names = list(dict.fromkeys(owner for owner, _ in texts))
    number = {name: at for at, name in enumerate(names)}
    owners = np.array([number[owner] for owner, _ in texts])
    words = [text.split() for _, text in texts]
    joined: list[list[str]] = [[] for _ in names]
    for owner, some in zip(owners.tolist(), words, strict=True):
        joined[owner] += some
    passages, most = summed_up(words, query)
    documents, most_documents = summed_up(joined, query)
    matching = np.flatnonzero(passages)
    of_document = documents[owners[matching]] / most_documents
    passages[matching] = (passages[matching] / most + of_document) / 2
    return passages


def summed_up(words: list[list[str]], query: Mapping[str, float]) -> tuple[np.ndarray, float]:
    """Return the sum of BM25 over a query's terms in single precision, and the highest sum."""
    lengths = np.array([len(some) for some in words], np.float32)
    norms = K1 * (1 - B + B * lengths / np.float32(sum(map(len, words)) / len(words)))
    scores, most = np.zeros(len(words), np.float32), 0.0
    for term, times in query.items():
        counts = np.array([some.count(term) for some in words], np.float32)
        rows = np.flatnonzero(counts)
        if not len(rows):
            continue
        weight = times * math.log1p((len(words) - len(rows) + 0.5) / (len(rows) + 0.5))
        scores[rows] += weight * (counts[rows] / (counts[rows] + norms[rows]))
        most += weight
    return scores, most


@pytest.fixture(params=[1, 50, 1 << 16])
def _piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accumulating, "PIECE", request.param)


@pytest.mark.usefixtures("_piece")
@pytest.mark.parametrize("shape", SHAPES)
def test_scores_have_the_bits_of_arrays_of_all_rows(tmp_path: Path, shape: str) -> None:
    texts = corpus(shape)
    lexicon = lexicon_of(tmp_path / "i", texts)
    for query in QUERIES:
        expected = dense(texts, query)
        rows, scores = lexicon.scores(query)
        assert rows.dtype == np.int64
        assert rows.tolist() == np.flatnonzero(expected).tolist()
        assert scores.tobytes() == expected[rows].tobytes()
        every = np.arange(len(texts))
        assert lexicon.scores(query).of(every).tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parts", [2, 7])
def test_parts_of_an_index_give_the_bits_of_the_whole(
    tmp_path: Path, shape: str, parts: int
) -> None:
    texts = corpus(shape)
    names = list(dict.fromkeys(owner for owner, _ in texts))
    wholly = lexicon_of(tmp_path / "whole", texts)
    lexicons, begins = [], []
    for part in range(parts):
        held = set(names[len(names) * part // parts : len(names) * (part + 1) // parts])
        begins.append(next(at for at, (owner, _) in enumerate(texts) if owner in held))
        lexicons.append(lexicon_of(tmp_path / f"{part}", [t for t in texts if t[0] in held]))
    for query in QUERIES:
        statistics = reduce(add, (lexicon.statistics(query) for lexicon in lexicons))
        assert statistics == wholly.statistics(query)
        scored = [lexicon.scores(query, statistics) for lexicon in lexicons]
        rows = np.concatenate([s.rows + b for s, b in zip(scored, begins, strict=True)])
        expected = wholly.scores(query)
        assert rows.tolist() == expected.rows.tolist()
        assert np.concatenate([s.scores for s in scored]).tobytes() == expected.scores.tobytes()
        joined = JoinedLexicon(lexicons).scores(query)
        for among in (None, np.arange(3, len(texts), 7), np.empty(0, np.int64)):
            for depth in (20, 5, 40):
                same(joined.highest(depth, among), expected.highest(depth, among))
        some = np.arange(len(texts))[::-5]
        assert joined.of(some).tobytes() == expected.of(some).tobytes()
        for text in ({"w0": 3, "w17": 1}, {"other": 1}, {}):
            alike = {lexicon.score_text(query, text, statistics) for lexicon in lexicons}
            assert alike == {wholly.score_text(query, text)}


def same(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    assert found[0].tolist() == expected[0].tolist()
    assert found[1].tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_some_rows_are_scored_as_among_all(tmp_path: Path, shape: str) -> None:
    texts = corpus(shape)
    lexicon = lexicon_of(tmp_path / "i", texts)
    for query in QUERIES:
        every = lexicon.scores(query)
        for rows in (np.array([0]), np.array([9, 2, 3]), np.arange(len(texts)), np.empty(0, int)):
            assert lexicon.scores(query, rows=rows).of(rows).tobytes() == every.of(rows).tobytes()


def test_statistics_count_passages_documents_and_terms(tmp_path: Path) -> None:
    texts = [("a", "w1 w2 w1"), ("a", "w1"), ("b", ""), ("c", "w2")]
    statistics = lexicon_of(tmp_path / "i", texts).statistics(["w1", "w2", "w3"])
    assert (statistics.passages, statistics.documents, statistics.length) == (4, 3, 5)
    assert statistics.holding == {"w1": (2, 1), "w2": (2, 2)}
    assert statistics.means == (5 / 4, 5 / 3)


def test_statistics_read_no_postings(tmp_path: Path) -> None:
    lexicon = lexicon_of(tmp_path / "i", corpus("several"))
    lexicon.rows, lexicon.counts = lexicon.rows.copy(), lexicon.counts.copy()
    expected = lexicon.statistics(WORDS)
    lexicon.rows[:] = 0
    assert lexicon.statistics(WORDS) == expected


def test_terms_without_their_number_of_documents_give_the_same_scores(tmp_path: Path) -> None:
    texts = corpus("several")
    present = lexicon_of(tmp_path / "i", texts)
    expected = [present.scores(query) for query in QUERIES]
    statistics = present.statistics(WORDS)
    path = tmp_path / "i" / TERMS
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    earlier = table.drop_columns([DOCUMENT_COUNT]).combine_chunks()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, earlier.schema) as file:
        file.write_table(earlier)
    lexicon = opened(tmp_path / "i", len(texts))
    assert lexicon.made_by == present.made_by
    assert lexicon.statistics(WORDS) == statistics
    for query, (rows, scores) in zip(QUERIES, expected, strict=True):
        assert lexicon.scores(query).rows.tolist() == rows.tolist()
        assert lexicon.scores(query).scores.tobytes() == scores.tobytes()


def test_a_term_of_other_parts_alone_lowers_the_scores_of_this_part(tmp_path: Path) -> None:
    lexicon = lexicon_of(tmp_path / "i", [("a", "w1"), ("b", "w2")])
    own = lexicon.statistics(["w1"])
    [alone] = lexicon.scores({"w1": 1}).scores.tolist()
    whole = replace(own, holding={**own.holding, "elsewhere": (1, 1)})
    [shared] = lexicon.scores({"w1": 1, "elsewhere": 1}, whole).scores.tolist()
    assert shared == pytest.approx(alone / 2)
