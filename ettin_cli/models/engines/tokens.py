"""Texts -> token ids, using only the tokenizers library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.assembling import Template, TokenIds, id_array, shortened
from ettin_cli.models.engines.boundaries import LongTexts
from ettin_cli.models.engines.graph import UnsupportedModelError
from ettin_cli.models.model_folder import STATIC, read_json, read_modules
from ettin_cli.runtime import TOKENIZERS, Lock, guard_children, hold_to_one_thread

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ettin_cli.models.engines.assembling import Ids

NO_LIMIT = 1_000_000
GROUP_CHARACTERS = 1 << 20
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
        settings = read_json(folder / "tokenizer_config.json", default={})
        self._begin(load_tokenizer(folder), limit, settings.get("truncation_side", "right"))

    def _begin(self, tokenizer: Tokenizer, limit: int, side: str) -> None:
        self.tokenizer, self.limit, self.side = tokenizer, limit, side
        # Truncation and padding are state of the tokenizer, which others may set.
        self.turn = Lock()
        self.long_texts = LongTexts(tokenizer, side)
        self._templates: dict[int, Template] = {}

    def of_texts(self, texts: Sequence[str]) -> tuple[Sequence[TokenIds], list[bool]]:
        """Return each text's tokens, and whether it was truncated."""
        with self.turn:
            self._reset()
            read = self.long_texts.beginnings(texts, self.limit)
        return self._assembled([(ids,) for ids in self._encoded(read)], 1)

    def of_pairs(self, pairs: Sequence[tuple[str, str]]) -> tuple[Sequence[TokenIds], list[bool]]:
        """Return each pair's tokens, and whether it was truncated, the longer side first.

        A text that occurs in several pairs is tokenized once.
        """
        with self.turn:
            self._reset()
            pairs = self.long_texts.beginnings_of_pairs(pairs, self.limit)
        sides = list(dict.fromkeys(side for pair in pairs for side in pair))
        encoded = dict(zip(sides, self._encoded(sides), strict=True))
        return self._assembled([(encoded[query], encoded[text]) for query, text in pairs], 2)

    def _reset(self) -> None:
        hold_to_one_thread(TOKENIZERS)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def _encoded(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of texts without special tokens.

        The tokenizer's own records are ten times larger, so they are kept for a group of texts.
        """
        ids: list[Ids] = []
        for group in _groups(texts):
            with self.turn:
                self._reset()
                made = self.tokenizer.encode_batch_fast(group, add_special_tokens=False)
            ids += [id_array(one.ids) for one in made]
        return ids

    def _assembled(
        self, every: Sequence[Sequence[Ids]], texts: int
    ) -> tuple[Sequence[TokenIds], list[bool]]:
        """Add special tokens to groups of one or two texts, and truncate."""
        if not every:
            return [], []
        template = self._template(texts)
        room = max(0, self.limit - template.added)
        short = [shortened(group, room, self.side) for group in every]
        cut = [one is not group for one, group in zip(short, every, strict=True)]
        return template.around(short), cut

    def _template(self, texts: int) -> Template:
        if texts not in self._templates:
            with self.turn:
                self._reset()
                self._templates[texts] = Template(self.tokenizer, texts)
        return self._templates[texts]


def _groups(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield texts in groups of a bounded number of characters."""
    group: list[str] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text)
        if characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
