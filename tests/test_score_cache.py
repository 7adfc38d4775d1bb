"""A cached score equals the first to the bit; a damaged cache never stops a run."""

import multiprocessing
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from ettin_cli.errors import ModelError
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.engines.torch_devices import device_name
from ettin_cli.models.engines.torch_runtime import Placement
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.cross_encoder import CrossEncoderModel
from ettin_cli.models.rerankers.kept_scores import ScoredPair
from ettin_cli.models.rerankers.resolved import FolderReranker, ResolvedReranker
from ettin_cli.models.rerankers.score_cache import (
    CHUNK,
    FILE,
    CachedReranker,
    _opened,
    _sealed,
    score_folder,
)
from ettin_cli.records import Advance, Reporter, RerankerCard, Scores, Silence, no_progress
from tests.conftest import Ettin

CPU = EngineSettings(device="cpu")
Pair = tuple[str, str]


class Notices(Silence):
    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, message: str) -> None:
        self.said.append(message)


def true_score(pair: Pair) -> np.float32:
    """Return a score of `Counting`: a float32 without a short decimal form."""
    return np.float32(crc32(repr(pair).encode("utf-8", "surrogatepass")) / 7 - 3e8)


class Counting:
    """A reranker that records the pairs it scores."""

    def __init__(self, backend: str = "torch cpu float32", fails_after: int | None = None) -> None:
        self.card = RerankerCard("counting", backend, 128)
        self.asked: list[Pair] = []
        self.fails_after = fails_after

    def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
        if self.fails_after is not None and len(self.asked) >= self.fails_after:
            raise KeyboardInterrupt
        self.asked += pairs
        advance(len(pairs))
        values = np.array([true_score(pair) for pair in pairs], np.float32)
        return Scores(values, np.array([len(text) > 20 for _, text in pairs], np.bool_))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderReranker:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    return CrossEncoderModel(ModelFiles("somebody/model", folder))


def cached(
    files: FolderReranker, inner: Counting, reporter: Reporter | None = None
) -> CachedReranker:
    return CachedReranker(files, CPU, lambda: inner, reporter or Silence())


def unloadable(files: ResolvedReranker, reporter: Reporter | None = None) -> CachedReranker:
    def load() -> Counting:
        raise AssertionError("the model was loaded")

    return CachedReranker(files, CPU, load, reporter or Silence())


def pairs(count: int, query: str = "q") -> list[Pair]:
    return [(query, f"text {number}") for number in range(count)]


def check(scores: Scores, expected: Sequence[Pair]) -> None:
    assert scores.values.dtype == np.float32
    assert scores.values.tolist() == [float(true_score(pair)) for pair in expected]
    assert scores.truncated.tolist() == [len(text) > 20 for _, text in expected]


def test_a_second_run_gives_the_same_scores_and_loads_no_model(files: FolderReranker) -> None:
    asked = [*pairs(30), ("q", "a text that is longer than twenty")]
    first, seconds = cached(files, Counting()).timed(asked)
    check(first, asked)
    again = unloadable(files)
    second, same_seconds = again.timed(asked[::-1])
    check(second, asked[::-1])
    assert same_seconds.tolist() == seconds.tolist()[::-1]
    assert (seconds > 0).all()
    assert again.card == RerankerCard("somebody/model", "torch cpu float32", 128)


def test_only_what_is_missing_is_scored_and_once(files: FolderReranker) -> None:
    cached(files, Counting()).score(pairs(10))
    inner = Counting()
    asked = [*pairs(12)[::-1], *pairs(12)]
    check(cached(files, inner).score(asked), asked)
    assert sorted(inner.asked) == [("q", "text 10"), ("q", "text 11")]


def test_progress_adds_up_to_all_pairs(files: FolderReranker) -> None:
    cached(files, Counting()).score(pairs(10))
    steps: list[int] = []
    cached(files, Counting()).score([*pairs(14), *pairs(14)], steps.append)
    assert sum(steps) == 28


