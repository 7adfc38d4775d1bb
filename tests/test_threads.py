"""Many threads in one process: each gets the result it would get alone, even if others fail."""

import os
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from ettin_cli.errors import ClosedError, ModelError
from ettin_cli.models.embedders import find_embedder, load_embedder
from ettin_cli.models.engines.backends import Library
from ettin_cli.models.engines.batch_tuning import Pace, candidates, known_pace
from ettin_cli.models.engines.onnx_export import IDS, LENGTHS, SCORES, write_cross_encoder
from ettin_cli.models.engines.onnxruntime_backend import OnnxRuntime
from ettin_cli.models.engines.openvino_backend import OpenVino
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import EMBEDDED, ModelFiles
from ettin_cli.models.remembered import recall, remember_fact
from ettin_cli.models.rerankers.cross_encoder import OnnxCrossEncoder, load_cross_encoder
from ettin_cli.models.rerankers.registry import load_reranker, reranker_of
from ettin_cli.records import Advance, Silence, no_progress
from ettin_cli.runtime.forks import Once
from ettin_cli.runtime.loading import Loaded
from tests.indexes import Notices
from tests.models import TEXTS, embedder, ettin
from tests.multi_vectors import multi_vector
from tests.threads import PATIENCE_S, THREADS, in_threads

CALLS = 6
CPU = EngineSettings("cpu")
# Some are truncated, and some are not, in any call.
PAIRS = [(query, text * times) for query in TEXTS for text in TEXTS for times in (1, 4, 20)]
Pairs = Sequence[tuple[str, str]]
# A model's scores of some pairs, as bytes, so that every bit is compared.
Work = Callable[[Pairs, Advance], bytes]


class CancelledError(Exception):
    """The exception by which a caller ends its own call."""


def cancel(_: int) -> None:
    raise CancelledError


def interrupt(_: int) -> None:
    raise KeyboardInterrupt


def fail(_: int) -> None:
    raise ModelError("it failed")


ENDS = {cancel: CancelledError, interrupt: KeyboardInterrupt, fail: ModelError}


def scoring(files: ModelFiles, settings: EngineSettings) -> Work:
    model = load_reranker(reranker_of(files), settings, Silence())

    def work(pairs: Pairs, advance: Advance) -> bytes:
        scores = model.score(pairs, advance)
        return scores.values.tobytes() + scores.truncated.tobytes()

    return work


def embedding(files: ModelFiles, settings: EngineSettings) -> Work:
    model = load_embedder(files, settings, Silence())

    def work(pairs: Pairs, advance: Advance) -> bytes:
        vectors = model.embed_documents([text for _, text in pairs], advance)
        return vectors.tobytes() + model.embed_queries([query for query, _ in pairs]).tobytes()

    return work


def reranker(folder: Path, **settings: Any) -> Work:
    folder.mkdir()
    files = ModelFiles("m", ettin(folder, hidden=64, layers=4, heads=2))
    return scoring(files, EngineSettings("cpu", **settings))


def late(folder: Path, **settings: Any) -> Work:
    return scoring(ModelFiles("m", multi_vector(folder)), EngineSettings("cpu", **settings))


def embedded(folder: Path, **settings: Any) -> Work:
    folder.mkdir()
    return embedding(ModelFiles("m", embedder(folder)), EngineSettings("cpu", **settings))


def ours(kind: str) -> Work:
    """Return the built-in models' work, on short texts, since they are larger than the others."""
    if kind == "reranker":
        work = scoring(find_embedder(EMBEDDED, offline=True, reporter=Silence()), CPU)
    else:
        work = embedding(find_embedder(EMBEDDED, offline=True, reporter=Silence()), CPU)
    return lambda pairs, advance: work([(query, text[:40]) for query, text in pairs[:2]], advance)


MODELS: dict[str, Callable[[Path], Work]] = {
    "a reranker": lambda folder: reranker(folder, max_length=60),
    "a reranker, a thread a batch": lambda folder: reranker(folder, threads=3, batch_size=2),
    "a reranker by openvino": lambda folder: reranker(folder, engine="openvino", max_length=60),
    "a reranker by torch": lambda folder: reranker(folder, engine="torch", max_length=60),
    "late interaction": late,
    "late interaction by torch": lambda folder: late(folder, engine="torch"),
    "an embedder": embedded,
    "an embedder by torch": lambda folder: embedded(folder, engine="torch"),
    "the embedded reranker": lambda _: ours("reranker"),
    "the embedded embedder": lambda _: ours("embedder"),
}


def asked(number: int, call: int) -> Pairs:
    """Return some pairs, others for each call of each thread."""
    begin = (7 * number + 5 * call) % len(PAIRS)
    return (PAIRS[begin:] + PAIRS)[: 1 + (number + 3 * call) % 9]


