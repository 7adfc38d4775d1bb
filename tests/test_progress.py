"""The time left that is shown agrees with the time that the work then takes."""

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ettin_cli.console.console import Console
from ettin_cli.console.progress import TaskProgress
from ettin_cli.files.requests.fields import RequestFields
from ettin_cli.files.requests.reading import open_requests
from ettin_cli.records import Advance, RerankerCard, Scores, no_progress
from ettin_cli.searching.progress import QueriesWatched
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.rerank_requests import rerank
from ettin_cli.storage import Stream

SECONDS_A_CHARACTER = 0.001
LEFT = re.compile(r"([\d.]+) (s|min|h) left")
UNITS = {"s": 1, "min": 60, "h": 3600}
OPTIONS = SearchOptions(top_k=1, by="passage")


class Clock:
    """A clock that is advanced by work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("ettin_cli.console.progress.time.monotonic", lambda: self.now)


class SlowReranker:
    """Takes time per character, in batches of eight texts, the longest first."""

    card = RerankerCard("slow", "none", 512)

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def score(self, pairs: Any, advance: Advance = no_progress) -> Scores:
        lengths = sorted((len(query) + len(text) for query, text in pairs), reverse=True)
        for begin in range(0, len(lengths), 8):
            batch = lengths[begin : begin + 8]
            self.clock.now += sum(batch) * SECONDS_A_CHARACTER
            advance(len(batch))
        return Scores(np.zeros(len(pairs), np.float32), np.zeros(len(pairs), np.bool_))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[tuple[float, float | None]]:
    """Records each time left that is shown, and when."""
    lines: list[tuple[float, float | None]] = []

    def say(text: str) -> None:
        found = LEFT.search(text)
        lines.append((clock.now, float(found[1]) * UNITS[found[2]] if found else None))

    monkeypatch.setattr("ettin_cli.console.progress.write_line", say)
    return lines


def uneven() -> list[dict[str, Any]]:
    """Return queries of which the last have by far the longest documents."""
    drawn = random.Random(7)
    return [
        {
            "query_id": f"q{n}",
            "query": f"query {n}",
            "documents": [
                "x" * drawn.randint(5, 40 if n < 700 else 900) for _ in range(drawn.randint(1, 9))
            ],
        }
        for n in range(1000)
    ]


def rows_of(records: list[dict[str, Any]]) -> list[dict[str, str]]:
    rows = [
        {"qid": one["query_id"], "query": one["query"], "text": text}
        for one in records
        for text in one["documents"]
    ]
    random.Random(5).shuffle(rows)
    return rows


def lists_file(path: Path) -> Path:
    path = path / "in.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in uneven()))
    return path


def pairs_file(path: Path) -> Path:
    path = path / "in.csv"
    rows = [",".join(row.values()) for row in rows_of(uneven())]
    path.write_text("\n".join(["qid,query,text", *rows]) + "\n")
    return path


def packed_file(path: Path) -> Path:
    import gzip

    packed = path / "in.jsonl.gz"
    packed.write_bytes(gzip.compress(lists_file(path).read_bytes()))
    return packed


def check(lines: list[tuple[float, float | None]], end: float) -> None:
    """Check that each time left was correct to a fifth, since bytes are not characters."""
    assert len(lines) > 20
    for now, left in lines[len(lines) // 10 :]:
        assert left is not None
        # Line ends are known to within a block of the file.
        rounding = 30 if left >= 100 else 5
        assert abs(left - (end - now)) <= rounding + 0.2 * (end - now)


@pytest.mark.parametrize("made", [lists_file, pairs_file, packed_file])
def test_the_time_left_of_a_long_rerank_is_what_it_then_takes(
    tmp_path: Path,
    clock: Clock,
    said: list[tuple[float, float | None]],
    made: Callable[[Path], Path],
) -> None:
    with open_requests(made(tmp_path), RequestFields()) as file:
        items = list(rerank(file.items, SlowReranker(clock), OPTIONS, Console(), share=file.share))
    assert sum(len(window.answers) for window in items) == 1000
    check(said, clock.now)


def test_what_an_earlier_run_did_is_not_taken_for_speed(
    tmp_path: Path, clock: Clock, said: list[tuple[float, float | None]]
) -> None:
    with open_requests(lists_file(tmp_path), RequestFields()) as file:
        windows = rerank(
            file.items, SlowReranker(clock), OPTIONS, Console(), share=file.share, done=511
        )
        assert sum(len(window.answers) for window in windows) == 1000 - 511
    check(said, clock.now)


def test_rows_of_parquet_tell_how_far_it_is(tmp_path: Path) -> None:
    records = [{"query": f"q{n}", "documents": [{"id": "d", "text": "t"}]} for n in range(40)]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "in.parquet")
    with open_requests(tmp_path / "in.parquet", RequestFields()) as file:
        shares = [file.share() for _ in file.items]
    assert shares == pytest.approx([n / 40 for n in range(1, 41)])


def test_a_pipe_has_no_time_left(clock: Clock, said: list[tuple[float, float | None]]) -> None:
    from io import BytesIO

    content = "".join(json.dumps(one) + "\n" for one in uneven()).encode()
    with open_requests(Stream(BytesIO(content)), RequestFields()) as file:
        list(rerank(file.items, SlowReranker(clock), OPTIONS, Console(), share=file.share))
    assert len(said) > 20
    assert {left for _, left in said} == {None}


def windows_of(lengths: list[list[int]], size: int) -> Iterator[list[list[int]]]:
    for begin in range(0, len(lengths), size):
        yield lengths[begin : begin + size]


@pytest.mark.parametrize("known", [True, False])
def test_the_time_left_of_many_queries_is_of_all_of_them(
    clock: Clock, said: list[tuple[float, float | None]], known: bool
) -> None:
    drawn = random.Random(3)
    lengths = [[drawn.randint(50, 150) for _ in range(20)] for _ in range(640)]
    reranker = SlowReranker(clock)
    with QueriesWatched(Console(), len(lengths) if known else None, 64) as watched:
        for window in windows_of(lengths, 64):
            flat = [length for one in window for length in one]
            with watched.watch(len(window), flat, len(flat)) as advance:
                reranker.score([("", "x" * length) for length in flat], advance)
    if known:
        check(said, clock.now)
    else:
        assert {left for _, left in said} == {None}


def test_a_few_queries_are_counted(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        QueriesWatched(Console(), None, 64) as watched,
        watched.watch(2, [5, 5], 40) as advance,
    ):
        clock.now = 6.0
        advance(10)
    assert capsys.readouterr().err == "ettin: reranking: 10 of 40 pairs, 1.7/s, 18 s left\n"


def test_the_time_left_of_a_file_of_pairs_to_score(
    tmp_path: Path,
    clock: Clock,
    said: list[tuple[float, float | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ettin_cli.commands.score_pairs import PairsJob, score_pairs

    monkeypatch.setattr("ettin_cli.commands.score_pairs.WINDOW", 300)
    job = PairsJob(pairs_file(tmp_path), tmp_path / "out.jsonl", (), False, False, "key")
    assert score_pairs(job, [SlowReranker(clock)], Console()) == 0
    check(said, clock.now)


def test_parts_that_add_up_to_more_than_the_whole_leave_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    # In floating point 0.1 + 0.2 exceeds 0.3.
    pace = TaskProgress(None, "pairs", lambda: (0.1 + 0.2) / 0.3)
    clock.now, pace.done = 30.0, 60
    assert pace.describe() == "60 pairs, 2.0/s, 0 s left"
