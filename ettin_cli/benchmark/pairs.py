"""The pairs that are measured: of any length from a sample corpus, or the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ettin_cli.corpus import JSONL
from ettin_cli.errors import CorpusError, InvalidArgumentError, ModelError, first_line
from ettin_cli.files import read_queries
from ettin_cli.files.requests import RequestFields, open_requests
from ettin_cli.models import ModelFiles
from ettin_cli.models.rerankers import with_text
from ettin_cli.records import Rejection, Request
from ettin_cli.storage import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pair = tuple[str, str]

MOST_PAIRS, LEAST_PAIRS = 200, 3
TOKENS_IN_ALL = 25_000
DOCUMENTS_A_QUERY = 20
# Its multiples, their whole parts left out, are spread evenly.
GOLDEN_RATIO = 0.618034


class PairTokens:
    """A cross-encoder's tokenizer, which counts and cuts pairs.

    Raises:
        ModelError: The model has none that can be read.
    """

    def __init__(self, files: ModelFiles, *, trust_remote_code: bool) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                str(files.folder), trust_remote_code=trust_remote_code, local_files_only=True
            )
        except Exception as error:  # damaged files fail in any way there is
            raise ModelError(
                f"cannot read the tokenizer in {files.folder}: {first_line(error)}"
            ) from error

    def counts(self, pairs: Sequence[Pair]) -> list[int]:
        """Return the tokens of each pair, special ones included and nothing cut."""
        queries, texts = zip(*pairs, strict=True)
        ids = self.tokenizer(list(queries), list(texts), truncation=False, verbose=False)
        return [len(one) for one in ids["input_ids"]]

    def cut(self, query: str, texts: Iterator[str], tokens: int) -> str:
        """Return so many texts as fill a pair of `tokens` tokens, the last of them cut."""
        joined = next(texts)
        while self.counts([(query, joined)])[0] < tokens:
            # Doubled each time, so that a long document is not counted for every text in it.
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
    """The queries and texts that pairs of any length are made of."""

    queries: Sequence[str]
    texts: Sequence[str]

    @classmethod
    def of(cls, collection: Path) -> SampleTexts:
        """Read a collection that has queries.jsonl and corpus.jsonl."""
        rows = [row[0] for row in JSONL.rows(collection / "corpus.jsonl")]
        texts = [str(row["text"]) for row in rows if isinstance(row, dict)]
        return cls([query.text for query in read_queries(collection / "queries.jsonl")], texts)

    def pairs(
        self, counter: PairTokens, tokens: int, limit: int | None, *, spread: bool = False
    ) -> list[Pair]:
        """Return pairs of about, and of no more than, so many tokens; each is another.

        Args:
            limit: How many; None: as many as are measured in a reasonable time.
            spread: From half of that many tokens to one and a half, as passages come.

        Raises:
            InvalidArgumentError: There are not so many, or a query leaves no room for a text.
        """
        wanted = limit or max(LEAST_PAIRS, min(MOST_PAIRS, TOKENS_IN_ALL // tokens))
        most = len(self.queries) * len(self.texts)
        if wanted > most:
            raise InvalidArgumentError(
                f"{wanted:,} pairs are more than the {most:,} that the sample corpus makes",
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
                f"pairs of {tokens} tokens have no room for a text beside {query!r}",
                argument="tokens",
                value=tokens,
            )
        return text


def spread_out(tokens: int, at: int) -> int:
    """Return the length of a pair among those spread evenly from half to one and a half.

    >>> [spread_out(100, at) for at in range(5)]
    [50, 112, 74, 135, 97]
    """
    return round(tokens * (0.5 + at * GOLDEN_RATIO % 1))


@dataclass(frozen=True, slots=True)
class FilePairs:
    """The different pairs of a user's file.

    Args:
        repeated: How many came again, and count once.
    """

    pairs: Sequence[Pair]
    repeated: int
    rejections: Sequence[Rejection]


def read_pairs(path: Path | Stream, limit: int | None) -> FilePairs:
    """Return the pairs of a file that `ettin rerank` reads.

    Args:
        limit: How many different ones, the first of them; None: all.

    Raises:
        CorpusError: It cannot be read, or holds no pairs.
    """
    pairs: dict[Pair, None] = {}
    rejections: list[Rejection] = []
    seen = 0
    with open_requests(path, RequestFields()) as requests:
        for found in _pairs(requests.items, rejections, str(path)):
            if len(pairs) == limit:
                break
            pairs[found] = None
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
            pairs = [(item.query.text, one.passage.content) for one in item.candidates]
            read = with_text(pairs)
            if blank := len(pairs) - len(read):
                reason = f'query "{item.query.query_id}": {blank:,} empty, with nothing to measure'
                rejections.append(Rejection(shown, reason))
            yield from (pairs[at] for at in read)
