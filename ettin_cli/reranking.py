"""(query, text) pairs -> scores: cross-encoders such as Ettin, and late interaction."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ettin_cli.blank import blanks_last
from ettin_cli.cross_encoder import load_cross_encoder
from ettin_cli.engines import EngineSettings
from ettin_cli.errors import InvalidArgumentError, MissingExtraError, ModelError
from ettin_cli.forks import Once
from ettin_cli.hub import EMBEDDED, ModelFiles, find_model
from ettin_cli.loading import Loaded
from ettin_cli.maxsim import TextVectors, TokenEncoder
from ettin_cli.multi_vector import is_multi_vector, load_token_encoder
from ettin_cli.records import Advance, Reporter, Reranker, Scores, no_progress
from ettin_cli.settings import AUTO_RERANKER, ETTIN_MODELS
from ettin_cli.stand_in import EmbeddedTokens, SharedWords
from ettin_cli.tokens import ModelTokens, load_token_counter

if TYPE_CHECKING:
    from ettin_cli.records import Floats

ENGLISH_ONLY = {EMBEDDED, *(model.hub_id for model in ETTIN_MODELS.values())}
SCRIPT_SAMPLE = 200
_LETTER = re.compile(r"[^\W\d_]")
_OTHER_SCRIPT = re.compile(r"[\u0370-\u1cff\u2c80-\ua6ff\ua800-\uab2f\uabc0-\ufaff\ufb13-\ufdff]")


def find_reranker(name: str, *, offline: bool, reporter: Reporter) -> ModelFiles:
    """Return a reranker's files; `auto` is Ettin 32m, else the embedded stand-in, which is said.

    Raises:
        ModelError: It is not to be had.
        InvalidArgumentError: Those are several, one behind another, or none.
    """
    if ("," in name or name == "none") and not Path(name).is_dir():
        raise InvalidArgumentError(
            f'expected a single reranker, got "{name}"', argument="reranker", value=name
        )
    if name != "auto":
        return find_model(name, offline=offline, reporter=reporter)
    try:
        return find_model(AUTO_RERANKER, offline=offline, reporter=reporter)
    except ModelError as error:
        try:
            found = find_model(EMBEDDED, offline=offline, reporter=reporter)
        except MissingExtraError as missing:
            raise ModelError(error.problem, code=missing.code, **missing.fields) from error
        reporter.notice(f"reranking with the embedded stand-in, not Ettin: {error.problem}")
        return found


def load_reranker(
    files: ModelFiles,
    settings: EngineSettings,
    reporter: Reporter,
    loaded: Loaded | None = None,
) -> Reranker:
    """Load a reranker.

    Args:
        loaded: What the stand-in shares its model in, which is an embedder's too; None: nobody.

    Raises:
        ModelError: It cannot be loaded, or not on the device that was asked for.
    """
    if files.name == EMBEDDED:
        return EmbeddedReranker(files, settings, reporter, loaded or Loaded())
    if is_multi_vector(files.folder):
        encoder = load_token_encoder(files.folder, settings, reporter)
        return LateInteractionReranker(files.name, encoder, reporter)
    return CrossEncoderReranker(files, settings, reporter)


class _ScriptNotice:
    """Says once that a text is in a script which an English model makes little of."""

    def __init__(self, name: str, reporter: Reporter) -> None:
        self.name, self.reporter = name, reporter
        self.first = Once() if name in ENGLISH_ONLY else None

    def check(self, texts: Iterable[str]) -> None:
        if not self.first or self.first.over:
            return
        if any(in_other_script(text) for text in texts) and self.first():
            self.reporter.notice(
                f"some text is not in Latin script; {self.name} reads English, "
                "so such scores tell little"
            )


def in_other_script(text: str) -> bool:
    """Say whether most letters at the beginning of a text are of another script than Latin.

    >>> in_other_script("naïve café"), in_other_script("где находится библиотека")
    (False, True)
    """
    sample = text[:SCRIPT_SAMPLE]
    if sample.isascii():
        return False
    return 2 * len(_OTHER_SCRIPT.findall(sample)) > len(_LETTER.findall(sample))


def distinct(items: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Return the different items in order of appearance, and for each item which it is.

    >>> distinct(["b", "a", "b"])
    (['b', 'a'], [0, 1, 0])
    """
    places: dict[Any, int] = {}
    which = [places.setdefault(item, len(places)) for item in items]
    return list(places), which