def test_no_pairs_have_no_scores(files: FolderReranker) -> None:
    scores, seconds = cached(files, Counting()).timed([])
    assert (len(scores.values), len(scores.truncated), len(seconds)) == (0, 0, 0)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
@given(st.lists(st.tuples(st.text("ab\ud800é", max_size=3), st.text("ab", min_size=1, max_size=3))))
def test_any_pairs_come_back_as_they_were_scored(files: FolderReranker, asked: list[Pair]) -> None:
    check(cached(files, Counting()).score(asked), asked)


def test_where_a_query_ends_and_its_text_begins_tells_pairs_apart(files: FolderReranker) -> None:
    asked = [("ab", "c"), ("a", "bc"), ("", "abc"), ("1", "2\0"), ("1\x002", "\0")]
    inner = Counting()
    check(cached(files, inner).score(asked), asked)
    assert len(inner.asked) == 5


def test_an_interrupted_run_keeps_what_it_scored(files: FolderReranker) -> None:
    asked = pairs(3 * CHUNK)
    with pytest.raises(KeyboardInterrupt):
        cached(files, Counting(fails_after=2 * CHUNK)).score(asked)
    inner = Counting()
    check(cached(files, inner).score(asked), asked)
    assert inner.asked == sorted(asked, key=lambda pair: pair[1])[2 * CHUNK :]


def test_pairs_of_one_text_are_scored_in_one_call(files: FolderReranker) -> None:
    asked = [(f"query {at % 3}", f"text {at // 3 % 400}") for at in range(1200)]
    inner = Counting()
    check(cached(files, inner).score(asked), asked)
    texts = [text for _, text in inner.asked]
    assert texts == sorted(texts)


def test_extreme_scores_come_back_to_the_bit(files: FolderReranker) -> None:
    extreme = np.array([np.inf, -np.inf, 3.4e38, 1e-45, -0.0, 0.1], np.float32)

    class Extreme(Counting):
        def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
            return Scores(extreme, np.zeros(len(pairs), np.bool_))

    cached(files, Extreme()).score(pairs(6))
    assert unloadable(files).score(pairs(6)).values.tobytes() == extreme.tobytes()


def test_a_model_that_fails_to_score_is_said(files: FolderReranker) -> None:
    class Broken(Counting):
        def score(self, pairs: Sequence[Pair], advance: Advance = no_progress) -> Scores:
            raise ModelError("not a number")

    with pytest.raises(ModelError, match="not a number"):
        cached(files, Broken()).score(pairs(1))


# Causes of different scores


def test_whatever_changes_scores_changes_where_they_are_kept(files: FolderReranker) -> None:
    def weights() -> None:
        (files.files.folder / "model.safetensors").write_bytes(b"others!")

    def configuration() -> None:
        (files.files.folder / "config.json").write_text('{"activation": "none"}')

    def head() -> None:
        (files.files.folder / "2_Dense").mkdir()
        (files.files.folder / "2_Dense" / "model.safetensors").write_bytes(b"head")

    found = {score_folder(files, CPU)}
    found |= {score_folder(files, replace(CPU, dtype=dtype)) for dtype in ("fp32", "bf16")}
    found |= {score_folder(files, replace(CPU, max_length=length)) for length in (64, 128)}
    for number, change in enumerate((weights, configuration, head)):
        change()
        found.add(score_folder(files, CPU))
        assert len(found) == 6 + number
    same = replace(CPU, batch_size=3, threads=2)
    assert score_folder(files, same) == score_folder(files, CPU)


