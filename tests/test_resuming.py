"""A resumed run repeats no finished work, and its output equals that of an uninterrupted one."""

import csv
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import OutputError
from ettin_cli.files.resuming import ResumableOutput
from ettin_cli.records import Candidate, Passage, Query, Rejection, Request, Silence
from ettin_cli.searching.ranking import SearchOptions
from ettin_cli.searching.rerank_requests import rerank
from tests.fakes import OverlapReranker

OPTIONS = SearchOptions(top_k=3, candidates=5, by="passage")
FORMATS = ["jsonl", "json", "csv", "tsv", "trec", "md", "parquet"]


def items(count: int = 30) -> list[Request | Rejection]:
    made: list[Request | Rejection] = []
    for number in range(count):
        texts = [f"word{(number + at) % 7} word{at}" for at in range(number % 8)]
        candidates = [
            Candidate(at, Passage(f"d{at}", text, metadata={"at": at}), None)
            for at, text in enumerate(texts)
        ]
        made.append(Request(Query(f"q{number}", f"word{number % 7}"), candidates, {"n": number}))
        if number % 9 == 4:
            made.append(Rejection("in.jsonl", "broken", number))
    return made


def write(
    target: Path, format: str, *, resume: bool = False, stop: int | None = None, key: str = "k"
) -> list[int]:
    """Rerank into a file, and return the number of pairs of each scoring call.

    Args:
        stop: Interrupt before this window is written.
    """
    reranker = OverlapReranker(noisy=True)
    with ResumableOutput(target, format, key, text=True, resume=resume) as output:
        if output.finished:
            return []
        done = output.mark.items
        windows = rerank(items(), reranker, OPTIONS, Silence(), done=done)
        for number, window in enumerate(windows):
            if number == stop:
                raise KeyboardInterrupt
            output.write(window.answers, window.rejections, window.end)
        output.finish()
    return reranker.calls


def beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_resumed_run_writes_the_same_bytes(tmp_path: Path, format: str, stop: int) -> None:
    whole, broken = tmp_path / "a" / f"out.{format}", tmp_path / "b" / f"out.{format}"
    whole.parent.mkdir()
    broken.parent.mkdir()
    in_peace = write(whole, format)
    with pytest.raises(KeyboardInterrupt):
        write(broken, format, stop=stop)
    assert not broken.exists()
    rest = write(broken, format, resume=True)
    assert rest == in_peace[stop:]
    assert broken.read_bytes() == whole.read_bytes()
    assert beside(broken) == [f"out.{format}", f"out.{format}.rejects.jsonl"]
    rejects = [
        path.with_name(f"out.{format}.rejects.jsonl").read_text() for path in (whole, broken)
    ]
    assert rejects[0] == rejects[1]
    assert [json.loads(line)["line"] for line in rejects[0].splitlines()] == [4, 13, 22]


def test_what_was_written_beyond_the_mark_is_cut_off(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write(target, "jsonl", stop=3)
    with (tmp_path / "out.jsonl.partial").open("ab") as file:
        file.write(b'{"query_id": "half a li')
    write(target, "jsonl", resume=True)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["query_id"] for line in lines] == [f"q{n}" for n in range(30)]
    assert [line["n"] for line in lines] == list(range(30))


