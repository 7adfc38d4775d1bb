"""`ettin bench`: the contenders, the pairs, and the agreement of scores and rankings."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import kendalltau

from ettin_cli.benchmark import machine, measuring, peaks
from ettin_cli.benchmark.agreement import agree, kendall_tau, overlap
from ettin_cli.benchmark.contenders import Contender
from ettin_cli.benchmark.flops import shape_of
from ettin_cli.benchmark.known_speeds import published_speed
from ettin_cli.benchmark.pairs import ON_GPU, Amount, PairTokens, SampleTexts
from ettin_cli.corpus import EVERYDAY_ANSWERS, sample_corpus
from ettin_cli.models.engines import devices
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.registry import load_reranker
from ettin_cli.records import Reranker, Silence
from tests.conftest import Ettin, Outcome, Terminal
from tests.models import embedder, ettin as ettin_model

QUICK = ("--document-tokens", "96", "--limit", "24", "--engine", "torch", "--rounds", "2")


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a processor without bf16, tests that measure bf16 would take minutes.
    monkeypatch.setattr(peaks, "CPU_SIZE", 128)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ettin_model(tmp_path_factory.mktemp("models") / "tiny", hidden=32, layers=2, heads=2)


def rows(ran: Outcome) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


# Agreement

scores = st.lists(st.integers(0, 6), min_size=0, max_size=30)


@given(st.data())
def test_kendalls_tau_is_that_of_scipy_ties_included(data: st.DataObject) -> None:
    one = data.draw(scores)
    other = data.draw(st.lists(st.integers(0, 6), min_size=len(one), max_size=len(one)))
    ours = kendall_tau(np.array(one, np.float32), np.array(other, np.float32))
    if len(set(one)) < 2 or len(set(other)) < 2:
        assert ours is None
    else:
        assert ours == pytest.approx(kendalltau(one, other).statistic)


def test_the_overlap_is_the_share_of_the_best_in_common() -> None:
    one = np.array([5, 4, 3, 2, 1], np.float32)
    other = np.array([5, 1, 2, 3, 4], np.float32)
    # The top two are 0 and 1, and 0 and 4; the top three 0, 1, 2, and 0, 4, 3.
    assert overlap(one, other, 2) == pytest.approx(1 / 2)
    assert overlap(one, other, 3) == pytest.approx(1 / 3)
    assert overlap(one, one, 2) == 1.0
    assert overlap(one, other, 5) is None


def test_agreement_is_a_mean_over_the_queries_that_have_a_ranking() -> None:
    queries = ["a"] * 3 + ["b"] * 3 + ["alone"]
    reference = np.array([3, 2, 1, 3, 2, 1, 9], np.float32)
    found = agree(queries, reference, np.array([3, 2, 1, 1, 2, 3, 7], np.float32))
    assert found.kendall_tau == pytest.approx((1 - 1) / 2)
    assert found.max_difference == 2.0
    assert found.mean_difference == pytest.approx((2 + 2 + 2) / 7)
    assert found.overlap_at_10 is None


def test_a_ranking_is_of_one_query_wherever_its_pairs_stand() -> None:
    rng = np.random.default_rng(3)
    reference, other = rng.normal(size=(2, 40)).astype(np.float32)
    queries = [str(at % 2) for at in range(40)]
    taus = [kendalltau(reference[of::2], other[of::2]).statistic for of in (0, 1)]
    best = [
        [set(np.argsort(-one[of::2])[:10].tolist()) for one in (reference, other)] for of in (0, 1)
    ]
    found = agree(queries, reference, other)
    assert found.kendall_tau == pytest.approx(np.mean(taus))
    assert found.overlap_at_10 == pytest.approx(np.mean([len(a & b) / 10 for a, b in best]))


# Arithmetic


def counted_flops(folder: Path, tokens: int) -> int:
    """Count torch's multiplications in a pass over one text, with global attention everywhere."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModel

    trunk = AutoModel.from_pretrained(folder, attn_implementation="eager")
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        trunk(input_ids=torch.ones(1, tokens, dtype=torch.long))
    return int(counter.get_total_flops())


