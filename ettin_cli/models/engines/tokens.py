"""Texts -> token ids, using only the tokenizers library."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.boundaries import LongTexts
from ettin_cli.models.engines.graph import UnsupportedModelError
from ettin_cli.models.model_folder import STATIC, read_json, read_modules
from ettin_cli.runtime import TOKENIZERS, Lock, guard_children, hold_to_one_thread

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

NO_LIMIT = 1_000_000
TRUNK_FILE = "sentence_bert_config.json"
TYPES = "token_type_ids"


class Rebuilt(NamedTuple):
    """What transformers rebuilds for a class of tokenizers, overriding tokenizer.json.

    Args:
        part: The rebuilt part.
        settings: For each value in it, the setting and its default.
        processor: The post-processor that adds special tokens around a pair.
        pair: The same as a template: the types of its pieces.
    """

    part: str
    settings: dict[str, tuple[str, bool | None]]
    processor: str
    pair: list[int]


# Model inputs besides ids by class of tokenizer, if its settings do not list them.
INPUTS: dict[str, tuple[str, ...]] = {
    "BertTokenizer": (TYPES,),
    "CamembertTokenizer": (),
    "PreTrainedTokenizer": (),
    "RobertaTokenizer": (),
    "TokenizersBackend": (),
    "XLMRobertaTokenizer": (),
}
REBUILT = {
    "BertTokenizer": Rebuilt(
        "normalizer",
        {
            "lowercase": ("do_lower_case", True),
            "strip_accents": ("strip_accents", None),
            "handle_chinese_chars": ("tokenize_chinese_chars", True),
        },
        "BertProcessing",
        [0, 0, 0, 1, 1],
    ),
    "RobertaTokenizer": Rebuilt(
        "pre_tokenizer",
        {"add_prefix_space": ("add_prefix_space", False)},
        "RobertaProcessing",
        [0, 0, 0, 0, 0, 0],
    ),
}
NO_SPECIAL = re.compile(rb'"post_processor"\s*:\s*null')

guard_children()


class TokenIds(NamedTuple):
    """The tokens of one text or pair.

    Args:
        types: Distinguishes a query's tokens from a text's.
        attended: Number of leading tokens that all tokens attend to; None: all.
    """

    ids: list[int]
    types: list[int]
    attended: int | None = None


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return a model's own tokenizer, without truncation and padding.

    Raises:
        ModelError: The folder has no tokenizer.json, or it is damaged.
    """
    from tokenizers import Tokenizer

    path = (static_part(folder) or folder) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises no specific exception
        raise ModelError(f"cannot read {path}: {error}", code="cannot-read", path=path) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def static_part(folder: Path) -> Path | None:
    """Return the part of a static embedder with table and tokenizer; None for other models."""
    kinds = [module["type"].rpartition(".")[2] for module in read_modules(folder)]
    if kinds[:1] != [STATIC] or not {*kinds[1:]} <= {"Normalize"}:
        return None
    return folder / read_modules(folder)[0]["path"]


def read_trunk_settings(folder: Path) -> dict[str, Any]:
    """Return sentence-transformers' settings for a model's transformer; empty for its defaults.

    They apply only if there is a list of modules.

    Raises:
        ModelError: The settings file is not JSON.
    """
    if not (folder / "modules.json").is_file():
        return {}
    files = sorted(folder.glob("sentence_*_config.json"), key=lambda file: file.name != TRUNK_FILE)
    return dict(read_json(files[0], default={})) if files else {}


def token_limit(folder: Path) -> int:
    """Return a model's token limit, special tokens included."""
    if part := static_part(folder):
        cut = read_json(part / "tokenizer.json", default={}).get("truncation") or {}
        return int(cut.get("max_length", NO_LIMIT))
    positions = position_limit(folder)
    own = read_json(folder / "tokenizer_config.json", default={}).get("model_max_length")
    limits = (read_trunk_settings(folder).get("max_seq_length") or own, positions)
    return min((int(limit) for limit in limits if limit and 0 < limit < NO_LIMIT), default=512)


def position_limit(folder: Path) -> int | None:
    """Return the number of positions of a model; None if its configuration lacks it."""
    config = read_json(folder / "config.json", default={})
    positions: int | None = config.get("max_position_embeddings")
    if positions and config.get("model_type") in ("roberta", "xlm-roberta", "camembert"):
        positions -= config.get("pad_token_id", 1) + 1
    return positions