def test_an_unfinished_run_is_not_thrown_away(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write(target, "jsonl", stop=2)
    before = (tmp_path / "out.jsonl.partial").read_bytes()
    with pytest.raises(OutputError, match="left over from an unfinished run") as error:
        write(target, "jsonl")
    assert hint_of(error.value) is not None
    assert "--resume" in str(hint_of(error.value))
    assert (tmp_path / "out.jsonl.partial").read_bytes() == before


def test_another_input_or_model_does_not_go_on_with_it(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write(target, "jsonl", stop=2)
    with pytest.raises(OutputError, match="a different input, model or options"):
        write(target, "jsonl", resume=True, key="other")
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"items": 3}'])
def test_a_damaged_mark_is_refused(tmp_path: Path, content: bytes) -> None:
    target = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write(target, "jsonl", stop=2)
    (tmp_path / "out.jsonl.partial.json").write_bytes(content)
    with pytest.raises(OutputError, match="is damaged"):
        write(target, "jsonl", resume=True)


def test_a_partial_file_that_lost_its_end_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write(target, "jsonl", stop=3)
    partial = tmp_path / "out.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-5])
    with pytest.raises(OutputError, match="is incomplete"):
        write(target, "jsonl", resume=True)


def test_a_run_that_was_killed_between_its_last_steps_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.jsonl"

    def never(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ettin_cli.files.resuming.ResumableOutput._tidy", never)
        write(target, "jsonl")
    assert beside(target) == [
        "out.jsonl",
        "out.jsonl.partial.json",
        "out.jsonl.rejects.jsonl.partial",
    ]
    whole = target.read_bytes()
    with ResumableOutput(target, "jsonl", "k", text=True, resume=True) as output:
        assert output.finished
    assert target.read_bytes() == whole
    assert beside(target) == ["out.jsonl", "out.jsonl.rejects.jsonl"]


def test_removing_what_is_left_starts_again_also_with_resume(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write(target, "jsonl", stop=2)
    (tmp_path / "out.jsonl.partial").unlink()
    write(target, "jsonl", resume=True, key="other")
    assert len(target.read_text().splitlines()) == 30


def test_resuming_where_nothing_was_begun_starts(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", "jsonl")
    write(tmp_path / "b.jsonl", "jsonl", resume=True)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_finished_output_is_replaced_with_its_permissions_and_old_rejects(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "out.csv.rejects.jsonl").write_text("old")
    with ResumableOutput(target, "csv", "k", text=True, resume=False) as output:
        for window in rerank(items(3), OverlapReranker(), OPTIONS, Silence()):
            output.write(window.answers, window.rejections, window.end)
        assert target.read_text() == "old"
        output.finish()
    with target.open(newline="") as file:
        assert [row["query_id"] for row in csv.DictReader(file)] == ["q1", "q2", "q2"]
    assert target.stat().st_mode & 0o777 == 0o640
    assert beside(target) == ["out.csv"]


def test_two_processes_do_not_write_one_output(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with (
        ResumableOutput(target, "jsonl", "k", text=True, resume=False),
        pytest.raises(OutputError, match="another process is writing"),
        ResumableOutput(target, "jsonl", "k", text=True, resume=True),
    ):
        pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_is_one_line_and_what_is_marked_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    target = tmp_path / "out.jsonl"
    synced = iter([None] * 5)

    def fsync(_descriptor: int) -> None:
        if next(synced, 1) is not None:
            raise OSError(code, "it fails")

    with monkeypatch.context() as patch:
        patch.setattr("ettin_cli.files.resuming.os.fsync", fsync)
        with pytest.raises(OutputError, match="cannot write"):
            write(target, "jsonl")
    assert not target.exists()
    write(target, "jsonl", resume=True)
    assert len(target.read_text().splitlines()) == 30


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        write(tmp_path / "none" / "out.jsonl", "jsonl")
    assert not (tmp_path / "none").exists()


def test_parquet_has_a_row_a_hit_after_going_on(tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        write(target, "parquet", stop=4)
    write(target, "parquet", resume=True)
    rows = pq.read_table(target).to_pylist()
    assert [row["rank"] for row in rows if row["query_id"] == "q7"] == [1, 2, 3]
    assert {row["query_id"] for row in rows} == {f"q{n}" for n in range(30) if n % 8}
    assert json.loads(rows[0]["metadata"]) == {"at": 0}


@settings(deadline=None, max_examples=12)
@given(st.lists(st.integers(0, 4), max_size=5))
def test_any_interruptions_leave_the_same_bytes(tmp_path_factory: Any, stops: list[int]) -> None:
    folder = tmp_path_factory.mktemp("any")
    write(folder / "whole.jsonl", "jsonl")
    target = folder / "out.jsonl"
    for stop in stops:
        try:
            write(target, "jsonl", resume=True, stop=stop)
            break
        except KeyboardInterrupt:
            assert not target.exists()
    else:
        write(target, "jsonl", resume=True)
    assert target.read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_windows_grow_so_that_the_first_answer_does_not_wait() -> None:
    taken = 0

    def counted() -> Iterator[Request | Rejection]:
        nonlocal taken
        for item in items():
            taken += 1
            yield item

    windows = rerank(counted(), OverlapReranker(), OPTIONS, Silence())
    assert len(next(windows).answers) == 1
    assert taken == 1
    next(windows)
    assert taken == 3


def test_documents_beyond_the_bound_are_counted_and_the_first_are_scored() -> None:
    windows = list(rerank(items(), OverlapReranker(), OPTIONS, Silence()))
    sizes = [len(item.candidates) for item in items() if isinstance(item, Request)]
    assert sum(window.unscored for window in windows) == sum(max(0, size - 5) for size in sizes)
    hits = [hit for window in windows for answer in window.answers for hit in answer.hits]
    assert max(hit.passage_id for hit in hits) <= 4


def test_repeated_ids_and_missing_scores_are_counted() -> None:
    twice = [Candidate(at, Passage("same", "text"), score) for at, score in enumerate([1.0, None])]
    once = [Candidate(0, Passage("a", "text"), 2.0)]
    asked = [Request(Query("1", "q"), twice), Request(Query("2", "q"), once)]
    windows = list(rerank(asked, OverlapReranker(), OPTIONS, Silence()))
    assert sum(window.repeated for window in windows) == 1
    assert sum(window.scoreless for window in windows) == 1
    assert [len(answer.hits) for window in windows for answer in window.answers] == [2, 1]


def test_blend_takes_the_inputs_scores_and_else_its_order() -> None:
    def order(*scores: float | None) -> list[str]:
        texts = ["word one", "word word2", "none"]
        given = [
            Candidate(at, Passage(f"d{at}", text), score)
            for at, (text, score) in enumerate(zip(texts, scores, strict=True))
        ]
        options = SearchOptions(by="passage", blend=1.0)
        asked = [Request(Query("1", "word"), given)]
        [window] = rerank(asked, OverlapReranker(), options, Silence())
        return [hit.passage.doc_id for hit in window.answers[0].hits]

    assert order(1.0, 2.0, 3.0) == ["d2", "d1", "d0"]
    assert order(None, 2.0, 3.0) == ["d0", "d1", "d2"]
