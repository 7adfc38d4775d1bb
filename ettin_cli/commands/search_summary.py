"""The total hits of a search, and why there are no more."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ettin_cli.index import Index
from ettin_cli.records import Answer, Hit
from ettin_cli.searching import BM25, SearchOptions, chosen_rows
from ettin_cli.text.lexical import Demands


class AnswerCounts:
    """Counts answers, hits and the maximum hits per query; keeps the first hit."""

    def __init__(self) -> None:
        self.answers = self.hits = self.most = 0
        self.left_out: int | None = None
        self.first: tuple[Hit, str] | None = None

    def watch(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """Yield the answers while counting them."""
        for answer in answers:
            self.answers += 1
            self.hits += len(answer.hits)
            self.left_out = answer.left_out
            self.most = max(self.most, len(answer.hits))
            if self.first is None and answer.hits:
                self.first = answer.hits[0], answer.wanted
            yield answer


def remarks(
    counts: AnswerCounts, index: Index, retriever: str, chosen: SearchOptions
) -> Iterator[str]:
    """Yield what the query's operators did, and why there are few hits."""
    yield from _as_text(chosen.demands)
    if counts.left_out:
        operators = _narrowing(replace(chosen, filters=(), paths=()))
        yield f"{operators} leaves out {counts.left_out:,} of {len(index.passages):,} passages"
    if counts.answers and (why := _why_few(counts, index, retriever, chosen)):
        yield why


def _as_text(demands: Demands) -> list[str]:
    """Return the parts of a query that look like operators and are searched as text, and why."""
    lines = [
        f'no document has a field "{name}": {typed} is searched as text'
        for name, typed in demands.unknown
    ]
    return lines + [
        f'{option} is searched as text, like an option; to exclude the word: -"{option[1:]}"'
        for option in demands.options
        if len(option) > 2
    ]


def _why_few(
    counts: AnswerCounts, index: Index, retriever: str, chosen: SearchOptions
) -> str | None:
    """Return why there are no hits, or fewer than requested, if the cause is clear."""
    if counts.hits:
        cut = counts.most == chosen.candidates < chosen.top_k
        return f"-c also limits the hits; -c {chosen.top_k} may find more" if cut else None
    if not len(index.passages):
        return f"{index.folder} is empty"
    if chosen.narrowed and not len(chosen_rows(index, chosen)):
        more = "; globs match paths below a SOURCE" if chosen.paths else ""
        if chosen.demands.fields:
            more += "; put words with a colon in double quotes to search for them literally"
        return f"nothing in {index.folder} matches {_narrowing(chosen)}{more}"
    if retriever == BM25 and chosen.min_score is None and chosen.min_probability is None:
        fitting = f" that matches {_narrowing(chosen)}" if chosen.narrowed else ""
        return f"nothing in {index.folder}{fitting} contains a word of the query"
    if chosen.min_probability is not None:
        return f"no hit reaches --min-probability {chosen.min_probability:g}"
    if chosen.min_score is not None:
        return f"no hit reaches --min-score {chosen.min_score:g}"
    return None


def _narrowing(chosen: SearchOptions) -> str:
    """Return the filters and the query syntax that narrow the hits, as typed."""
    demands = chosen.demands
    words = [f"--filter {name}={value}" for name, value in chosen.filters]
    words += [f"--path {glob}" for glob in chosen.paths]
    words += [f'"{phrase}"' for phrase in demands.phrases]
    words += [f'-"{phrase}"' for phrase in demands.excluded]
    words += [f'{name}:"{value}"' for name, value in demands.fields]
    words += [f'-{name}:"{value}"' for name, value in demands.other_fields]
    return " ".join(words)
