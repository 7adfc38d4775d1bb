"""The parts of training: examples, losses, their order, the learning rate."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import CorpusError, ModelError
from ettin_cli.models.engines import torch_devices
from ettin_cli.models.engines.assembling import TokenIds
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.records import Silence, TimedReranker
from ettin_cli.training.batches import bounded, steps
from ettin_cli.training.examples import Examples, read_examples
from ettin_cli.training.folder import ModelFolder
from ettin_cli.training.loop import _random_state, _set_random_state
from ettin_cli.training.losses import total_loss
from ettin_cli.training.progress import Measure
from ettin_cli.training.recipe import Recipe, completed, rate_at
from ettin_cli.training.rows import Example
from ettin_cli.training.run import TrainRequest, train
from ettin_cli.training.student import Student, training_placement
from tests import models
from tests.indexes import Notices

SCORED: list[dict[str, object]] = [
    {"query": "ferry", "document": "The ferry sails at nine.", "score": 7.5},
    {"query": "ferry", "text": "Knead the dough.", "score": -3},
    {"query": "bread", "title": "Baking", "text": "Knead the dough.", "score": "2.5"},
]
LISTED = {"query": "ferry", "positive": "It sails.", "negatives": ["Dough.", "Bread.", "Dough."]}


def written(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, loss: str | None = None) -> tuple[list[Example], list[str]]:
    said = Notices()
    with read_examples([path], loss, said) as examples:
        return [examples[at] for at in range(len(examples))], said.said


# Examples


def test_scored_pairs_and_positives_are_examples_of_one_file(tmp_path: Path) -> None:
    found, _ = read(written(tmp_path / "data.jsonl", [*SCORED, LISTED]))
    assert found == [
        Example("ferry", ["The ferry sails at nine."], [7.5], scored=True),
        Example("ferry", ["Knead the dough."], [-3.0], scored=True),
        Example("bread", ["Baking Knead the dough."], [2.5], scored=True),
        Example("ferry", ["It sails.", "Dough.", "Bread."], [1.0, 0.0, 0.0], scored=False),
    ]


def test_parquet_holds_the_same_examples_as_jsonl(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"query": "a", "document": "b", "score": 1.5, "positive": None, "negatives": None},
        {"query": "a", "document": None, "score": None, "positive": ["c"], "negatives": ["d"]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    assert read(tmp_path / "data.parquet")[0] == read(written(tmp_path / "data.jsonl", rows))[0]


@pytest.mark.parametrize("loss", ["margin-mse", "listwise"])
def test_losses_that_compare_get_the_scored_documents_of_a_query_together(
    tmp_path: Path, loss: str
) -> None:
    found, said = read(written(tmp_path / "data.jsonl", [SCORED[0], SCORED[2], SCORED[1]]), loss)
    texts = ["The ferry sails at nine.", "Knead the dough."]
    assert found == [Example("ferry", texts, [7.5, -3.0], scored=True)]
    assert said[0] == ("1 queries have only one scored document to compare and are skipped")


def test_repeated_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    other = {**SCORED[0], "score": 1.0}
    rows = [*SCORED, SCORED[0], other, LISTED, LISTED]
    found, said = read(written(tmp_path / "data.jsonl", rows))
    assert [example.targets for example in found] == [[7.5], [-3.0], [2.5], [1.0, 0.0, 0.0]]
    assert said[:2] == [
        "2 duplicate rows are skipped",
        "1 rows repeat an earlier pair with a different score and are skipped; the first "
        "score is kept",
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"query": "a", "document": "b"}, 'no "score" field'),
        ({"query": "a", "document": "b", "score": None}, 'no "score"'),
        ({"query": "a", "document": "b", "retrieval_score": 3.0}, 'no "score"'),
        ({"query": "a", "document": "b", "score": "high"}, '"score" is not a finite number'),
        ({"query": "a", "document": "b", "score": True}, '"score" is not a finite number'),
        ({"query": " ", "document": "b", "score": 1}, '"query" is empty or not a string'),
        ({"document": "b", "score": 1}, 'no "query" field'),
        ({"query": "a", "positive": "b"}, 'no "negatives"'),
        ({"query": "a", "positive": "b", "negatives": ["b"]}, "both a positive and a negative"),
        ({"query": "a", "positive": "b", "negatives": [3]}, '"negatives" is neither'),
        ({"query": "a", "positive": [" "], "negatives": ["c"]}, '"positive" has an empty text'),
        ({"positive": "b", "negatives": ["c"]}, '"query" is missing'),
        ([1], "not a JSON object"),
    ],
)
def test_a_row_that_is_no_example_is_named_with_its_reason(
    tmp_path: Path, row: object, reason: str
) -> None:
    path = written(tmp_path / "data.jsonl", [SCORED[0], row])
    found, said = read(path)
    assert len(found) == 1
    assert said[0].startswith(f"rejected {path}:2: ")
    assert reason in said[0]


def test_a_file_without_any_example_is_refused_by_its_first_row(tmp_path: Path) -> None:
    path = written(tmp_path / "data.jsonl", [{"query": "a", "document": "b"}] * 3)
    with pytest.raises(CorpusError, match=r'data.jsonl:1: no "score"'):
        read(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no valid rows in .*data.jsonl"):
        read(written(tmp_path / "data.jsonl", []))


@pytest.mark.parametrize(
    ("rows", "loss", "problem"),
    [
        ([*SCORED, LISTED], "mse", "data.jsonl:4: the loss mse needs scores, not a positive"),
        (SCORED, "bce", "data.jsonl:1: the loss bce needs probabilities, but the score is 7.5"),
        (SCORED[1:], "listwise", "the loss listwise compares documents, but no query in"),
    ],
)
def test_data_that_a_loss_can_make_nothing_of_is_refused(
    tmp_path: Path, rows: Sequence[object], loss: str, problem: str
) -> None:
    with pytest.raises(CorpusError, match=problem):
        read(written(tmp_path / "data.jsonl", rows), loss)


@pytest.mark.parametrize(
    ("scores", "loss", "told"),
    [
        ([-3, 4, 5], None, []),
        ([0.1, 0.9, 1.0], None, ["the scores look like probabilities"]),
        ([0.1, 0.9, 1.0], "bce", []),
        ([0.1, 0.9, 1.0], "listwise", []),
        ([0, 900, 1000], "mse", ["the scores vary far more than raw scores"]),
        ([3, 3, 3], "mse", ["the scores are all equal"]),
    ],
)
def test_the_scale_of_a_teachers_scores_is_told_and_doubted(
    tmp_path: Path, scores: Sequence[float], loss: str | None, told: Sequence[str]
) -> None:
    rows = [{"query": "a", "text": f"b{n}", "score": score} for n, score in enumerate(scores)]
    _, [scale, *doubts] = read(written(tmp_path / "data.jsonl", rows), loss)
    mean, spread = f"{np.mean(scores):.3g}", f"{np.std(scores):.3g}"
    assert scale.startswith(
        f"the teacher's scores: mean {mean}, standard deviation {spread}, from "
    )
    assert len(doubts) == len(told)
    assert all(doubt.startswith(start) for doubt, start in zip(doubts, told, strict=True))


# Losses, against values computed by hand


def loss_of(scores: Sequence[float], example: Example, name: str | None) -> float:
    return float(total_loss(torch.tensor(scores), [example], name))


def softmax(values: Sequence[float]) -> Any:
    powers = np.exp(np.array(values))
    return powers / powers.sum()


def test_mse_is_the_squared_error_of_raw_scores() -> None:
    assert loss_of([2.0], Example("q", ["a"], [-1.0], True), None) == pytest.approx(9.0)


def test_margin_mse_compares_differences_and_not_scores() -> None:
    example = Example("q", ["a", "b", "c"], [5.0, 1.0, 0.0], True)
    shifted = [105.0, 101.0, 100.0]
    assert loss_of(shifted, example, "margin-mse") == pytest.approx(0)
    # Margins 1, 3, 2 where the teacher has 4, 5, 1.
    assert loss_of([3.0, 2.0, 0.0], example, "margin-mse") == pytest.approx((9 + 4 + 1) / 3)


def test_a_row_without_positives_has_no_loss() -> None:
    assert np.isnan(loss_of([0.5, 2.0], Example("q", ["a", "b"], [0.0, 0.0], False), "listwise"))


def test_listwise_on_scores_is_the_cross_entropy_of_two_softmaxes() -> None:
    scores, targets = [0.5, -1.0, 2.0], [3.0, 0.0, 1.0]
    found = loss_of(scores, Example("q", ["a", "b", "c"], targets, True), "listwise")
    assert found == pytest.approx(-(softmax(targets) * np.log(softmax(scores))).sum(), abs=1e-6)


def test_listwise_tells_each_positive_from_the_negatives_alone() -> None:
    example = Example("q", ["a", "b", "c", "d"], [1.0, 1.0, 0.0, 0.0], False)
    scores = [2.0, -0.5, 1.0, 0.25]
    by_hand = [-math.log(softmax([one, 1.0, 0.25])[0]) for one in scores[:2]]
    assert loss_of(scores, example, None) == pytest.approx(sum(by_hand) / 2, abs=1e-6)


def test_bce_takes_positives_for_one_and_probabilities_for_themselves() -> None:
    listed = Example("q", ["a", "b"], [1.0, 0.0], False)
    by_hand = (-math.log(1 / (1 + math.exp(-2))) - math.log(1 - 1 / (1 + math.exp(1)))) / 2
    assert loss_of([2.0, -1.0], listed, "bce") == pytest.approx(by_hand, abs=1e-6)
    scored = Example("q", ["a"], [0.25], True)
    assert loss_of([0.0], scored, "bce") == pytest.approx(math.log(2), abs=1e-6)


def test_a_mixed_batch_is_the_sum_of_its_examples() -> None:
    scored = Example("q", ["a"], [-1.0], True)
    listed = Example("q", ["a", "b"], [1.0, 0.0], False)
    both = float(total_loss(torch.tensor([2.0, 0.5, 0.1]), [scored, listed], None))
    assert both == pytest.approx(
        loss_of([2.0], scored, None) + loss_of([0.5, 0.1], listed, None), abs=1e-5
    )


# Order


@pytest.fixture
def many() -> Iterator[Examples]:
    with Examples() as examples:
        for number in range(203):
            texts = ["word " * (1 + number * 7 % 40)] * (1 + number % 2)
            examples.add(Example(str(number), texts, [1.0, 0.0][: len(texts)], scored=False))
        yield examples


def by_words(pairs: Sequence[tuple[str, str]]) -> tuple[list[TokenIds], list[bool]]:
    tokens = [TokenIds([0] * len(f"{query} {text}".split()), []) for query, text in pairs]
    return tokens, [len(one.ids) > 30 for one in tokens]


def order(examples: Examples, seed: int, epoch: int, begin: int = 0) -> list[list[str]]:
    found = steps(examples, by_words, 5, seed, epoch, begin)
    return [[one.example.query for one in step] for step in found]


def test_an_epoch_holds_every_example_once_in_an_order_of_its_own(many: Examples) -> None:
    first, again, second = order(many, 12, 0), order(many, 12, 0), order(many, 12, 1)
    every = [query for step in first for query in step]
    assert sorted(every, key=int) == [str(number) for number in range(203)]
    assert first == again
    assert first != second
    assert first != order(many, 13, 0)
    assert [len(step) for step in first].count(5) == 40


@pytest.mark.parametrize("begin", [1, 15, 16, 17, 40, 41])
def test_an_epoch_resumes_from_any_of_its_steps(many: Examples, begin: int) -> None:
    assert order(many, 12, 3, begin) == order(many, 12, 3)[begin:]


def test_the_rows_of_a_step_are_of_about_one_length(many: Examples) -> None:
    def padding(found: Sequence[Any]) -> int:
        return sum(len(step) * max(step) - sum(step) for step in found)

    grouped = [[one.longest for one in step] for step in steps(many, by_words, 5, 12, 0)]
    flat = np.random.default_rng(5).permutation([length for step in grouped for length in step])
    assert padding(grouped) < padding([flat[at : at + 5] for at in range(0, len(flat), 5)]) / 5


def test_batches_hold_whole_examples_within_their_tokens(many: Examples) -> None:
    step = next(steps(many, by_words, 40, 12, 0))
    batches = list(bounded(step, 100))
    assert sorted(id(one) for batch in batches for one in batch) == sorted(map(id, step))
    for batch in batches:
        size = max(one.longest for one in batch) * sum(len(one.tokens) for one in batch)
        assert size <= 100 or len(batch) == 1
    assert len(batches) < len(step)


# The recipe


def test_the_recipe_is_the_releases_for_a_student_of_that_size() -> None:
    published = {
        16_863_745: (2.4e-4, 1024),
        32_031_745: (1.2e-4, 512),
        68_408_321: (3e-5, 256),
        149_606_401: (1.5e-5, 192),
        395_833_345: (7e-6, 256),
        1_031_267_329: (3e-6, 512),
    }
    for parameters, (rate, batch) in published.items():
        found = completed(Recipe(), parameters, 143_000_000)
        assert (found.learning_rate, found.batch_size, found.epochs) == (rate, batch, 1)


def test_what_is_asked_for_is_not_changed() -> None:
    asked = Recipe("bce", None, 7, None, 4, 1e-3, 5, None)
    assert completed(asked, 16_863_745, 1000) == asked


def test_the_learning_rate_rises_and_falls_in_lines() -> None:
    rates = [rate_at(share / 100) for share in range(101)]
    assert rates[:4] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    falls = np.diff(rates[3:])
    assert falls == pytest.approx(np.full(97, -1 / 97))
    assert rates[-1] == 0


# A training run


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.embedder(tmp_path_factory.mktemp("encoder"))


def run(
    encoder: Path, data: Path, target: Path, recipe: Recipe, measure: Measure | None = None
) -> Any:
    files = ModelFiles("encoder", encoder)
    settings = EngineSettings(device="cpu", dtype="fp32")
    with read_examples([data], None, Silence()) as examples:
        request = TrainRequest(files, examples, recipe, settings, measure)
        return train(request, ModelFolder(target, resume=False), Silence())


def ferries(count: int) -> list[dict[str, object]]:
    words = "ferry pier dough oven telescope".split()
    rng = np.random.default_rng(1)
    rows = []
    for number in range(count):
        query, text = (list(map(str, rng.choice(words, 2, replace=False))) for _ in range(2))
        document = f"{' '.join(text)} {number}"
        score = 3.0 if "ferry" in text else -3.0
        rows.append({"query": " ".join(query), "document": document, "score": score})
    return rows


def test_the_weights_that_measure_best_are_kept(encoder: Path, tmp_path: Path) -> None:
    values = iter([0.1, 0.2, 0.9, 0.3, 0.9])
    kept: dict[float, dict[str, torch.Tensor]] = {}

    def scripted(student: TimedReranker) -> float:
        assert isinstance(student, Student)
        value = next(values)
        kept.setdefault(
            value, {name: one.detach().clone() for name, one in student.trained.items()}
        )
        return value

    data = written(tmp_path / "data.jsonl", ferries(40))
    measure = Measure("the script", "nDCG@10", 0.5, scripted)
    recipe = Recipe(steps=40, batch_size=4, learning_rate=1e-3)
    done = run(encoder, data, tmp_path / "model", recipe, measure)
    assert (done.progress.before, done.progress.best, done.progress.best_step) == (0.1, 0.9, 20)
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(tmp_path / "model"), device="cpu")
    for name, weight in model.named_parameters():
        assert torch.equal(weight, kept[0.9][name]), name
    assert not torch.equal(kept[0.9]["2.linear.weight"], kept[0.3]["2.linear.weight"])


def test_training_lowers_the_loss_on_what_can_be_learnt(encoder: Path, tmp_path: Path) -> None:
    data = written(tmp_path / "data.jsonl", ferries(150))
    done = run(
        encoder, data, tmp_path / "model", Recipe(steps=150, batch_size=16, learning_rate=3e-3)
    )
    variance = np.var([float(str(row["score"])) for row in ferries(150)])
    # A constant is off by at least the variance of the scores.
    assert done.progress.loss < variance / 2


def test_a_loss_that_is_not_a_number_ends_the_run_with_what_to_do(
    encoder: Path, tmp_path: Path
) -> None:
    data = written(tmp_path / "data.jsonl", ferries(40))
    with pytest.raises(ModelError, match="the loss is not finite at step") as caught:
        run(encoder, data, tmp_path / "model", Recipe(steps=9, batch_size=4, learning_rate=4e30))
    assert hint_of(caught.value) == "start over with --learning-rate 1e+30, or --dtype fp32"
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("dtype", ["auto", "fast", "fp32", "bf16"])
def test_a_cpu_multiplies_in_bf16_only_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, dtype: str, native: bool
) -> None:
    monkeypatch.setattr(torch_devices, "cpu_has_bf16", lambda: native)
    _, half = training_placement(EngineSettings(device="cpu", dtype=dtype), Silence())
    assert half is {"auto": False, "fast": native, "fp32": False, "bf16": True}[dtype]


def test_on_a_cpu_a_student_is_measured_in_fp32_whatever_it_trains_in(encoder: Path) -> None:
    files = ModelFiles("encoder", encoder)
    scores = {}
    for dtype in ("fp32", "bf16"):
        student = Student(files, EngineSettings(device="cpu", dtype=dtype), Silence(), seed=1)
        scores[dtype] = student.score([("ferry", "It sails."), ("bread", "Dough.")]).values
    assert scores["bf16"].tolist() == scores["fp32"].tolist()


def test_an_hour_bound_ends_a_run_of_endless_epochs(encoder: Path, tmp_path: Path) -> None:
    data = written(tmp_path / "data.jsonl", ferries(40))
    done = run(encoder, data, tmp_path / "model", Recipe(hours=1e-5, batch_size=4))
    assert 0 < done.progress.step < 1000
    assert done.progress.seconds >= 0.036


# Generators of a GPU


@pytest.fixture
def generators(monkeypatch: pytest.MonkeyPatch) -> dict[int, torch.Tensor]:
    """Simulate the generators of two GPUs."""
    states = {at: torch.full((16,), at, dtype=torch.uint8) for at in range(2)}

    def state_of(device: torch.device) -> torch.Tensor:
        return states[device.index or 0].clone()

    def set_state(state: torch.Tensor, device: torch.device) -> None:
        states[device.index or 0] = state

    monkeypatch.setattr(torch.cuda, "get_rng_state", state_of)
    monkeypatch.setattr(torch.cuda, "set_rng_state", set_state)
    return states


def test_a_process_keeps_the_random_state_of_its_own_gpu_alone(
    generators: dict[int, torch.Tensor],
) -> None:
    state = _random_state(torch.device("cuda:1"))
    assert state.keys() == {"cpu", "device"}
    # It resumes on the only GPU of another machine, and on a CPU.
    _set_random_state(state, torch.device("cuda:0"))
    assert generators[0].tolist() == [1] * 16
    _set_random_state(state, torch.device("cpu"))


@pytest.mark.parametrize("number", [0, 1])
def test_a_checkpoint_of_more_gpus_than_there_are_is_resumed(
    generators: dict[int, torch.Tensor], number: int
) -> None:
    """Older versions stored the states of all GPUs of the machine."""
    many = [torch.full((16,), 10 + at, dtype=torch.uint8) for at in range(8)]
    old = {"cpu": torch.get_rng_state(), "cuda": many}
    _set_random_state(old, torch.device("cuda", number))
    assert generators[number].tolist() == [10 + number] * 16
    one = {"cpu": torch.get_rng_state(), "cuda": many[:1]}
    _set_random_state(one, torch.device("cuda:1"))
    assert generators[1].tolist() == ([11] * 16 if number == 1 else [1] * 16)
    _set_random_state({**old, "cuda": []}, torch.device("cuda:0"))
