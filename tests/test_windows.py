"""A long text scores as the best of its windows, which together cover all of it."""

import json
import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import ModelError
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.long_texts import LongReranker, TimedLongReranker, window_ranges
from ettin_cli.models.rerankers.registry import find_reranker, load_reranker, reranker_of
from ettin_cli.models.rerankers.resolved import ResolvedReranker
from ettin_cli.models.rerankers.score_cache import CachedReranker
from ettin_cli.records import Reranker, Silence
from tests.models import ettin

ROOM = 24
QUERY = "When does the ferry sail?"
NASTY = [
    "👩‍👩‍👧‍👦🇩🇪 " * 30,
    "где находится библиотека? " * 9,
    "日本語のフェリーは九時に出ます。" * 9,
    "e\u0301\u0323a\u030a" * 60,
    "un" + "believ" * 50,
    "\u00a0 \t\n\u200b" * 40,
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ettin(tmp_path_factory.mktemp("ettin"), hidden=64, layers=2, heads=2)


def found(folder: Path | str) -> ResolvedReranker:
    return find_reranker(str(folder), offline=True, reporter=Silence())


def plain(folder: Path | str, limit: int | None = None) -> Reranker:
    return load_reranker(found(folder), EngineSettings("cpu", max_length=limit), Silence())


def long(folder: Path | str, limit: int) -> LongReranker:
    return LongReranker(plain(folder, limit), found(folder), Silence())


def query_tokens(folder: Path, query: str = QUERY) -> int:
    return len(found(folder).layout().tokens.offsets(query))


def limit_for(folder: Path, query: str = QUERY) -> int:
    """Return the limit that leaves ROOM tokens beside [CLS] query [SEP] text [SEP]."""
    return ROOM + query_tokens(folder, query) + 3


def digits(count: int) -> str:
    """Return a text of this many tokens: the tokenizer's training data had no digits."""
    return "".join(random.Random(count).choices("0123456789", k=count))


def by_hand(count: int, room: int, size: int) -> list[slice]:
    """Return where the windows of `count` tokens are: the first of `room`, the others of `size`."""
    last = count - size
    begins = [*range(room - room // 8, last, size - room // 8), last] if count > room else []
    return [slice(room), *(slice(begin, begin + size) for begin in begins)]


COUNTS = [1, ROOM - 1, ROOM, ROOM + 1, ROOM * 5 // 2, ROOM * 10]


def test_an_ettins_score_is_the_best_of_windows_scored_by_sentence_transformers(
    model: Path,
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    reference = CrossEncoder(str(model), device="cpu")
    expected = []
    for count in COUNTS:
        windows = [digits(count)[part] for part in by_hand(count, ROOM, ROOM)]
        scores = reference.predict(
            [(QUERY, window) for window in windows],
            activation_fn=torch.nn.Identity(),
        )
        expected.append(max(scores))
    pairs = [(QUERY, digits(count)) for count in COUNTS]
    ours = long(model, limit_for(model)).score(pairs)
    assert ours.values == pytest.approx(expected, abs=1e-5)
    assert not ours.truncated.any()
    cut = plain(model, limit_for(model)).score(pairs)
    assert cut.truncated.tolist() == [count > ROOM for count in COUNTS]
    assert (ours.values[-3:] > cut.values[-3:]).any()
    assert (ours.values >= cut.values).all()


WORDS = "the ferry dog bread station island water letter money winter".split()


@pytest.mark.parametrize("query", [QUERY, QUERY * 6])
def test_the_stand_ins_score_is_the_best_of_its_windows_whatever_the_query_takes(
    query: str,
) -> None:
    room, size = 62, 61  # a thirty-second is kept free
    counts = [room - 1, room, room + 1, room * 5 // 2, room * 10]
    texts = [[WORDS[at * at % 7 + at % 3] for at in range(count)] for count in counts]
    ours = long("embedded", room + 2).score([(query, " ".join(text)) for text in texts])
    reference = plain("embedded", room + 2)
    for text, value in zip(texts, ours.values, strict=True):
        windows = [(query, " ".join(text[part])) for part in by_hand(len(text), room, size)]
        scores = reference.score(windows)
        assert not scores.truncated.any()
        assert value == pytest.approx(max(scores.values), abs=1e-5)
    assert not ours.truncated.any()


def test_short_texts_score_to_the_bit_as_without_windows(model: Path) -> None:
    limit = limit_for(model)
    pairs = [(QUERY, digits(count)) for count in (3, 90, 24, 25, 11, 300, 24)]
    ours, cut = long(model, limit).score(pairs), plain(model, limit).score(pairs)
    short = [0, 2, 4, 6]
    assert ours.values[short].tobytes() == cut.values[short].tobytes()
    only_short = [pairs[at] for at in short]
    assert (
        long(model, limit).score(only_short).values.tobytes()
        == plain(model, limit).score(only_short).values.tobytes()
    )


def test_windows_are_the_same_whatever_else_is_scored(model: Path) -> None:
    ours = long(model, limit_for(model))
    pairs = [(query, digits(count)) for query in (QUERY, "9?") for count in (90, 3, 300)]
    together = ours.score(pairs)
    for pair, value in zip(pairs, together.values, strict=True):
        assert ours.score([pair]).values[0] == pytest.approx(value, abs=1e-5)
    assert ours.score(pairs).values.tobytes() == together.values.tobytes()
    nothing = ours.score([])
    assert (len(nothing.values), len(nothing.truncated)) == (0, 0)


def test_a_query_of_more_than_half_of_the_limit_is_cut_and_the_text_still_read_whole(
    model: Path,
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    # 3 special tokens leave 48: the query, which has 30, and the text are cut to 24 each.
    reference = CrossEncoder(str(model), device="cpu", max_length=51)
    query, text = digits(30), digits(60)
    windows = [(query, text[at : at + 24]) for at in (0, 21, 36)]
    expected = reference.predict(windows, activation_fn=torch.nn.Identity())
    ours = long(model, 51).score([(query, text), (query, digits(20))])
    assert ours.values[0] == pytest.approx(max(expected), abs=1e-5)
    assert ours.truncated.tolist() == [True, True]


def test_a_prompt_before_every_query_takes_its_room(tmp_path: Path) -> None:
    folder = ettin(tmp_path / "m", hidden=32, layers=1, heads=2)
    path = folder / "config_sentence_transformers.json"
    config = {"prompts": {"ask": digits(11)}, "default_prompt_name": "ask"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    inner = Recording(plain(folder, limit_for(folder) + 11))
    LongReranker(inner, found(folder), Silence()).score([(QUERY, digits(60))])
    assert [text for _, text in inner.asked[1:]] == [digits(60)[21:45], digits(60)[36:60]]
    assert inner.truncated == [True, False, False]


class Recording:
    """A reranker that records its pairs, and which of them it truncated."""

    def __init__(self, reranker: Reranker) -> None:
        self.reranker = reranker
        self.card = reranker.card
        self.asked: list[tuple[str, str]] = []
        self.truncated: list[bool] = []

    def score(self, pairs: Sequence[tuple[str, str]], advance: Any = None) -> Any:
        scores = self.reranker.score(pairs)
        self.asked += pairs
        self.truncated += scores.truncated.tolist()
        return scores


@pytest.mark.parametrize("name", ["ettin", "embedded"])
def test_the_reranker_itself_finds_no_window_too_long(model: Path, name: str) -> None:
    folder = model if name == "ettin" else name
    for limit in (16, 40, 64):
        inner = Recording(plain(folder, limit))
        ours = LongReranker(inner, found(folder), Silence())
        assert not ours.score([("9?", text) for text in NASTY]).truncated.any()
        assert any(inner.truncated[: len(NASTY)])
        assert not any(inner.truncated[len(NASTY) :])


def test_a_window_that_is_cut_nonetheless_is_said(model: Path) -> None:
    # Two tokens are fewer than the four of this character.
    ours = long(model, 8)
    assert ours.score([("987", "👩" * 3), ("987", "12345678")]).truncated.tolist() == [True, False]


counter_of = lru_cache(lambda folder: found(folder).layout().tokens)
COUNTERS = {"byte pairs": None, "word pieces": "embedded"}


@pytest.mark.parametrize("kind", COUNTERS)
@settings(deadline=None, max_examples=150)
@given(
    text=st.one_of(st.text(max_size=120), st.text("ab éß日👩\n", max_size=120)),
    room=st.integers(4, 40),
)
def test_every_token_is_in_a_window_and_every_window_fits(
    model: Path, kind: str, text: str, room: int
) -> None:
    counter = counter_of(COUNTERS[kind] or model)
    spans = counter.offsets(text)
    ranges = window_ranges(text, counter, room)
    for begin, end in ranges[1:]:
        assert len(counter.offsets(text[begin:end])) <= room
    for begin, end in spans:
        assert any(first <= begin and end <= last for first, last in ranges)
    assert (len(ranges) == 1) == (len(spans) <= room)
    assert len(set(ranges)) == len(ranges)


def test_windows_are_pairs_like_any_others_in_the_cache(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path))
    settings = EngineSettings("cpu", max_length=limit_for(model))
    inner = Recording(load_reranker(found(model), settings, Silence()))

    def cached(load: Any) -> CachedReranker:
        return CachedReranker(found(model), settings, load, Silence())

    def never() -> Reranker:
        raise AssertionError("a pair was scored again")

    pairs = [(QUERY, digits(count)) for count in (3, 60, 25)]
    cut = cached(lambda: inner).score(pairs)
    assert inner.asked == sorted(pairs, key=lambda pair: pair[1])
    ours = TimedLongReranker(cached(lambda: inner), found(model), Silence())
    scores, seconds = ours.timed(pairs)
    assert len(inner.asked) == 3 + 2 + 1
    again, same_seconds = TimedLongReranker(cached(never), found(model), Silence()).timed(pairs)
    assert again.values.tobytes() == scores.values.tobytes()
    assert same_seconds.tolist() == seconds.tolist()
    whole = cached(never).timed(inner.asked)[1].sum()
    assert seconds.sum() == pytest.approx(whole, rel=1e-4)
    assert (scores.values >= cut.values).all()
    assert scores.values == pytest.approx(
        long(model, limit_for(model)).score(pairs).values, abs=1e-5
    )


@pytest.mark.parametrize("counts", [[3, 4], [60], [3, 900, 60, 25]])
def test_progress_ends_at_the_number_of_pairs(model: Path, counts: list[int]) -> None:
    told: list[int] = []
    long(model, limit_for(model)).score([(QUERY, digits(n)) for n in counts], told.append)
    assert sum(told) == len(counts)
    assert min(told) >= 0


def test_progress_leaves_a_share_to_the_windows_that_follow(model: Path) -> None:
    told: list[int] = []
    inner = plain(model, 40)
    at_end_of_first: list[int] = []

    class Watched(Recording):
        def score(self, pairs: Sequence[tuple[str, str]], advance: Any = None) -> Any:
            advance(len(pairs))
            at_end_of_first.append(sum(told))
            return super().score(pairs)

    pairs = [(QUERY, digits(800))] * 10
    LongReranker(Watched(inner), found(model), Silence()).score(pairs, told.append)
    assert at_end_of_first[0] <= 2
    assert at_end_of_first[1] == 10


def test_what_was_scored_in_windows_is_told_in_detail(model: Path) -> None:
    class Details(Silence):
        def __init__(self) -> None:
            self.told: list[str] = []

        def detail(self, message: str) -> None:
            self.told.append(message)

    details = Details()
    ours = LongReranker(plain(model, limit_for(model)), found(model), details)
    ours.score([(QUERY, digits(3))])
    assert details.told == []
    ours.score([(QUERY, digits(count)) for count in (3, 60, 25)])
    assert details.told == [f"2 of 3 texts exceed the token limit of {model}: scored in 5 windows"]


def test_without_a_tokenizer_to_count_with_there_are_no_windows(
    model: Path, tmp_path: Path
) -> None:
    inner = plain(model)
    with pytest.raises(ModelError, match=r"tokenizer\.json") as caught:
        LongReranker(inner, reranker_of(ModelFiles("m", tmp_path)), Silence())
    assert hint_of(caught.value) == "--long truncate"


def test_the_best_window_may_be_any() -> None:
    ours = long("embedded", 64)
    answer = "The ferry sails at nine from the pier."
    filler = ["Knead the dough for ten minutes and let it rest."] * 40
    alone = float(ours.score([(QUERY, " ".join(filler))]).values[0])
    for place in (0, 1, 17, 39, 40):
        text = " ".join([*filler[:place], answer, *filler[place:]])
        assert float(ours.score([(QUERY, text)]).values[0]) > alone + 0.5