def checked(values: Floats, name: str) -> Floats:
    """Return scores, all of them numbers.

    Raises:
        ModelError: One is NaN, which has no place in an order.
    """
    import numpy as np

    if np.isnan(values).any():
        raise ModelError(
            f"{name} gave a score that is not a number", code="not-a-number", name=name
        )
    return values


class CrossEncoderReranker:
    """A cross-encoder's raw scores, no activation applied; equal pairs are scored once."""

    def __init__(self, files: ModelFiles, settings: EngineSettings, reporter: Reporter) -> None:
        self.name = files.name
        self.model = load_cross_encoder(files.folder, settings, reporter)
        self.engine, self.max_tokens = self.model.engine, self.model.max_tokens
        self.script = _ScriptNotice(files.name, reporter)

    @blanks_last
    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order."""
        import numpy as np

        some, which = distinct(pairs)
        self.script.check(side for pair in some for side in pair)
        values, cut = self.model.score(some, advance)
        advance(len(pairs) - len(some))
        return Scores(checked(values, self.name)[which], np.array(cut, np.bool_)[which])


class LateInteractionReranker:
    """MaxSim over the vectors of tokens: every query and every text is encoded once."""

    def __init__(self, name: str, encoder: TokenEncoder, reporter: Reporter) -> None:
        self.name, self.encoder, self.reporter = name, encoder, reporter
        self.engine, self.max_tokens = encoder.engine, encoder.max_tokens
        self.script = _ScriptNotice(name, reporter)
        self.first_cut = Once()

    @blanks_last
    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order; a pair is cut where either side was."""
        import numpy as np

        queries, query_of = distinct([query for query, _ in pairs])
        texts, text_of = distinct([text for _, text in pairs])
        self.script.check([*queries, *texts])
        encoded, queries_cut = self.encoder.queries(queries)
        self._tell(int(queries_cut.sum()))
        wanted: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for at, (query, text) in enumerate(zip(query_of, text_of, strict=True)):
            wanted[text][query].append(at)
        values = np.full(len(pairs), np.nan, np.float32)

        def compare(text: int, document: TextVectors) -> None:
            for query, where in wanted[text].items():
                values[where] = encoded[query].score(document)
            advance(sum(map(len, wanted[text].values())))

        cut = self.encoder.texts(texts, compare)
        return Scores(checked(values, self.name), cut[text_of] | queries_cut[query_of])

    def _tell(self, cut: int) -> None:
        if cut and self.first_cut():
            self.reporter.notice(f"a query is longer than {self.name} reads, and was cut")


class EmbeddedReranker:
    """The embedded stand-in, which needs no download: late interaction, plus the words shared.

    score(q, d) = cos(mean(q), mean(d)) + 2 * MaxSim + BM25 as a share of the most it can be.
    """

    def __init__(
        self, files: ModelFiles, settings: EngineSettings, reporter: Reporter, loaded: Loaded
    ) -> None:
        encoder = EmbeddedTokens(files, settings, reporter, loaded)
        self.late = LateInteractionReranker(files.name, encoder, reporter)
        self.words = SharedWords(encoder.rarity)
        self.files = files
        self.name, self.engine, self.max_tokens = files.name, encoder.engine, encoder.max_tokens

    @blanks_last
    def score(self, pairs: Sequence[tuple[str, str]], advance: Advance = no_progress) -> Scores:
        """Score (query, text) pairs, in their order; words that are cut off do not count."""
        late = self.late.score(pairs, advance)
        cut = late.truncated.tolist()
        long = {side for pair, is_cut in zip(pairs, cut, strict=True) if is_cut for side in pair}
        read = {side: self._read(side) for side in long}
        parts = [(read.get(query, query), read.get(text, text)) for query, text in pairs]
        return Scores(late.values + self.words.shares(parts), late.truncated)

    @cached_property
    def _tokens(self) -> ModelTokens:
        return load_token_counter(self.files)

    def _read(self, text: str) -> str:
        """Return the part of a text that is within the limit."""
        room = self.max_tokens - self._tokens.special(pair=False)
        return self._tokens.beginning(text, room)