def test_scores_of_another_attention_are_kept_apart(
    files: FolderReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel is torch's or flash_attn's, by their versions, or SDPA, which the engine says."""
    found = {score_folder(files, CPU)}
    for installed in ("2.7", "2.8"):
        versions = {"flash-attn": installed}
        monkeypatch.setattr("ettin_cli.models.rerankers.score_cache._version", versions.get)
        found.add(score_folder(files, CPU))
    assert len(found) == 3
    placement = Placement(EngineSettings("cpu", "bf16"), Silence())
    placement.device = torch.device("cuda")
    assert placement.backend == "torch cuda bfloat16"
    placement.padded = True
    assert placement.backend == "torch cuda sdpa bfloat16"


def test_scores_of_another_engine_are_not_taken(files: FolderReranker) -> None:
    cached(files, Counting("torch cpu float32")).score(pairs(5))
    inner = Counting("onnx cpu float32")
    cached(files, inner).score(pairs(6))
    assert inner.asked == pairs(6)
    assert unloadable(files).card.backend == "onnx cpu float32"
    inner = Counting("torch cpu float32")
    cached(files, inner).score(pairs(7))
    assert inner.asked == pairs(7)[5:]


def test_a_device_has_a_name_and_one_that_is_not_here_is_refused() -> None:
    assert device_name("cpu") == "cpu"
    if torch.cuda.is_available():
        assert device_name("auto") == torch.cuda.get_device_name()
    else:
        with pytest.raises(ModelError, match="cuda cannot be used"):
            device_name("cuda")


# Damaged files


def score_file(files: FolderReranker) -> Path:
    return score_folder(files, CPU) / FILE


@pytest.mark.parametrize("damage", ["garbage", "cut", "empty tables", "a folder"])
def test_a_damaged_file_is_set_aside_and_made_anew(files: FolderReranker, damage: str) -> None:
    path = score_file(files)
    cached(files, Counting()).score(pairs(2000))
    if damage == "garbage":
        path.write_bytes(b"no database at all " * 1000)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:20_000])
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.unlink()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE scores (other TEXT)")
    notices = Notices()
    check(cached(files, Counting(), notices).score(pairs(2000)), pairs(2000))
    if damage == "a folder":
        assert "cannot cache all scores" in notices.said[0]
        return
    assert len(notices.said) == 1
    assert "is damaged" in notices.said[0]
    assert path.with_name(FILE + ".damaged").is_file()
    check(cached(files, Counting()).score(pairs(2000)), pairs(2000))
    check(unloadable(files).score(pairs(2000)), pairs(2000))


def test_the_log_of_a_damaged_file_does_not_reach_the_new_one(files: FolderReranker) -> None:
    cached(files, Counting()).score(pairs(2000))
    path = score_file(files)
    log = path.with_name(FILE + "-wal")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO scores VALUES (x'00', x'00')")
        connection.commit()
        left_by_a_kill = log.read_bytes()
    path.write_bytes(b"no database at all " * 1000)
    log.write_bytes(left_by_a_kill)
    notices = Notices()
    check(cached(files, Counting(), notices).score(pairs(2000)), pairs(2000))
    assert len(notices.said) == 1
    check(unloadable(files).score(pairs(2000)), pairs(2000))


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def test_a_changed_byte_in_a_row_costs_that_row_alone(files: FolderReranker) -> None:
    cached(files, Counting()).score(pairs(100))
    with closing(sqlite3.connect(score_file(files))) as connection, connection:
        rows = connection.execute("SELECT pair, verdict FROM scores").fetchall()
        flips = [flipped(verdict, byte) for byte, (_, verdict) in enumerate(rows[:13])]
        damaged: list[object] = [*flips, None, 1.5, "text", b""]
        for (pair, _), verdict in zip(rows, damaged, strict=False):
            connection.execute("UPDATE scores SET verdict = ? WHERE pair = ?", (verdict, pair))
        elsewhere = bytes(range(16)), rows[len(damaged)][0]
        connection.execute("UPDATE scores SET pair = ? WHERE pair = ?", elsewhere)
    inner = Counting()
    check(cached(files, inner).score(pairs(100)), pairs(100))
    assert len(inner.asked) == len(damaged) + 1
    check(unloadable(files).score(pairs(100)), pairs(100))


def test_any_damaged_byte_costs_no_score(files: FolderReranker) -> None:
    cached(files, Counting()).score(pairs(200))
    path = score_file(files)
    whole = path.read_bytes()
    random = np.random.default_rng(5)
    for at in random.integers(0, len(whole), 60):
        broken = bytearray(whole)
        broken[at] ^= 1 << int(random.integers(8))
        path.write_bytes(broken)
        check(cached(files, Counting()).score(pairs(200)), pairs(200))


def test_a_row_without_a_key_or_a_verdict_is_no_score() -> None:
    row = ScoredPair(0.5, False, 0.25)
    assert _opened(b"key", _sealed(b"key", row)) == row
    assert _opened(b"another", _sealed(b"key", row)) is None
    assert _opened(None, _sealed(b"key", row)) is None
    assert _opened(b"key", None) is None


def test_a_full_disk_costs_only_the_keeping(files: FolderReranker) -> None:
    resource = pytest.importorskip("resource")
    cached(files, Counting()).score(pairs(100))
    inner, notices = Counting(), Notices()
    reranker = cached(files, inner, notices)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        check(reranker.score(pairs(10 * CHUNK)), pairs(10 * CHUNK))
        check(reranker.score(pairs(100)), pairs(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(notices.said) == 1
    assert "cannot cache all scores" in notices.said[0]
    assert len(inner.asked) == 10 * CHUNK - 100
    check(cached(files, Counting()).score(pairs(10 * CHUNK)), pairs(10 * CHUNK))


def test_a_cache_folder_that_cannot_be_made_costs_a_notice(
    files: FolderReranker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "file" / "below"))
    notices = Notices()
    check(cached(files, Counting(), notices).score(pairs(3)), pairs(3))
    assert len(notices.said) == 1


def fill(files: FolderReranker, begin: int, barrier: object) -> None:
    """Score overlapping pairs in many small calls, as one of several processes."""
    barrier.wait()  # type: ignore[attr-defined]
    notices = Notices()
    reranker = cached(files, Counting(), notices)
    for at in range(begin, begin + 60):
        check(reranker.score(pairs(at)), pairs(at))
    assert notices.said == []


def test_processes_share_the_file(files: FolderReranker) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(3)
    workers = [spawn.Process(target=fill, args=(files, 30 * n, barrier)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    check(unloadable(files).score(pairs(119)), pairs(119))


# Output of `ettin cache`


def test_the_cache_command_lists_and_clears_scores_as_one_entry(
    ettin: Ettin, files: FolderReranker
) -> None:
    reranker = cached(files, Counting())
    reranker.score(pairs(3))
    (line,) = ettin("cache").out.splitlines()[1:]
    entry = line.split()[0]
    assert entry == f"scores/{score_folder(files, CPU).name}"
    # A killed process leaves its log beside the file.
    score_file(files).with_name(FILE + "-wal").write_bytes(b"")
    assert len(ettin("cache").out.splitlines()) == 2
    assert ettin("cache", "clear", entry).code == 0
    assert ettin("cache").out == ""
    check(reranker.score(pairs(3)), pairs(3))


def test_the_embedded_reranker_scores_the_same_through_the_cache(ettin: Ettin) -> None:
    from ettin_cli.models.rerankers.registry import find_reranker, load_reranker

    found = find_reranker("embedded", offline=True, reporter=Silence())
    inner = load_reranker(found, CPU, Silence())
    reranker = CachedReranker(found, CPU, lambda: inner, Silence())
    asked = [("ferry", "The ferry sails at nine."), ("ferry", "Knead the dough.")]
    expected = inner.score(asked)
    for _ in range(2):
        assert np.allclose(reranker.score(asked).values, expected.values, atol=1e-6)
    again = unloadable(found)
    assert again.score(asked).values.tobytes() == reranker.score(asked).values.tobytes()
    assert again.card == inner.card
