"""Small, complete tokenizers of every kind that models have."""

import struct
from collections.abc import Callable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from ettin_cli.models.hub import find_model
from ettin_cli.records import Silence
from tests.models import TEXTS, tokenizer

LEARNT = [
    *TEXTS,
    "日本語のフェリーは九時に出ます。",
    "где находится библиотека",
    "e\u0301 e\u0301a",
]
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MAPPED = {"\u3000": " ", "\u00a0": " ", "\u200b": " ", "ﬁ": "fi", "①": "1", "ａ": "a", "\n": " "}


def charsmap(mapped: dict[str, str]) -> bytes:
    """Return a sentencepiece table: a double array of keys, and the replacement of each."""
    values, places = b"", {}
    for key, value in mapped.items():
        places[key.encode() + b"\0"] = len(values)
        values += value.encode() + b"\0"
    # For every prefix of a key, the block of the array that holds its possible continuations.
    beginnings = sorted({key[:end] for key in places for end in range(len(key))}, key=len)
    block = {beginning: 256 * (1 + at) for at, beginning in enumerate(beginnings)}
    array = [0] * 256 * (1 + len(block))
    array[0] = block[b""] << 10
    for beginning in beginnings[1:]:
        place = block[beginning[:-1]] + beginning[-1]
        is_key = beginning + b"\0" in places
        array[place] = (place ^ block[beginning]) << 10 | is_key << 8 | beginning[-1]
        if is_key:
            array[block[beginning]] = 1 << 31 | places[beginning + b"\0"]
    packed = struct.pack(f"<{len(array)}I", *array)
    return struct.pack("<I", len(packed)) + packed + values


def bert(_: Path) -> Tokenizer:
    folder = find_model("embedded", offline=True, reporter=Silence()).folder
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found


def byte_level(folder: Path) -> Tokenizer:
    tokenizer(folder)
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    # As in ModernBERT: runs of spaces are separate tokens, and a mask includes the space before it.
    found.add_tokens([AddedToken(" " * n, normalized=True) for n in range(2, 9)])
    found.add_tokens([AddedToken("<|endoftext|>", special=True)])
    found.add_tokens([AddedToken("[GAP]", lstrip=True), AddedToken("|||IP|||", normalized=True)])
    found.normalizer = normalizers.NFC()
    return found


def qwen(_: Path) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(LEARNT, trainer)
    made.add_special_tokens([AddedToken("<|endoftext|>")])
    return made


def unigram(*, split_first: bool, scheme: str = "always") -> Callable[[Path], Tokenizer]:
    def build(_: Path) -> Tokenizer:
        made = Tokenizer(models.Unigram())
        table = normalizers.Precompiled(charsmap(MAPPED))
        many = normalizers.Replace(Regex(" {2,}"), " ")
        made.normalizer = normalizers.Sequence([table, many])
        space = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        before = [pre_tokenizers.WhitespaceSplit()] if split_first else []
        made.pre_tokenizer = pre_tokenizers.Sequence([*before, space])
        trainer = trainers.UnigramTrainer(
            vocab_size=120, special_tokens=["<unk>", "<s>"], unk_token="<unk>", show_progress=False
        )
        made.train_from_iterator(LEARNT, trainer)
        made.add_special_tokens([AddedToken("<s>"), AddedToken("<mask>", lstrip=True)])
        return made

    return build


KINDS: dict[str, Callable[[Path], Tokenizer]] = {
    "bert": bert,
    "byte-level": byte_level,
    "qwen": qwen,
    "xlm-roberta": unigram(split_first=True),
    "metaspace": unigram(split_first=False),
    "metaspace-first": unigram(split_first=False, scheme="first"),
}
