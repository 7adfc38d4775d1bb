"""Only the needed part of a long text is tokenized, with the tokens of the complete text."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings, strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from ettin_cli.models.encoders import TorchEncoder
from ettin_cli.models.engines import boundaries as module
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.boundaries import LongTexts, boundaries
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.static import StaticModel
from ettin_cli.models.engines.tokens import Tokens
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.models.hub import ModelFiles, find_model
from ettin_cli.models.multi_vector.encoding import TorchTokenEncoder
from ettin_cli.models.rerankers.cross_encoder import TorchCrossEncoder
from ettin_cli.models.rerankers.registry import load_reranker, reranker_of
from ettin_cli.models.token_counting import load_token_counter
from ettin_cli.records import Silence
from ettin_cli.training.student import Student
from tests.models import embedder, ettin
from tests.multi_vectors import multi_vector
from tests.test_embedders import static
from tests.tokenizers_built import KINDS

FRAGMENTS = [
    *(
        "ferry",
        "bread dough",
        "nine o'clock",
        "we'll",
        "x1",
        "3.14",
        "1,000",
        "don't",
        "C++",
        "_a_",
    ),
    *(
        "[SEP]",
        "[CLS]",
        "[MASK]",
        "<|endoftext|>",
        "<s>",
        "<mask>",
        "[GAP]",
        "|||IP|||",
        "|||",
        "<|",
    ),
    *(
        " ",
        " ",
        " ",
        "  ",
        "   ",
        "\n",
        "\r\n",
        "\t",
        "\u00a0",
        "\u3000",
        "\u200b",
        "\u2028",
        "\x00",
    ),
    *(
        "e\u0301",
        "\u0301",
        "a\u0323\u0301",
        "\u1100\u1161\u11a8",
        "ﬁ",
        "①",
        "½",
        "\u037a",
        "\ufdfa",
    ),
    *(
        "日本語",
        "フェリー",
        "。",
        "、",
        "が",
        "か\u3099",
        "где",
        "Σ",
        "ΑΣ",
        "İ",
        "ß",
        "ไทย",
        "한국어",
    ),
    *(
        "\u0d4e",
        "🇩🇪",
        "👩\u200d👧",
        "\ud7ff",
        "\ufffd",
        "!",
        "?!",
        ".",
        "'s",
        "'",
        "-",
        "…",
        "“",
        "”",
    ),
    *("w" * 120, "▁", "a▁b", "Ġ"),
]
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(FRAGMENTS), st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    ),
    max_size=40,
).map("".join)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    return {kind: build(tmp_path_factory.mktemp(kind)) for kind, build in KINDS.items()}


def listed(texts: Sequence[TokenIds]) -> list[list[int]]:
    return [list(text.ids) for text in texts]


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
@settings(max_examples=300, deadline=None)
def test_what_is_before_any_boundary_has_the_first_tokens_of_the_whole(
    tokenizers: dict[str, Tokenizer], kind: str, text: str
) -> None:
    tokenizer = tokenizers[kind]
    texts = LongTexts(tokenizer)
    known = boundaries(tokenizer)
    assert known is not None
    whole, pattern, at = ids_of(tokenizer, text), known.pattern(), 0
    while (at := texts._next_boundary(pattern, text, at)) < len(text):
        begun = ids_of(tokenizer, text[:at])
        assert begun == whole[: len(begun)]
        at += 1


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXTS)
@settings(max_examples=150, deadline=None)
def test_pieces_have_the_tokens_and_offsets_of_the_whole(
    tokenizers: dict[str, Tokenizer], kind: str, text: str
) -> None:
    tokenizer = tokenizers[kind]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE_CHARACTERS", 5)
        found = LongTexts(tokenizer).offsets(text)
    assert found == tokenizer.encode(text, add_special_tokens=False).offsets


def prose(characters: int, seed: int = 1) -> str:
    """Return words, sentences and lines, with unusual characters in between."""
    draw = random.Random(seed)
    found = ""
    while len(found) < characters:
        found += draw.choice(["ferry ", "bread ", "sails at nine. ", "где ", "日本。", "dough\n"])
        found += draw.choice(FRAGMENTS) if draw.random() < 0.1 else ""
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_is_cut_beyond_the_tokens_that_are_kept(
    tokenizers: dict[str, Tokenizer], kind: str
) -> None:
    tokenizer = tokenizers[kind]
    for seed, tokens in enumerate((1, 7, 64, 300)):
        text = prose(60_000, seed)
        (begun,) = LongTexts(tokenizer).beginnings([text], tokens)
        assert text.startswith(begun) and len(begun) < 10_000
        found = ids_of(tokenizer, begun)
        assert len(found) > tokens
        assert found == ids_of(tokenizer, text)[: len(found)]


def test_a_beginning_with_too_few_tokens_is_taken_again_longer(
    tokenizers: dict[str, Tokenizer],
) -> None:
    # 20,000 characters without a BERT token, and one token for each long word.
    text = "\u200b\n" * 10_000 + "w" * 5_000 + " " + prose(200_000)
    (begun,) = LongTexts(tokenizers["bert"]).beginnings([text], 16)
    assert 25_000 < len(begun) < 150_000
    found = ids_of(tokenizers["bert"], begun)
    assert len(found) > 16 and found == ids_of(tokenizers["bert"], text)[: len(found)]


@pytest.mark.parametrize("text", ["w" * 50_000, "日" * 50_000, "-" * 50_000, " " * 50_000])
def test_a_text_without_a_boundary_stays_whole(tokenizers: dict[str, Tokenizer], text: str) -> None:
    assert [LongTexts(one).beginnings([text], 4) for one in tokenizers.values()] == [[text]] * 6


UNPROVED: dict[str, dict[str, Any]] = {
    "dropout": {"model": models.BPE(dropout=0.1)},
    "spaces that are replaced": {"normalizer": normalizers.Replace(" ", "▁")},
    "an unknown pattern": {"normalizer": normalizers.Replace(Regex("a.*b"), "c")},
    "an unknown split": {"pre_tokenizer": pre_tokenizers.Split(Regex("a.*b"), "isolated")},
    "no split": {"pre_tokenizer": pre_tokenizers.ByteLevel(use_regex=False)},
    "no split of spaces": {"pre_tokenizer": pre_tokenizers.Metaspace(split=False)},
    "spaces changed before the split": {
        "pre_tokenizer": pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(split=False), pre_tokenizers.WhitespaceSplit()]
        )
    },
    "nothing before the model": {"pre_tokenizer": None},
}


def plain() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    return made


@pytest.mark.parametrize("change", UNPROVED)
def test_where_nothing_is_proved_a_text_stays_whole(change: str) -> None:
    tokenizer = plain()
    for part, value in UNPROVED[change].items():
        setattr(tokenizer, part, value)
    assert boundaries(tokenizer) is None
    text = prose(50_000)
    assert LongTexts(tokenizer).beginnings([text], 4) == [text]


def test_a_token_that_goes_over_a_boundary_leaves_texts_whole() -> None:
    normalized = plain()
    normalized.normalizer = normalizers.Lowercase()
    normalized.add_tokens([AddedToken("THE FERRY", normalized=True)])
    raw = plain()
    raw.add_tokens(["日。"])
    assert [boundaries(one) is None for one in (plain(), normalized, raw)] == [False, True, True]


def test_a_text_that_is_cut_on_the_left_stays_whole(tokenizers: dict[str, Tokenizer]) -> None:
    text = prose(50_000)
    assert LongTexts(tokenizers["bert"], "left").beginnings([text], 4) == [text]


class Watched:
    """A tokenizer that records the longest text it was given."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.longest = inner, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode_batch(self, texts: Sequence[str], **settings: Any) -> Any:
        self.longest = max(self.longest, *map(len, texts))
        return self.inner.encode_batch(texts, **settings)

    encode_batch_fast = encode_batch

    def __call__(self, *sides: Sequence[str], **settings: Any) -> Any:
        self.longest = max(self.longest, *(len(text) for side in sides for text in side))
        return self.inner(*sides, **settings)