def check_tokenizer(folder: Path) -> None:
    """Check that transformers follows tokenizer.json.

    Raises:
        UnsupportedModelError: It does not, or may not.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UnsupportedModelError("a model without tokenizer.json")
    kind, settings = _tokenizer_settings(folder)
    if kind not in INPUTS:
        raise UnsupportedModelError(f"a tokenizer of class {kind}")
    if NO_SPECIAL.search(path.read_bytes()) or settings.keys() & {"add_bos_token", "add_eos_token"}:
        raise UnsupportedModelError("special tokens that are missing from tokenizer.json")
    if kind in REBUILT:
        _check_rebuilt(REBUILT[kind], read_json(path, default={}), settings)


def _check_rebuilt(rebuilt: Rebuilt, written: dict[str, Any], settings: dict[str, Any]) -> None:
    part = written.get(rebuilt.part) or {}
    for name, (setting, default) in rebuilt.settings.items():
        if part.get(name) != settings.get(setting, default):
            raise UnsupportedModelError(f"a tokenizer.json that contradicts {setting}")
    last = written["post_processor"]
    pair = [piece["type_id"] for entry in last.get("pair", ()) for piece in entry.values()]
    if last["type"] != rebuilt.processor and pair != rebuilt.pair:
        raise UnsupportedModelError("a tokenizer.json that contradicts its class")


def gives_types(folder: Path) -> bool:
    """Return whether a model's tokenizer distinguishes a query's tokens from a text's."""
    kind, settings = _tokenizer_settings(folder)
    return TYPES in (settings.get("model_input_names") or INPUTS[kind])


def _tokenizer_settings(folder: Path) -> tuple[str, dict[str, Any]]:
    settings = read_json(folder / "tokenizer_config.json", default={})
    return str(settings.get("tokenizer_class")).removesuffix("Fast"), settings


class Tokens:
    """A tokenizer that truncates at a limit, and reports truncation; threads take turns.

    Args:
        limit: Maximum tokens of a text or pair, special tokens included.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.limit = limit
        # Truncation is state of the tokenizer, which differs between the two steps.
        self.turn = Lock()
        self.tokenizer = load_tokenizer(folder)
        settings = read_json(folder / "tokenizer_config.json", default={})
        self.side = settings.get("truncation_side", "right")
        self.long_texts = LongTexts(self.tokenizer, self.side)

    def of_texts(self, texts: Sequence[str]) -> tuple[list[TokenIds], list[bool]]:
        """Return each text's tokens, and whether it was truncated."""
        with self.turn:
            read = self._encoded(self.long_texts.beginnings(texts, self.limit))
            return self._finished([(encoding, None) for encoding in read])

    def of_pairs(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[TokenIds], list[bool]]:
        """Return each pair's tokens, and whether it was truncated, the longer side first.

        A text that occurs in several pairs is tokenized once.
        """
        with self.turn:
            pairs = self.long_texts.beginnings_of_pairs(pairs, self.limit)
            sides = dict.fromkeys(side for pair in pairs for side in pair)
            encoded = dict(zip(sides, self._encoded(list(sides)), strict=True))
            return self._finished([(encoded[query], encoded[text]) for query, text in pairs])

    def _encoded(self, texts: Sequence[str]) -> list[Encoding]:
        hold_to_one_thread(TOKENIZERS)
        self.tokenizer.no_truncation()
        return self.tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def _finished(
        self, encoded: Sequence[tuple[Encoding, Encoding | None]]
    ) -> tuple[list[TokenIds], list[bool]]:
        """Add special tokens, and truncate."""
        self.tokenizer.enable_truncation(self.limit, direction=self.side)
        room = [
            self.limit - self.tokenizer.num_special_tokens_to_add(is_pair)
            for is_pair in (False, True)
        ]
        ids, cut = [], []
        for first, second in encoded:
            encoding = self.tokenizer.post_process(first, second)
            ids.append(TokenIds(encoding.ids, encoding.type_ids))
            size = len(first) + (len(second) if second is not None else 0)
            cut.append(size > room[second is not None])
        return ids, cut