@pytest.mark.parametrize("kind", MODELS)
def test_sixteen_threads_share_a_model_and_one_call_in_six_ends_early(
    tmp_path: Path, kind: str
) -> None:
    if "openvino" in kind:
        pytest.importorskip("openvino")
    work = MODELS[kind](tmp_path / "m")
    ends = list(ENDS)

    def calls(number: int) -> list[bytes]:
        found = []
        for call in range(CALLS):
            if call == number % CALLS:
                end = ends[number % len(ends)]
                with pytest.raises(ENDS[end]):
                    work(asked(number, call), end)
            else:
                found.append(work(asked(number, call), no_progress))
        return found

    found = in_threads(calls)
    alone = [
        [work(asked(n, call), no_progress) for call in range(CALLS) if call != n % CALLS]
        for n in range(THREADS)
    ]
    assert found == alone


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_run_that_is_stopped_ends_no_other_of_the_same_graph(tmp_path: Path, name: str) -> None:
    pytest.importorskip(name)
    library: Library = OnnxRuntime() if name == "onnxruntime" else OpenVino("float32")
    folder = ettin(tmp_path, hidden=64, layers=4, heads=2)
    session = library.load(write_cross_encoder(folder, plain=library.plain), 2, True)
    feeds = {LENGTHS: np.array([9], np.int64), IDS: np.arange(16, dtype=np.int64)[None]}
    one, other = session.begin(), session.begin()
    before = one.compute([SCORES], feeds)[0].tobytes()
    other.stop()
    assert one.compute([SCORES], feeds)[0].tobytes() == before
    assert session.begin().compute([SCORES], feeds)[0].tobytes() == before
    if name == "onnxruntime":
        with pytest.raises(Exception, match="terminate"):
            other.compute([SCORES], feeds)


def test_threads_that_come_at_once_load_one_session_and_measure_one_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("ettin_cli.models.engines.batch_tuning.SAMPLE_TOKENS", 100)
    folder = ettin(tmp_path, hidden=64, layers=4, heads=2)
    model = load_cross_encoder(folder, EngineSettings("cpu", threads=2), Silence())
    assert isinstance(model, OnnxCrossEncoder)
    loads, kept = [], []
    load, keep = model.model.library.load, model.model._keep

    def noted(*arguments: Any) -> Any:
        loads.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(model.model.library, "load", noted)

    def noted_pace(pace: Pace) -> None:
        kept.append(pace)
        keep(pace)

    monkeypatch.setattr(model.model, "_keep", noted_pace)
    found = in_threads(lambda _: model.score(PAIRS * 4)[0].tobytes())
    assert found == [model.score(PAIRS * 4)[0].tobytes()] * THREADS
    assert len(loads) == len({together for _, _, together in loads})
    assert kept == [model.model.pace]
    assert known_pace(model.model.identity, 2) == model.model.pace
    assert model.model.pace in candidates(2)


def test_facts_that_threads_remember_at_once_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path))
    in_threads(lambda number: remember_fact("facts.json", f"fact {number}", number))
    assert recall("facts.json") == {f"fact {number}": number for number in range(THREADS)}


def test_what_is_said_once_is_said_by_one_thread() -> None:
    first = Once()
    assert Counter(in_threads(lambda _: first())) == {False: THREADS - 1, True: 1}
    notices = Notices()
    files = find_embedder(EMBEDDED, offline=True, reporter=Silence())
    model = load_reranker(reranker_of(files), CPU, notices)
    in_threads(lambda _: model.score([("где библиотека", "the library")]))
    assert [said for said in notices.said if "Latin" in said] == notices.said
    assert len(notices.said) == 1


class Model:
    """An object to load that supports weak references."""


def test_a_model_is_loaded_once_for_all_threads_and_freed_when_closed() -> None:
    loaded, loads = Loaded(), []

    def load() -> Model:
        loads.append(1)
        return Model()

    found = in_threads(lambda _: loaded.once("key", load))
    assert (len(loads), len(set(map(id, found)))) == (1, 1)
    assert loaded.once("other", load) is not found[0]
    kept = weakref.ref(loaded.once("key", load))
    found.clear()
    assert kept() is not None
    loaded.close()
    assert kept() is None
    with pytest.raises(ClosedError, match="are closed"):
        loaded.once("key", load)


def test_a_load_that_fails_is_not_remembered_and_who_waits_tries_again() -> None:
    loaded, loads = Loaded(), []

    def load() -> str:
        loads.append(1)
        if len(loads) == 1:
            raise ModelError("no weights")
        return "loaded"

    found = in_threads(lambda _: loaded.once("key", load))
    failed = [one for one in found if isinstance(one, ModelError)]
    assert (len(failed), len(loads)) == (1, 2)
    assert found.count("loaded") == THREADS - 1


def test_models_of_other_keys_are_loaded_meanwhile() -> None:
    loaded, both = Loaded(), Barrier(2)

    def load() -> str:
        both.wait(PATIENCE_S)
        return "loaded"

    assert in_threads(lambda number: loaded.once(number, load), 2) == ["loaded"] * 2


def test_an_embedder_and_a_reranker_of_one_model_share_it() -> None:
    files = find_embedder(EMBEDDED, offline=True, reporter=Silence())
    with Loaded() as loaded:
        model: Any = load_reranker(reranker_of(files), CPU, Silence(), loaded)
        other: Any = load_embedder(files, CPU, Silence(), loaded=loaded)
        alone: Any = load_embedder(files, CPU, Silence())
    assert model.late.encoder.encoder is other.encoder
    assert alone.encoder is not other.encoder


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux alone")
def test_memory_stays_as_it_is_over_thousands_of_small_calls(tmp_path: Path) -> None:
    for name in ("reranker", "embedder"):
        (tmp_path / name).mkdir()
    settings = EngineSettings("cpu", threads=1)
    small = ettin(tmp_path / "reranker", hidden=32, layers=2, heads=2)
    score = scoring(ModelFiles("r", small), settings)
    embed = embedding(ModelFiles("e", embedder(tmp_path / "embedder")), settings)

    def calls(count: int) -> int:
        for call in range(count):
            pairs = [(TEXTS[call % 3], TEXTS[call % 2][: 5 + call % 50])]
            score(pairs, no_progress)
            embed(pairs, no_progress)
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = calls(200)
    # Each is three calls of a model.
    grown = (calls(1000) - before) / 2**20
    assert grown < 8, f"{grown:.1f} MiB more"