LONG = prose(80_000, 5)
QUERY = "When does the ferry sail?"
PAIRS = [
    (QUERY, LONG),
    (LONG, QUERY),
    (QUERY, "At nine."),
    (QUERY + " " + prose(400), LONG),
    (QUERY + " " + prose(400), prose(900, 3)),
]


def cut_pairs(tokenizer: Any, pairs: Sequence[tuple[str, str]], limit: int) -> list[list[int]]:
    """Return the ids of complete pairs, truncated by transformers."""
    queries, texts = [one for one, _ in pairs], [one for _, one in pairs]
    found = tokenizer(queries, texts, truncation="longest_first", max_length=limit)
    return [list(ids) for ids in found["input_ids"]]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ettin(tmp_path_factory.mktemp("ettin"), hidden=64, layers=2, heads=2)


@pytest.fixture(scope="module")
def whole(reranker: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(reranker))


@pytest.mark.parametrize("limit", [33, 64])
def test_rerankers_read_pairs_as_if_they_tokenized_them_whole(
    reranker: Path, whole: Any, limit: int
) -> None:
    expected = cut_pairs(whole, PAIRS, limit)
    is_cut = [len(whole(*pair, verbose=False)["input_ids"]) > limit for pair in PAIRS]
    assert is_cut == [True, True, False, True, True]
    without_torch = Tokens(reranker, limit)
    ids, cut = without_torch.of_pairs(PAIRS)
    assert (listed(ids), cut) == (expected, is_cut)
    by_torch = TorchCrossEncoder(
        reranker, Placement(EngineSettings("cpu", max_length=limit), Silence())
    )
    ids, cut = by_torch.tokens.of_pairs(PAIRS)
    assert (listed(ids), cut) == (expected, is_cut)
    settings = EngineSettings("cpu", max_length=limit)
    student = Student(ModelFiles("base", reranker), settings, Silence(), seed=1)
    rows, cut = student.read(PAIRS)
    assert (listed(rows), cut) == (expected, is_cut)


