"""The pairs to measure: of a given length from a sample corpus, or from a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.corpus import JSONL
from ettin_cli.errors import CorpusError, InvalidArgumentError, ModelError, first_line
from ettin_cli.files import read_queries
from ettin_cli.files.requests import RequestFields, open_requests
from ettin_cli.models import ModelFiles
from ettin_cli.models.rerankers import with_text
from ettin_cli.records import Pair, Rejection, Request
from ettin_cli.storage import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


LEAST_PAIRS = 3
DOCUMENTS_A_QUERY = 20
# The fractional parts of its multiples are evenly distributed.
GOLDEN_RATIO = 0.618034


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured in a round.

    Args:
        pairs: The most pairs.
        tokens: The tokens of all pairs, about.
    """

    pairs: int
    tokens: int

    def of(self, tokens: int) -> int:
        """Return the number of pairs of so many tokens."""
        return max(LEAST_PAIRS, min(self.pairs, self.tokens // tokens))


ON_CPU = Amount(200, 25_000)
# Many batches of 65,536 tokens, so that a GPU is busy most of the time.
ON_GPU = Amount(8192, 1_000_000)


class PairTokens:
    """Counts and truncates pairs with a cross-encoder's tokenizer.

    Raises:
        ModelError: The tokenizer cannot be read.
    """

    def __init__(self, files: ModelFiles, *, trust_remote_code: bool) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                str(files.folder), trust_remote_code=trust_remote_code, local_files_only=True
            )
        except Exception as error:  # damaged files can raise anything
            raise ModelError(
                f"cannot read the tokenizer in {files.folder}: {first_line(error)}"
            ) from error

    def counts(self, pairs: Sequence[Pair]) -> list[int]:
        """Return the token count of each pair, with special tokens and without truncation."""
        queries, texts = zip(*pairs, strict=True)
        ids = self.tokenizer(list(queries), list(texts), truncation=False, verbose=False)
        return [len(tokens) for tokens in ids["input_ids"]]

    def cut(self, query: str, texts: Iterator[str], tokens: int) -> str:
        """Return texts joined to fill a pair of `tokens` tokens, the last one truncated."""
        joined = next(texts)
        while self.counts([(query, joined)])[0] < tokens:
            # Doubled each time, so that tokens are not recounted after every text.
            joined = " ".join([joined, *_at_least(texts, len(joined))])
        fit, too_long = 0, len(joined) + 1
        while too_long - fit > 1:
            middle = (fit + too_long) // 2
            if self.counts([(query, joined[:middle])])[0] <= tokens:
                fit = middle
            else:
                too_long = middle
        return joined[:fit].rstrip()


def _at_least(texts: Iterator[str], characters: int) -> Iterator[str]:
    while characters > 0:
        text = next(texts)
        characters -= len(text)
        yield text


@dataclass(frozen=True, slots=True)
class SampleTexts:
    """The queries and texts from which pairs of any length are made."""

    queries: Sequence[str]
    texts: Sequence[str]

    @classmethod
    def of(cls, collection: Path) -> SampleTexts:
        """Return the sample of a collection with queries.jsonl and corpus.jsonl."""
        rows = [row[0] for row in JSONL.rows(collection / "corpus.jsonl")]
        texts = [str(row["text"]) for row in rows if isinstance(row, dict)]
        return cls([query.text for query in read_queries(collection / "queries.jsonl")], texts)

    def pairs(
        self,
        counter: PairTokens,
        tokens: int,
        limit: int | None,
        *,
        spread: bool = False,
        amount: Amount = ON_CPU,
    ) -> list[Pair]:
        """Return distinct pairs of at most, and nearly, this many tokens.

        Pairs beyond 200 are earlier ones with the words of the text in another order.

        Args:
            limit: The number of pairs; None: as many as take a reasonable time, by `amount`.
            spread: Vary the lengths from 0.5 to 1.5 times `tokens`, like real passages.

        Raises:
            InvalidArgumentError: The sample has too few pairs, or a query leaves no room for text.
        """
        if limit is None and amount.of(tokens) > ON_CPU.of(tokens):
            few = self.pairs(counter, tokens, None, spread=spread)
            return list(islice(_rotated(few), amount.of(tokens)))
        wanted = limit or ON_CPU.of(tokens)
        most = len(self.queries) * len(self.texts)
        if wanted > most:
            raise InvalidArgumentError(
                f"the sample corpus has only {most:,} pairs, not {wanted:,}",
                argument="pairs",
                value=wanted,
                most=most,
            )
        asked = min(len(self.queries), -(-wanted // DOCUMENTS_A_QUERY))
        each = -(-wanted // asked)
        queries = [self.queries[at // each] for at in range(wanted)]
        return [
            (query, self._text(counter, query, at, spread_out(tokens, at) if spread else tokens))
            for at, query in enumerate(queries)
        ]

    def _text(self, counter: PairTokens, query: str, start: int, tokens: int) -> str:
        onwards = islice(cycle(self.texts), start % len(self.texts), None)
        text = counter.cut(query, onwards, tokens)
        if not text:
            raise InvalidArgumentError(
                f"pairs of {tokens} tokens are too short for the query {query!r} and a text",
                argument="tokens",
                value=tokens,
            )
        return text


def _rotated(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Yield pairs, and then again with the first words at the end, as often as that is new."""
    seen: set[Pair] = set()
    for words in count():
        before = len(seen)
        for query, text in pairs:
            parts = text.split(" ")
            pair = query, " ".join([*parts[words:], *parts[:words]])
            if words < len(parts) and pair not in seen:
                seen.add(pair)
                yield pair
        if len(seen) == before:
            return


def spread_out(tokens: int, position: int) -> int:
    """Return the length of the pair at a position, spread from 0.5 to 1.5 times `tokens`.

    >>> [spread_out(100, at) for at in range(5)]
    [50, 112, 74, 135, 97]
    """
    return round(tokens * (0.5 + position * GOLDEN_RATIO % 1))


@dataclass(frozen=True, slots=True)
class FilePairs:
    """The distinct pairs of a file.

    Args:
        repeated: The number of repeated pairs left out.
    """

    pairs: Sequence[Pair]
    repeated: int
    rejections: Sequence[Rejection]


def read_pairs(path: Path | Stream, limit: int | None) -> FilePairs:
    """Return the pairs of a file in a format that `ettin rerank` reads.

    Args:
        limit: Maximum number of distinct pairs, from the start; None: all.

    Raises:
        CorpusError: The file cannot be read, or holds no pairs.
    """
    pairs: dict[Pair, None] = {}
    rejections: list[Rejection] = []
    seen = 0
    with open_requests(path, RequestFields()) as requests:
        for pair in _pairs(requests.items, rejections, str(path)):
            if len(pairs) == limit:
                break
            pairs[pair] = None
            seen += 1
    if not pairs:
        raise CorpusError(
            f"{path} has no pairs",
            expected='a row is {"query": "...", "document": "..."}, or a query with its documents',
        )
    return FilePairs(list(pairs), seen - len(pairs), rejections)


def _pairs(
    items: Iterable[Request | Rejection], rejections: list[Rejection], shown: str
) -> Iterator[Pair]:
    for item in items:
        if isinstance(item, Rejection):
            rejections.append(item)
        else:
            pairs = [(item.query.text, candidate.passage.content) for candidate in item.candidates]
            read = with_text(pairs)
            if blank := len(pairs) - len(read):
                reason = f'query "{item.query.query_id}": {blank:,} empty texts, skipped'
                rejections.append(Rejection(shown, reason))
            yield from (pairs[at] for at in read)