def test_the_arithmetic_of_an_ettin_is_what_torch_counts(tmp_path: Path) -> None:
    folder = ettin_model(tmp_path / "m", hidden=64, layers=4, heads=4)
    shape = shape_of(ModelFiles("m", folder))
    assert shape is not None
    # Up to a local layer's reach on either side attention is global; torch also counts the
    # small products that turn positions into angles.
    assert shape.flops([64]) == pytest.approx(counted_flops(folder, 64), rel=0.01)


def test_a_local_layer_attends_within_its_window_alone(tmp_path: Path) -> None:
    folder = ettin_model(tmp_path / "m", hidden=64, layers=2, heads=4)
    shape = shape_of(ModelFiles("m", folder))
    assert shape is not None
    tokens, reach = 300, 64
    mask = abs(np.arange(tokens)[:, None] - np.arange(tokens)) <= reach
    attended = tokens * tokens + int(mask.sum())
    products = 2 * (4 * 64 * 64 + 3 * 64 * 96) * tokens
    assert shape.flops([tokens]) == 2 * (products + 2 * 64 * attended)
    assert shape.flops([tokens, tokens]) == 2 * shape.flops([tokens])


def test_the_arithmetic_of_a_bert_is_what_torch_counts(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        vocab_size=50,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    shape = shape_of(ModelFiles("m", tmp_path))
    assert shape is not None
    assert shape.flops([80]) == pytest.approx(counted_flops(tmp_path, 80), rel=0.02)


@pytest.mark.parametrize("config", [{"model_type": "t5"}, {"model_type": "bert"}, {}, []])
def test_the_arithmetic_of_an_unknown_shape_is_not_guessed(tmp_path: Path, config: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert shape_of(ModelFiles("m", tmp_path)) is None


CPUINFO = """processor : 0
model name : A Processor
flags : fpu avx2 avx512f avx512_bf16 amx_tile

processor : 1
model name : Another
flags : fpu
"""


def test_the_processor_is_told_by_its_make_and_what_speeds_up_products(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")
    found = machine.this_machine(EngineSettings(device="cpu"), Silence())
    assert (found.device, found.cpu) == ("cpu", "A Processor")
    assert found.flags == ["avx2", "avx512f", "avx512_bf16"]
    assert 1e8 < found.matmul_gflops * 1e9 < 1e14
    # This processor is presented as one that computes in bf16.
    assert list(found.matmul_peaks) == ["float32", "bfloat16"]
    assert found.matmul_gflops == found.matmul_peaks["float32"].gflops


def test_the_peak_is_that_of_the_best_library_for_each_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    took = {"torch": 4.0, "NumPy": 2.0, "ONNX Runtime": 1.0, "OpenVINO": 8.0}
    ran: list[tuple[str, str]] = []

    def ways(_device: str, dtype: str, _size: int, _threads: int | None) -> Any:
        for library in took if dtype == "float32" else ["torch", "OpenVINO"]:
            ran.append((dtype, library))
            yield library, lambda library=library: library

    monkeypatch.setattr(peaks, "_ways", ways)
    monkeypatch.setattr(peaks, "_least_seconds", lambda work: took[work()])
    monkeypatch.setattr(peaks, "cpu_has_bf16", lambda: True)
    found = peaks.matmul_peaks("cpu", None)
    products = 2 * peaks.PRODUCTS * peaks.CPU_SIZE**3 / 1e9
    assert {dtype: peak.library for dtype, peak in found.items()} == {
        "float32": "ONNX Runtime",
        "bfloat16": "torch",
    }
    assert found["float32"].gflops == pytest.approx(products)
    assert found["bfloat16"].gflops == pytest.approx(products / 4)
    assert len(ran) == 6
    monkeypatch.setattr(peaks, "cpu_has_bf16", lambda: False)
    assert list(peaks.matmul_peaks("cpu", None)) == ["float32"]


def test_every_library_computes_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "_matrix", lambda size: np.arange(size**2, dtype="f").reshape(4, 4))
    matrix = np.arange(16, dtype=np.float64).reshape(4, 4)
    # Rows of a table times matrices in torch's layout.
    wanted = matrix
    for _ in range(peaks.PRODUCTS):
        wanted = wanted @ matrix.T
    ways = dict(peaks._ways("cpu", "float32", 4, None))
    assert list(ways) == ["torch", "NumPy", "ONNX Runtime", "OpenVINO"]
    for library in ("ONNX Runtime", "OpenVINO"):
        outputs: Any = ways[library]()
        assert outputs[0] == pytest.approx(wanted, rel=1e-5)
    assert ways["NumPy"]() == pytest.approx(np.linalg.matrix_power(matrix, 5), rel=1e-5)
    # All elements of torch's matrix are 1 / 4, as are those of its powers.
    assert ways["torch"]() == pytest.approx(0.25)
    assert list(dict(peaks._ways("cpu", "bfloat16", 4, 2))) == ["torch", "OpenVINO"]
    assert list(dict(peaks._ways("cpu", "float32", 4, 2))) == ["torch", "ONNX Runtime", "OpenVINO"]


@pytest.mark.parametrize(
    ("engine", "has_bf16", "dtype"),
    [
        ("openvino cpu bfloat16", True, "bfloat16"),
        ("torch cpu bfloat16", True, "bfloat16"),
        ("torch cpu bfloat16", False, "float32"),
        ("onnxruntime cpu float32", True, "float32"),
        ("sentence-transformers cpu float32", True, "float32"),
    ],
)
def test_a_row_is_compared_with_the_peak_of_its_own_type(
    engine: str, has_bf16: bool, dtype: str
) -> None:
    known = {"float32": peaks.Peak(100.0, "a")}
    known |= {"bfloat16": peaks.Peak(400.0, "b")} if has_bf16 else {}
    here = machine.Machine("cpu", "cpu", "", [], 1, 1, {}, 100.0, known)
    timed = measuring._Timed(Contender(engine, "auto", 1.0), [2.0, 4.0, 3.0])
    speed = measuring._speed(timed, None, [], 60.0, here)
    assert speed.peak_dtype == dtype
    assert speed.peak_share == pytest.approx(60 / 3 / known[dtype].gflops)


@pytest.mark.parametrize(
    ("isa", "bf16"), [(None, True), ("AVX512_CORE_BF16", True), ("avx2", False)]
)
def test_a_processor_has_bf16_unless_its_library_is_kept_from_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, isa: str | None, bf16: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    monkeypatch.setattr(devices, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if isa:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert devices.cpu_has_bf16() is bf16
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2\n")
    assert devices.cpu_has_bf16() is False


# Pairs


@pytest.mark.parametrize("tokens", [96, 700])
def test_sample_pairs_are_as_long_as_asked_and_all_different(model: Path, tokens: int) -> None:
    files = ModelFiles("m", model)
    counter = PairTokens(files, trust_remote_code=False)
    made = SampleTexts.of(sample_corpus(EVERYDAY_ANSWERS)).pairs(counter, tokens, 45)
    assert len(set(made)) == 45
    assert len({query for query, _ in made}) == 3
    for query, text in made:
        ids = counter.tokenizer(query, text)["input_ids"]
        assert tokens - 2 <= len(ids) <= tokens


def test_long_pairs_are_fewer(model: Path) -> None:
    counter = PairTokens(ModelFiles("m", model), trust_remote_code=False)
    sample = SampleTexts.of(sample_corpus(EVERYDAY_ANSWERS))
    assert [len(sample.pairs(counter, tokens, None)) for tokens in (125, 512, 7999)] == [200, 48, 3]


def test_a_gpu_is_measured_by_many_batches_of_distinct_pairs(model: Path) -> None:
    counter = PairTokens(ModelFiles("m", model), trust_remote_code=False)
    sample = SampleTexts.of(sample_corpus(EVERYDAY_ANSWERS))
    few = sample.pairs(counter, 3000, 8)
    pairs = sample.pairs(counter, 3000, None, amount=Amount(1000, 60_000))
    assert len(pairs) == len(set(pairs)) == 20
    assert pairs[:8] == few
    assert [ON_GPU.of(tokens) for tokens in (122, 500, 8000)] == [8192, 2000, 125]


# The command


def test_a_row_a_contender_beside_sentence_transformers(ettin: Ettin, model: Path) -> None:
    reference, ours = rows(ettin("bench", "-r", str(model), *QUICK))
    assert reference["engine"] == "sentence-transformers cpu float32"
    assert ours["engine"] == "torch cpu float32"
    for row in (reference, ours):
        assert (row["model"], row["dtype"], row["error"]) == (str(model), "auto", None)
        assert (row["pairs"], row["queries"], row["rounds"]) == (24, 2, 2)
        assert (row["document_tokens"], row["truncated"]) == (96, 0)
        assert 24 * 94 <= row["tokens"] <= 24 * 96
        assert row["pairs_per_s_min"] <= row["pairs_per_s"] <= row["pairs_per_s_max"]
        assert row["tokens_per_s"] == pytest.approx(row["pairs_per_s"] * row["tokens"] / 24)
        assert row["load_s"] > 0
        assert row["peak_share"] > 0
        assert row["peak_dtype"] == "float32"
        assert row["machine"]["cores"] >= 1
        assert row["machine"]["versions"]["torch"]
    assert ours["ratio"] == pytest.approx(ours["pairs_per_s"] / reference["pairs_per_s"])
    assert (reference["ratio"], reference["kendall_tau"]) == (1.0, None)
    assert ours["max_difference"] < 1e-5
    assert ours["mean_difference"] <= ours["max_difference"]
    assert ours["kendall_tau"] > 0.99
    assert ours["overlap_at_10"] == 1.0


def test_the_share_of_the_peak_is_the_arithmetic_done_in_the_time(
    ettin: Ettin, model: Path
) -> None:
    _, ours = rows(ettin("bench", "-r", str(model), *QUICK))
    shape = shape_of(ModelFiles("m", model))
    assert shape is not None
    each = shape.flops([ours["tokens"] // ours["pairs"]])
    done = each * ours["pairs_per_s"] / (ours["machine"]["matmul_gflops"] * 1e9)
    assert ours["peak_share"] == pytest.approx(done, rel=0.03)


class Backwards:
    """A reranker that reverses the order of another."""

    def __init__(self, other: Reranker) -> None:
        self.other, self.card = other, replace(other.card, backend="backwards")

    def score(self, pairs: Any, advance: Any = None) -> Any:
        found = self.other.score(pairs)
        return type(found)(-found.values, found.truncated)


def test_a_ranking_turned_around_agrees_in_nothing(ettin: Ettin, model: Path) -> None:
    def load(*settings: Any) -> Any:
        return Backwards(load_reranker(*settings))

    ettin.monkeypatch.setattr("ettin_cli.benchmark.contenders.load_reranker", load)
    _, ours = rows(ettin("bench", "-r", str(model), *QUICK))
    assert ours["engine"] == "backwards"
    assert ours["kendall_tau"] == pytest.approx(-1.0, abs=0.01)
    assert ours["overlap_at_10"] < 1.0
    assert ours["max_difference"] > 0.01


def test_contenders_take_turns_on_the_same_pairs(ettin: Ettin, model: Path) -> None:
    calls: list[tuple[str, int]] = []

    def contender(name: str) -> Contender:
        def score(pairs: Any) -> Any:
            calls.append((name, len(pairs)))
            return np.arange(len(pairs), dtype=np.float32)

        return Contender(name, "auto", 0.1, score)

    ettin.monkeypatch.setattr(
        measuring, "_loaded", lambda *_: [contender("sentence-transformers"), contender("mine")]
    )
    _, mine = rows(ettin("bench", "-r", str(model), *QUICK))
    warm_up, rounds = calls[:2], calls[2:]
    assert [name for name, _ in warm_up] == ["sentence-transformers", "mine"]
    assert all(count < 24 for _, count in warm_up)
    assert rounds == [("sentence-transformers", 24), ("mine", 24)] * 2
    assert (mine["kendall_tau"], mine["overlap_at_10"], mine["max_difference"]) == (1, 1, 0)


def test_a_contender_that_does_not_run_is_shown_with_its_reason(ettin: Ettin, model: Path) -> None:
    from ettin_cli.errors import ModelError

    def load(files: Any, settings: Any, reporter: Any) -> Any:
        if settings.engine == "openvino":
            raise ModelError("there is no ONNX file")
        return load_reranker(files, settings, reporter)

    ettin.monkeypatch.setattr("ettin_cli.benchmark.contenders.load_reranker", load)
    words = ("bench", "-r", str(model), *QUICK, "--engine", "openvino")
    *_, ours, failed = rows(ettin(*words))
    assert ours["pairs_per_s"] > 0
    assert (failed["engine"], failed["error"]) == ("openvino", "there is no ONNX file")
    assert (failed["pairs_per_s"], failed["ratio"], failed["rounds"]) == (None, None, 0)
    shown = ettin(*words, "-f", "table").out
    assert shown.endswith("\nopenvino in auto failed: there is no ONNX file\n")
    alone = ettin("bench", "-r", str(model), "--engine", "openvino", "--against", "none")
    assert alone.code == 1
    assert "nothing could be measured: there is no ONNX file" in alone.err


def test_without_a_reference_that_runs_the_others_are_still_measured(
    ettin: Ettin, model: Path
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of memory\nand more of it")

    ettin.monkeypatch.setattr("sentence_transformers.CrossEncoder.predict", failing)
    reference, ours = rows(ettin("bench", "-r", str(model), *QUICK))
    assert reference["error"] == "cannot score these pairs: out of memory"
    assert reference["pairs_per_s"] is None
    assert ours["pairs_per_s"] > 0
    assert (ours["ratio"], ours["kendall_tau"]) == (None, None)


def test_a_score_that_is_not_a_number_is_a_reason_too(ettin: Ettin, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = ettin_model(tmp_path / "m", hidden=32, layers=2, heads=2)
    head = folder / "4_Dense" / "model.safetensors"
    save_file({name: value * torch.nan for name, value in load_file(head).items()}, head)
    reference, ours = rows(ettin("bench", "-r", str(folder), *QUICK))
    assert reference["pairs_per_s"] > 0
    assert "a score that is not a number" in ours["error"]


def test_what_is_the_same_under_two_names_takes_part_once(ettin: Ettin, model: Path) -> None:
    ran = ettin("bench", "-r", str(model), *QUICK, "--engine", "auto", "--engine", "onnxruntime")
    engines = [row["engine"].split()[0] for row in rows(ran)]
    assert engines == ["sentence-transformers", "torch", "onnxruntime"]
    assert "on onnxruntime in auto also runs as onnxruntime cpu float32; measured" in ran.err


def test_dtypes_and_lengths_are_rows_of_their_own(ettin: Ettin, model: Path) -> None:
    dtypes = ("--dtype", "fp32", "--dtype", "bf16")
    quick = ("--limit", "4", "--rounds", "1", "--engine", "torch")
    found = rows(ettin("bench", "-r", str(model), "--document-tokens", "64,96", *dtypes, *quick))
    assert [(row["document_tokens"], row["engine"]) for row in found] == [
        (tokens, engine)
        for tokens in (64, 96)
        for engine in (
            "sentence-transformers cpu float32",
            "torch cpu float32",
            "torch cpu bfloat16",
        )
    ]
    assert found[1]["max_difference"] < 1e-5 < found[2]["max_difference"]


def test_sentence_transformers_can_be_left_out(ettin: Ettin, model: Path) -> None:
    (ours,) = rows(ettin("bench", "-r", str(model), *QUICK, "--against", "none"))
    assert ours["engine"] == "torch cpu float32"
    assert (ours["ratio"], ours["max_difference"]) == (None, None)


def test_a_lower_cap_holds_for_both(ettin: Ettin, model: Path, tmp_path: Path) -> None:
    text = "The ferry sails at nine. " * 20
    lines = [{"query": "ferry?", "document": f"{at} {text}"} for at in range(3)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    cap = ("--max-length", "40", "--engine", "torch")
    ran = ettin("bench", "-r", str(model), "--pairs", "pairs.jsonl", *cap)
    _, ours = rows(ran)
    assert (ours["tokens"], ours["truncated"]) == (3 * 40, 3)
    assert f"3 of 3 pairs truncated at {model}'s token limit" in ran.err
    assert ours["max_difference"] < 1e-5


def test_an_older_cross_encoder_is_compared_by_its_raw_scores(ettin: Ettin, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    folder = embedder(tmp_path / "base")
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    config = BertConfig.from_pretrained(folder, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(folder)
    _, ours = rows(ettin("bench", "-r", str(folder), *QUICK))
    assert ours["max_difference"] < 1e-5
    assert ours["peak_share"] > 0


def test_the_stand_in_is_measured_without_comparison(ettin: Ettin) -> None:
    ran = ettin("bench", "-r", "embedded", *QUICK)
    (row,) = rows(ran)
    assert (row["model"], row["ratio"], row["peak_share"]) == ("embedded", None, None)
    assert row["pairs_per_s"] > 0
    assert "embedded has no counterpart in sentence-transformers" in ran.err


# The user's own pairs


@pytest.mark.parametrize(
    ("name", "device", "backend", "pairs_per_s"),
    [
        ("17m", "cpu", "onnxruntime cpu float32", 267.4),
        ("cross-encoder/ettin-reranker-1b-v1", "cpu", "sentence-transformers cpu float32", 2.1),
        ("150m", "NVIDIA H100 80GB HBM3", "torch cuda bfloat16", 3237),
        ("150m", "NVIDIA H100 80GB HBM3", "torch cuda float32", 671),
        ("17m", "NVIDIA GeForce RTX 3090", "torch cuda bfloat16", 9008),
        ("17m", "NVIDIA GeForce RTX 3090", "torch cuda float32", None),
        ("17m", "NVIDIA GeForce RTX 3090 Ti", "torch cuda bfloat16", None),
        ("17m", "Tesla T4", "torch cuda float16", None),
        ("17m", "cpu", "openvino cpu bfloat16", None),
        ("./17m", "cpu", "onnxruntime cpu float32", None),
    ],
)
def test_a_speed_is_compared_with_that_published_for_the_device_and_dtype(
    name: str, device: str, backend: str, pairs_per_s: float | None
) -> None:
    published = published_speed(name, device, backend)
    assert (published and published.pairs_per_s) == pairs_per_s


def test_a_measured_speed_is_told_where_models_are_listed(
    ettin: Ettin, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("bench", "-r", "17m", "--engine", "onnxruntime", "--against", "none")
    named = ModelFiles("cross-encoder/ettin-reranker-17m-v1", model)
    monkeypatch.setattr("ettin_cli.models.rerankers.resolved.find_model", lambda *_, **__: named)
    ran = ettin(*words, "--limit", "8", "--rounds", "1")
    (row,) = rows(ran)
    assert (row["published_pairs_per_s"], row["published_on"]) == (267.4, "i7-13700K in fp32")
    shown = next(line for line in ettin("models").out.splitlines() if line.startswith("17m"))
    assert shown.endswith("  this machine")
    assert f"{row['pairs_per_s']:,.0f} pairs/s: onnxruntime cpu float32 on " in (
        ettin("models", "show", "17m").out
    )
    # Another machine that shares the cache has other speeds.
    monkeypatch.setattr("platform.node", lambda: "another")
    assert "this machine" not in ettin("models").out


def test_pairs_of_other_lengths_are_no_measure_for_a_published_speed(
    ettin: Ettin, model: Path
) -> None:
    (row,) = rows(ettin("bench", "-r", str(model), *QUICK, "--against", "none"))
    assert row["published_on"] is None
    assert "this machine" not in ettin("models").out


def test_a_file_is_measured_and_what_is_no_pair_is_named(
    ettin: Ettin, model: Path, tmp_path: Path
) -> None:
    lines: list[dict[str, Any]] = [
        {"query": "ferry?", "documents": ["At nine.", {"title": "Fares", "text": "Four coins."}]},
        {"query": "bread?", "documents": ["Knead it.", 7, "Knead it."]},
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("bench", "-r", str(model), "--engine", "torch", "--pairs", "mine.jsonl")
    ran = ettin(*words)
    assert ran.code == 3
    ours = json.loads(ran.out.splitlines()[-1])
    assert (ours["pairs"], ours["queries"], ours["document_tokens"]) == (3, 2, None)
    tokenizer = PairTokens(ModelFiles("m", model), trust_remote_code=False).tokenizer
    pairs = [("ferry?", "At nine."), ("ferry?", "Fares Four coins."), ("bread?", "Knead it.")]
    assert ours["tokens"] == sum(len(tokenizer(*pair)["input_ids"]) for pair in pairs)
    assert "rejected mine.jsonl:2: documents[1]: neither a string nor an object" in ran.err
    assert "skipped 1 repeated pair of mine.jsonl" in ran.err
    limited = ettin(*words, "--limit", "1")
    assert [row["pairs"] for row in rows(limited)] == [1, 1]


# Formats


def test_a_file_holds_what_a_pipe_shows(ettin: Ettin, model: Path, tmp_path: Path) -> None:
    words = ("bench", "-r", str(model), *QUICK, "-q")
    assert ettin(*words, "-o", "speed.json").out == ""
    whole = json.loads((tmp_path / "speed.json").read_text())
    assert [row["engine"].split()[0] for row in whole["rows"]] == [
        "sentence-transformers",
        "torch",
    ]
    ettin(*words, "-o", "speed.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    piped = rows(ettin(*words))
    assert [list(row) for row in lines] == [list(row) for row in piped]
    assert [[*row, "machine"] for row in whole["rows"]] == [list(row) for row in piped]
    assert list(json.loads(ettin(*words, "-f", "json").out)) == ["machine", "rows"]


@pytest.mark.parametrize("width", [80, 160])
def test_a_table_fits_the_terminal(terminal: Terminal, model: Path, width: int) -> None:
    terminal.monkeypatch.chdir(model.parent)
    ran = terminal("bench", "-r", model.name, *QUICK, "-q", "--color", "never", width=width)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= width
    begin = next(at for at, line in enumerate(lines) if line.startswith("engine"))
    assert re.fullmatch(r"tiny: 24 pairs of 9[456] tokens on average, 2 queries", lines[begin - 1])
    assert lines[begin].split()[:4] == ["engine", "ratio", "pairs/s", "range"]
    assert lines[begin + 1].startswith("sentence-transformers  1.00x")
    headers = [line for line in lines if line.startswith("engine")]
    assert len(headers) == (1 if width == 160 else 2)
    assert headers[-1].endswith("max-diff  mean-diff     tau  overlap@10")


# Errors


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--engine", "tensorrt"], 2, "unknown engine 'tensorrt'"),
        (["--dtype", "int4"], 2, "unknown dtype 'int4'"),
        (["--against", "other"], 2, "unknown baseline 'other'"),
        (["--document-tokens", "128,many"], 2, "'128,many' is not a list of numbers above 0"),
        (["--document-tokens", "0"], 2, "'0' is not a list of numbers above 0"),
        (["--document-tokens", "128,8000"], 2, "reads at most 7,999 tokens per pair, not 8,000"),
        (["--document-tokens", "64", "--max-length", "32"], 2, "reads at most 32 tokens"),
        (["--document-tokens", "6"], 2, "pairs of 6 tokens are too short for the query"),
        (["--limit", "4000"], 2, "the sample corpus has only 3,600 pairs, not 4,000"),
        (["--pairs", "none.jsonl"], 1, "no such file: none.jsonl"),
        (["--pairs", "empty.jsonl"], 1, "empty.jsonl has no pairs"),
        (
            ["--pairs", "empty.jsonl", "--document-tokens", "64"],
            2,
            "--document-tokens cannot be combined",
        ),
        (["-f", "trec"], 2, "unsupported format 'trec'"),
        (["-o", "speed.csv"], 2, "unsupported format: speed.csv"),
        (["-r", "none"], 2, "a benchmark needs a reranker"),
        (["-r", "no-such-model"], 1, "no model 'no-such-model'"),
        (["--device", "cuda:99"], 1, "device cuda:99 cannot be used"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    ettin: Ettin, model: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    ran = ettin("bench", "-r", str(model), *words)
    assert (ran.code, ran.out) == (code, "")
    errors = [line for line in ran.err.splitlines() if line.startswith("ettin: error: ")]
    assert len(errors) == 1
    assert message in errors[0]