@pytest.mark.parametrize("limit", [64, 65])
def test_of_two_long_sides_the_longer_keeps_the_odd_token(
    reranker: Path, whole: Any, limit: int
) -> None:
    short, long = prose(20_000, 1), prose(30_000, 2)
    half, odd = divmod(limit - 3, 2)
    first, second = (whole(one, add_special_tokens=False)["input_ids"] for one in (short, long))
    first, second = first[:half], second[: half + odd]
    expected = [[1, *first, 2, *second, 2], [1, *second, 2, *first, 2]]
    ids, cut = Tokens(reranker, limit).of_pairs([(short, long), (long, short)])
    assert listed(ids) == expected
    assert cut == [True, True]


def test_no_route_of_rerankers_tokenizes_a_long_text_whole(reranker: Path) -> None:
    settings = EngineSettings("cpu", max_length=32)
    tokens = Tokens(reranker, 32)
    by_torch = TorchCrossEncoder(reranker, Placement(settings, Silence()))
    student = Student(ModelFiles("base", reranker), settings, Silence(), seed=1)
    every = [tokens, by_torch.tokens, student.tokens]
    watched = [Watched(one.tokenizer) for one in every]
    for one, watch in zip(every, watched, strict=True):
        one.tokenizer = cast("Any", watch)
        one.of_pairs([(QUERY, LONG)])
    assert all(0 < one.longest < 2_000 for one in watched)


def test_embedders_read_texts_as_if_they_tokenized_them_whole(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    (tmp_path / "m").mkdir()
    folder = embedder(tmp_path / "m")
    texts = [LONG, "At nine.", "", LONG[:3_000]]
    whole: Any = AutoTokenizer.from_pretrained(str(folder))
    expected = whole(texts, truncation=True, max_length=24)["input_ids"]
    tokens = Tokens(folder, 24)
    by_torch = TorchEncoder(folder, 24, Placement(EngineSettings("cpu"), Silence()))
    watched = [Watched(tokens.tokenizer), Watched(by_torch.tokens.tokenizer)]
    tokens.tokenizer, by_torch.tokens.tokenizer = cast("list[Any]", watched)
    for token_ids in (tokens.of_texts, by_torch.token_ids):
        ids, cut = token_ids(texts)
        assert listed(ids) == expected
        assert cut == [True, False, False, True]
    assert all(0 < one.longest < 4_000 for one in watched)


def test_a_static_embedder_reads_texts_as_if_it_tokenized_them_whole(tmp_path: Path) -> None:
    folder = static(tmp_path, cut=24)
    model = StaticModel(folder, 24)
    whole = Tokenizer.from_file(str(next(folder.rglob("tokenizer.json"))))
    whole.no_truncation()
    watched = Watched(model.tokenizer)
    model.tokenizer = cast("Any", watched)
    ids, cut = model.token_ids([LONG, "At nine."])
    assert listed(ids) == [ids_of(whole, LONG)[:24], ids_of(whole, "At nine.")]
    assert cut == [True, False]
    assert 0 < watched.longest < 4_000


def test_late_interaction_in_torch_reads_texts_as_if_it_tokenized_them_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = multi_vector(tmp_path)
    settings = EngineSettings("cpu", max_length=24)
    encoder = TorchTokenEncoder(folder, Placement(settings, Silence()))

    def vectors() -> tuple[list[list[float]], list[bool]]:
        found: dict[int, list[float]] = {}
        cut = encoder.texts(
            [LONG, "At nine."], lambda at, text: found.update({at: text.tokens.ravel().tolist()})
        )
        return [found[0], found[1]], cut.tolist()

    encoder.tokenizer = watched = Watched(encoder.tokenizer)
    short = vectors()
    assert 0 < watched.longest < 4_000
    encoder.long_texts = LongTexts(None)
    assert short == vectors()
    assert short[1] == [True, False]
    assert watched.longest > 80_000


def test_the_stand_in_scores_a_long_text_by_its_beginning() -> None:
    files = find_model("embedded", offline=True, reporter=Silence())
    made = load_reranker(reranker_of(files), EngineSettings("cpu", max_length=48), Silence())
    counter = load_token_counter(files)
    whole = Tokenizer.from_file(str(files.folder / "tokenizer.json"))
    whole.no_truncation()
    whole.no_padding()
    end = whole.encode(LONG, add_special_tokens=False).offsets[45][1]
    assert counter.beginning(LONG, 46) == LONG[:end]
    # The first 46 tokens alone are not truncated, and score the same.
    scores = made.score([(QUERY, LONG), (QUERY, LONG[:end])])
    assert scores.values[0] == scores.values[1]
    assert scores.truncated.tolist() == [True, False]
