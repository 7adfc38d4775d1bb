"""`ettin train` on a dataset of the hub, and with the release's recipe."""

import json
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import pytest
from huggingface_hub import ModelCard

from ettin_cli.api import Session
from ettin_cli.api.training import _pin
from ettin_cli.collections import COLLECTIONS, NANOBEIR_REPOSITORY, OpenCollection, Table
from ettin_cli.training import Processes
from ettin_cli.training.student import Student
from tests import models
from tests.conftest import Ettin, Outcome
from tests.dataset_repositories import TRAINED_ON, beir, nanobeir, pairs, parquet, training_data
from tests.hub_server import Fault, Hub, Repository

T = TypeVar("T")
NAME = f"datasets/{TRAINED_ON}"
FAST = ("--device", "cpu", "--learning-rate", "0.01", "--batch-size", "4")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedder, whose trunk has dropout."""
    return models.embedder(tmp_path_factory.mktemp("bert"), hidden=32)


@pytest.fixture
def hub(ettin: Ettin, tmp_path: Path) -> Iterator[Hub]:
    repositories = {
        NAME: Repository(training_data()),
        f"datasets/{NANOBEIR_REPOSITORY}": Repository(nanobeir()),
    }
    with Hub(repositories) as hub:
        hub.serve(ettin.monkeypatch, tmp_path)
        yield hub


def trained(ettin: Ettin, base: Path, output: str, *more: str) -> Outcome:
    return ettin("train", TRAINED_ON, "--base", str(base), "-o", output, *FAST, *more)


def weights(folder: Path) -> Mapping[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.safetensors")}


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    # Times are not part of the result.
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def with_invalid_rows() -> dict[str, bytes]:
    """Return the training data with two rows that are none, of 40."""
    rows = pairs("agnews", 0, 40)
    rows[3]["query"], rows[30]["label"] = " ", None
    return {**training_data(), "agnews/train-00000-of-00001.parquet": parquet(rows)}


def test_a_dataset_is_trained_on_by_name(
    ettin: Ettin, hub: Hub, bert: Path, tmp_path: Path
) -> None:
    done = trained(ettin, bert, "model", "--rows", "24", "--license", "mit")
    assert done.code == 0, done.err
    assert f"{TRAINED_ON}: licence apache-2.0" in done.err
    assert "24 of 152 rows of 3 of 3 configurations: 3 of 5 files" in done.err
    assert "in the first 24 rows, the teacher's scores: mean " in done.err
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.datasets == [TRAINED_ON]
    assert f"| {TRAINED_ON}/reddit | 14 | 0 | apache-2.0 |" in card.text
    assert "24 examples, a random sample of 152." in card.text
    assert metrics(tmp_path / "model")[-1]["pairs"] == 24


@pytest.mark.parametrize("strike", [5, 20])
def test_an_interrupted_run_resumes_to_the_same_weights(
    ettin: Ettin, hub: Hub, bert: Path, tmp_path: Path, strike: int
) -> None:
    hub.repositories[NAME] = Repository(with_invalid_rows())
    whole = trained(ettin, bert, "whole")
    assert whole.code == 3, whole.err
    assert "rejected 2 rows" in whole.err
    forward, calls = Student.forward, iter(range(1, 1000))

    def struck(student: Student, tokens: Any) -> Any:
        if next(calls) == strike:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(student, tokens)

    with ettin.monkeypatch.context() as patched:
        patched.setattr(Student, "forward", struck)
        assert trained(ettin, bert, "model").code == 130
    done = trained(ettin, bert, "model", "--resume")
    assert done.code == 3, done.err
    assert "resuming after step" in done.err
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "model") == metrics(tmp_path / "whole")
    # Rows are counted once, however often they were read.
    assert "rejected 2 rows" in done.err
    assert "2 unreadable rows were skipped." in (tmp_path / "model" / "README.md").read_text()


def test_a_hub_that_fails_in_the_middle_costs_no_step(
    ettin: Ettin, hub: Hub, bert: Path, tmp_path: Path
) -> None:
    # The first window has rows of one of the shards of reddit.
    more = ("--batch-size", "2")
    assert trained(ettin, bert, "whole", *more).code == 0
    hub.serve(ettin.monkeypatch, tmp_path / "other")
    head = "HEAD .*/reddit/train-"
    hub.faults = [Fault(head, times=1), Fault(head, status=500)]
    failed = trained(ettin, bert, "model", *more)
    assert failed.code == 1
    [line] = [line for line in failed.err.splitlines() if "error:" in line]
    assert f".parquet of the dataset {TRAINED_ON} failed: the hub failed (500 Internal" in line
    assert "; then run the same command with --resume" in failed.err
    hub.faults.clear()
    done = trained(ettin, bert, "model", *more, "--resume")
    assert done.code == 0, done.err
    assert "resuming after step" in done.err
    assert weights(tmp_path / "model") == weights(tmp_path / "whole")


def test_a_run_of_other_data_is_not_resumed(
    ettin: Ettin, hub: Hub, bert: Path, tmp_path: Path
) -> None:
    forward = Student.forward

    def struck(student: Student, tokens: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return forward(student, tokens)

    with ettin.monkeypatch.context() as patched:
        patched.setattr(Student, "forward", struck)
        assert trained(ettin, bert, "model", "--checkpoint-minutes", "0").code == 130
    for more in (("--rows", "100"), ("--recipe", "ettin")):
        done = trained(ettin, bert, "model", "--resume", *more)
        assert done.code == 1
        assert "had a different " in done.err


def test_the_recipe_of_the_release_is_kept_for_few_rows(
    ettin: Ettin, hub: Hub, bert: Path, tmp_path: Path
) -> None:
    ettin.monkeypatch.setattr("ettin_cli.training.loop.LEAST_BETWEEN", 1)
    two = [COLLECTIONS["nanobeir/scifact"], COLLECTIONS["nanobeir/nq"]]
    ettin.monkeypatch.setattr("ettin_cli.collections.family", lambda _: two)
    words = ("train", TRAINED_ON, "--base", str(bert), "-o", "model", "--device", "cpu")
    done = ettin(*words, "--recipe", "ettin", "--rows", "20", "--steps", "20", "--batch-size", "1")
    assert done.code == 0, done.err
    measured = [line["step"] for line in metrics(tmp_path / "model") if "nDCG@10" in line]
    assert measured == list(range(21))
    card = (tmp_path / "model" / "README.md").read_text()
    assert "- the recipe ettin: that of the Ettin release\n- loss: mse\n" in card
    assert "nDCG@10 of NanoBEIR, the mean of 2 sets with 8 queries" in card
    plan = ettin(*words[:-4], "-o", "other", "--device", "cpu", "--recipe", "ettin", "--rows", "20")
    assert plan.code == 0, plan.err
    assert "1 steps of 1,024 rows, learning rate 0.00024" in plan.err


def test_a_folder_named_like_an_owner_hides_no_dataset(
    ettin: Ettin, hub: Hub, bert: Path, tmp_path: Path
) -> None:
    (tmp_path / TRAINED_ON).parent.mkdir()
    done = trained(ettin, bert, "model", "--rows", "4", "--steps", "1")
    assert done.code == 0, done.err
    named = ettin("train", "cross-encoder/mined", "--base", str(bert), "-o", "other")
    assert named.code == 1
    assert "there is no such file here, and the hub has no dataset cross-encoder/m" in named.err
    (tmp_path / TRAINED_ON).mkdir()
    assert "is not in a format that holds pairs" in trained(ettin, bert, "third").err


@pytest.mark.parametrize("name", ["runs/mined.jsonl", "other/mined.jsnl", "other/mined.jsnl.gz"])
def test_the_hub_is_not_asked_for_a_file_that_is_missing(
    ettin: Ettin, hub: Hub, bert: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "runs").mkdir()
    done = ettin("train", name, "--base", str(bert), "-o", "model")
    assert done.code == 1
    assert f"error: no such file: {name}" in done.err
    assert not hub.asked()


def test_unknown_names_are_usage_errors_or_lines(ettin: Ettin, hub: Hub, bert: Path) -> None:
    cases = {
        "some/nothing": (1, "error: there is no such file here, and the hub has no dataset some/n"),
        "some/nothing.jsonl": (1, "error: no such file: some/nothing.jsonl"),
        f"{TRAINED_ON}/redit": (1, f"hint: {TRAINED_ON}/reddit"),
        f"{TRAINED_ON}/texts": (1, "its columns are text, label\n  hint: a row is query, document"),
    }
    for name, (code, said) in cases.items():
        done = ettin("train", name, "--base", str(bert), "-o", "model")
        assert done.code == code
        assert said in done.err
    done = trained(ettin, bert, "model", "--recipe", "other")
    assert done.code == 2
    assert "error: unknown recipe 'other'\n  hint: ettin" in done.err


def test_the_records_of_datasets_are_cache_entries(ettin: Ettin, hub: Hub, bert: Path) -> None:
    words = ("train", f"{TRAINED_ON}/texts", "--base", str(bert), "-o", "model")
    assert ettin(*words).code == 1
    listed = [line.split() for line in ettin("cache").out.splitlines()[1:]]
    assert {line[0]: line[-1] for line in listed} == {
        "datasets.json": TRAINED_ON,
        "parquet-footers.json": TRAINED_ON,
    }
    asked = len(hub.asked("GET"))
    assert ettin(*words).code == 1
    assert len(hub.asked("GET")) == asked
    assert "1 entry removed" in ettin("cache", "clear", "datasets.json").err
    assert ettin(*words).code == 1
    assert [one for one in hub.asked("GET")[asked:] if "/api/datasets/" in one]
    assert "2 entries removed" in ettin("cache", "clear").err
    assert ettin("cache").out == ""


class OneOfTwo(Processes):
    """A process of two that share nothing but what the main one sends."""

    sent: ClassVar[list[bytes]] = []

    def on_main(self, work: Callable[[], T]) -> T:
        if self.main:
            self.sent.append(pickle.dumps(work()))
            return cast(T, pickle.loads(self.sent[-1]))
        return cast(T, pickle.loads(self.sent.pop(0)))


def test_processes_without_a_shared_cache_read_the_commits_of_the_main_one(
    ettin: Ettin, hub: Hub, tmp_path: Path
) -> None:
    for name, repository in beir("fiqa").items():
        hub.repositories[name] = repository

    def read(rank: int) -> tuple[list[Table], list[OpenCollection]]:
        hub.serve(ettin.monkeypatch, tmp_path / str(rank))
        with Session() as session:
            processes = OneOfTwo(rank, 2)
            tables = session._same_tables([TRAINED_ON], None, processes)
            collections = session._judged("beir/fiqa")
            _pin(collections, processes)
            return tables, collections

    tables, [one] = read(0)
    for name in (NAME, "datasets/BeIR/fiqa", "datasets/BeIR/fiqa-qrels"):
        hub.repositories[name].move({**hub.repositories[name].files, "more.txt": b""})
    others, [other] = read(1)
    assert [(t.name, t.files.commit, t.shards) for t in others] == [
        (t.name, t.files.commit, t.shards) for t in tables
    ]
    assert others[0].files.commit != hub.repositories[NAME].commit
    assert others[0].files.paths([others[0].shards[0].name])
    assert other.commits == one.commits
    assert other.queries == one.queries
