"""Probabilities have the right curve, are never 0 or 1, and apply only to the model they fit."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from ettin_cli.commands.hints import hint_of
from ettin_cli.errors import CalibrationError, OutputError
from ettin_cli.models.engines.settings import EngineSettings
from ettin_cli.models.hub import ModelFiles
from ettin_cli.models.rerankers.cross_encoder import CrossEncoderModel
from ettin_cli.models.rerankers.embedded import EmbeddedModel
from ettin_cli.models.rerankers.resolved import FolderReranker
from ettin_cli.models.rerankers.score_cache import score_folder
from ettin_cli.searching.calibration.fitting import Bin, Calibration, fit, folds
from ettin_cli.searching.calibration.maps import (
    fit_isotonic,
    fit_logistic,
    isotonic,
    logistic,
    pool_adjacent_violators,
)
from ettin_cli.searching.calibration.stored import is_calibrated, load, not_calibrated, save

Doubles = NDArray[np.float64]
SOME_SCORES = st.lists(st.tuples(st.floats(width=32, allow_nan=False), st.booleans()), min_size=4)


def sigmoid(logits: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-logits)))


def judged(
    count: int, seed: int = 1, *, step: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_], list[str]]:
    """Draw judgements of 40 queries whose true probability is a curve or, with `step`, in steps."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(4, 6, count).astype(np.float32)
    truth = true_steps(scores) if step else true_curve(scores)
    return scores, rng.random(count) < truth, [f"q{at % 40}" for at in range(count)]


def true_curve(scores: NDArray[np.float32]) -> Doubles:
    return sigmoid(0.5 * scores.astype(np.float64) - 3)


def true_steps(scores: NDArray[np.float32]) -> Doubles:
    return np.select([scores < 0, scores < 8], [0.05, 0.4], 0.6)


# Isotonic regression


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), min_size=1, max_size=7))
def test_pooled_steps_are_the_closest_rising_sequence(pairs: list[tuple[int, int]]) -> None:
    sums, weights = [float(total) for total, _ in pairs], [float(weight) for _, weight in pairs]
    steps = pool_adjacent_violators(sums, weights)
    found = [mean for first, last, mean in steps for _ in range(first, last + 1)]
    means = np.array(sums) / weights
    assert found == pytest.approx(closest_rising(means, np.array(weights)))
    assert all(before[1] + 1 == after[0] for before, after in pairwise(steps))
    assert all(before[2] < after[2] for before, after in pairwise(steps))


def closest_rising(means: Doubles, weights: Doubles) -> list[float]:
    """Return the oracle: max over starts of min over ends of the mean in between."""

    def mean(first: int, last: int) -> float:
        part = slice(first, last + 1)
        return float((means[part] * weights[part]).sum() / weights[part].sum())

    places = range(len(means))
    return [
        max(min(mean(first, last) for last in places[at:]) for first in places[: at + 1])
        for at in places
    ]


@pytest.mark.parametrize("seed", range(5))
def test_isotonic_is_sklearns_with_one_more_pair_at_either_end(seed: int) -> None:
    scores, relevant, _ = judged(300, seed)
    scores = np.round(scores)  # with ties
    prior = (relevant.sum() + 1) / 302
    reference = IsotonicRegression(out_of_bounds="clip").fit(
        [*scores, scores.min(), scores.max()], [*relevant.astype(float), prior, prior]
    )
    asked = np.linspace(-30, 40, 500)
    found = isotonic(fit_isotonic(scores.astype(np.float64), relevant), asked)
    assert np.allclose(found, reference.predict(asked), atol=1e-6)
    assert 0 < found[0] < found[-1] < 1


def test_separated_judgements_are_not_taken_for_certain() -> None:
    scores = np.arange(110, dtype=np.float64)
    found = isotonic(fit_isotonic(scores, scores >= 100), scores)
    prior = 11 / 112
    assert found[0] == pytest.approx(prior / 101)
    assert found[-1] == pytest.approx((10 + prior) / 11)


def test_one_score_for_all_gives_one_probability() -> None:
    parameters = fit_isotonic(np.full(8, 2.5), np.arange(8) < 2)
    expected = (2 + 2 * 3 / 10) / 10
    assert isotonic(parameters, np.array([-9.0, 2.5, 9.0])).tolist() == pytest.approx(
        [expected] * 3
    )


def test_rounding_lifts_no_value_above_the_next() -> None:
    below, above = 0.06, 0.88
    assert below + (above - below) > above
    parameters = {"scores": [-3e38, 0.0, 1.0], "probabilities": [below, above, above]}
    found = isotonic(parameters, np.array([-1e-45, 0.0]))
    assert found[0] <= found[1]


def test_a_great_many_judgements_are_still_not_certain() -> None:
    scores = np.arange(9000, dtype=np.float64)
    found = isotonic(fit_isotonic(scores, scores == 8999), scores)
    assert found[0] == 1e-6
    found = isotonic(fit_isotonic(scores, scores > 0), scores)
    assert found[-1] == 1 - 1e-6


# The logistic curve


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
@pytest.mark.parametrize("seed", range(3))
def test_the_logistic_curve_is_sklearns_on_platts_targets(seed: int, scale: float) -> None:
    scores, relevant, _ = judged(200, seed)
    raw = scores.astype(np.float64) * scale
    positive = int(relevant.sum())
    high, low = (positive + 1) / (positive + 2), 1 / (200 - positive + 2)
    targets = np.where(relevant, high, low)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.tile(raw / scale, 2)[:, None],
        np.repeat([1, 0], 200),
        sample_weight=np.concatenate([targets, 1 - targets]),
    )
    parameters = fit_logistic(raw, relevant)
    assert parameters["slope"][0] * scale == pytest.approx(reference.coef_[0, 0], rel=1e-5)
    assert parameters["intercept"][0] == pytest.approx(reference.intercept_[0], rel=1e-5)


def test_a_curve_that_would_fall_is_a_level() -> None:
    scores = np.arange(10, dtype=np.float64)
    parameters = fit_logistic(scores, scores < 3)
    high, low = 4 / 5, 1 / 9
    level = (3 * high + 7 * low) / 10
    assert parameters["slope"] == [0.0]
    assert logistic(parameters, scores).tolist() == pytest.approx([level] * 10)


def test_one_score_for_all_gives_one_level() -> None:
    scores = np.full(7, 0.1)
    assert scores.std() > 0  # by rounding alone
    found = logistic(fit_logistic(scores, np.arange(7) < 3), np.array([-5.0, 0.1, 5.0]))
    assert found.tolist() == pytest.approx([(3 * 4 / 5 + 4 / 6) / 7] * 3)


def test_no_slope_from_zero_up_is_likelier() -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        scores, relevant = rng.normal(size=12), rng.random(12) < 0.4
        positive = int(relevant.sum())
        targets = np.where(relevant, (positive + 1) / (positive + 2), 1 / (12 - positive + 2))

        def loss(slope: float, intercept: float) -> float:
            found = sigmoid(slope * scores + intercept)  # noqa: B023
            return float(-(targets * np.log(found) + (1 - targets) * np.log(1 - found)).sum())  # noqa: B023

        parameters = fit_logistic(scores, relevant)
        best = loss(parameters["slope"][0], parameters["intercept"][0])
        grid = [(a, b) for a in np.linspace(0, 8, 60) for b in np.linspace(-8, 8, 120)]
        assert best <= min(loss(a, b) for a, b in grid) + 1e-9


# Fitting


@pytest.mark.parametrize("step", [False, True])
def test_the_truth_is_recovered(step: bool) -> None:
    scores, relevant, groups = judged(20_000, step=step)
    found = fit(scores, relevant, groups)
    assert found.method == ("isotonic" if step else "logistic")
    asked = np.linspace(-8, 16, 200).astype(np.float32)
    truth = true_steps(asked) if step else true_curve(asked)
    away = np.abs(found.probability(asked) - truth)
    assert away.mean() < 0.02
    if not step:
        assert away.max() < 0.02
    assert (found.pairs, found.queries) == (20_000, 40)
    assert found.base_rate == pytest.approx(relevant.mean())
    assert found.log_losses[found.method] == min(found.log_losses.values())


def test_the_log_loss_is_that_of_queries_left_out() -> None:
    scores, relevant, groups = judged(400)
    found = fit(scores, relevant, groups)
    fold_of, raw = folds(groups), scores.astype(np.float64)
    total = 0.0
    for fold in range(5):
        parameters = fit_logistic(raw[fold_of != fold], relevant[fold_of != fold])
        for score, good in zip(raw[fold_of == fold], relevant[fold_of == fold], strict=True):
            chance = 1 / (
                1 + math.exp(-parameters["slope"][0] * score - parameters["intercept"][0])
            )
            total -= math.log(chance if good else 1 - chance)
    assert found.log_losses["logistic"] == pytest.approx(total / 400)


def test_the_reliability_curve_counts_every_pair_and_lies_near_the_diagonal() -> None:
    scores, relevant, groups = judged(20_000)
    bins = fit(scores, relevant, groups).reliability
    assert sum(one.count for one in bins) == 20_000
    assert sum(one.observed * one.count for one in bins) == pytest.approx(relevant.sum())
    assert [int(one.predicted * 10) for one in bins] == list(range(10))
    assert all(abs(one.predicted - one.observed) < 0.04 for one in bins)


@settings(deadline=None)
@given(st.lists(st.text(max_size=3), min_size=1))
def test_a_query_is_never_split_and_folds_are_even(groups: list[str]) -> None:
    found = dict(zip(groups, folds(groups).tolist(), strict=True))
    assert folds(groups).tolist() == [found[group] for group in groups]
    sizes = np.bincount(list(found.values()))
    assert len(sizes) <= 5
    assert sizes.max() - (sizes.min() if len(found) >= 5 else 1) <= 1
    shuffled = sorted(groups, reverse=True)
    assert folds(shuffled).tolist() == [found[group] for group in shuffled]


def test_the_order_of_the_pairs_changes_nothing() -> None:
    scores, relevant, groups = judged(300)
    order = np.random.default_rng(3).permutation(300)
    straight = fit(scores, relevant, groups)
    shuffled = fit(scores[order], relevant[order], [groups[at] for at in order])
    assert shuffled.log_losses == pytest.approx(straight.log_losses)
    assert shuffled.probability(scores) == pytest.approx(straight.probability(scores), abs=1e-6)


@pytest.mark.parametrize(
    ("relevant", "groups", "said"),
    [
        ([], [], "0 judged queries are too few"),
        ([True, False], ["q", "q"], "1 judged queries are too few"),
        ([True, True], ["p", "q"], "all 2 hits are relevant"),
        ([False, False], ["p", "q"], "all 2 hits are irrelevant or not judged"),
    ],
)
def test_too_few_judgements_are_refused(relevant: list[bool], groups: list[str], said: str) -> None:
    scores = np.arange(len(groups), dtype=np.float32)
    with pytest.raises(CalibrationError, match=said) as caught:
        fit(scores, np.array(relevant, np.bool_), groups)
    assert "judge more" in (hint_of(caught.value) or "")


def test_two_queries_are_enough_even_if_one_has_nothing_relevant() -> None:
    scores = np.array([3, 2, 1, 0], np.float32)
    found = fit(scores, np.array([True, True, False, False]), ["a", "a", "b", "b"])
    assert all(math.isfinite(loss) for loss in found.log_losses.values())


def test_what_is_no_judgement_of_every_score_is_an_error() -> None:
    for scores in ([1.0, 2.0, 3.0], [1.0, math.nan]):
        with pytest.raises(ValueError, match="scores must be numbers, one per judgement"):
            fit(np.array(scores, np.float32), np.array([True, False]), ["a", "b"])


@settings(deadline=None)
@given(SOME_SCORES, st.lists(st.floats(width=32, allow_nan=False), min_size=1))
def test_probabilities_rise_with_the_score_and_are_never_certain(
    pairs: list[tuple[float, bool]], asked: list[float]
) -> None:
    pairs = [*pairs, (0.0, True), (0.0, False)]
    scores = np.array([score for score, _ in pairs], np.float32)
    relevant = np.array([good for _, good in pairs])
    groups = [f"q{at % 3}" for at in range(len(pairs))]
    chosen = fit(scores, relevant, groups)
    for calibration in (chosen, other_method(chosen, scores, relevant)):
        rising = np.sort(np.array([*asked, *scores], np.float32))
        with np.errstate(over="ignore"):
            near = np.concatenate([np.nextafter(rising, np.float32(np.inf)), rising])
        found = calibration.probability(np.sort(near))
        assert found.dtype == np.float32
        assert ((found > 0) & (found < 1)).all()
        assert (np.diff(found) >= 0).all()


def other_method(
    calibration: Calibration, scores: NDArray[np.float32], relevant: NDArray[np.bool_]
) -> Calibration:
    from dataclasses import replace

    limit = float(np.finfo(np.float32).max)
    finite = np.clip(scores.astype(np.float64), -limit, limit)
    if calibration.method == "logistic":
        return replace(calibration, method="isotonic", parameters=fit_isotonic(finite, relevant))
    return replace(calibration, method="logistic", parameters=fit_logistic(finite, relevant))


# Stored with an index


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETTIN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path: Path) -> FolderReranker:
    return model(tmp_path / "model", b"weights")


def model(folder: Path, weights: bytes) -> FolderReranker:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    return CrossEncoderModel(ModelFiles("somebody/model", folder, "abc123"))


def fitted(*, step: bool = False) -> Calibration:
    return fit(*judged(300, step=step))


@pytest.mark.parametrize("step", [False, True])
def test_a_calibration_is_kept_and_read_back_whole(
    tmp_path: Path, files: FolderReranker, step: bool
) -> None:
    calibration = fitted(step=step)
    assert not is_calibrated(tmp_path, files)
    path = save(tmp_path, files, 512, calibration)
    assert path == tmp_path / "calibrations" / "somebody--model.json"
    assert is_calibrated(tmp_path, files)
    assert load(tmp_path, files, 512) == calibration
    assert json.loads(path.read_text())["reranker"]["max_tokens"] == 512
    save(tmp_path, files, 512, fitted(step=not step))
    assert load(tmp_path, files, 512) == fitted(step=not step)
    assert [one.name for one in path.parent.iterdir()] == ["somebody--model.json"]


def test_a_calibration_that_does_not_say_what_was_judged_is_read(
    tmp_path: Path, files: FolderReranker
) -> None:
    path = save(tmp_path, files, 512, fitted())
    body = json.loads(path.read_text())
    del body["checksum"], body["calibration"]["judged"], body["calibration"]["retrievers"]
    content = json.dumps(body, sort_keys=True, separators=(",", ":"))
    sealed = xxhash.xxh3_128_hexdigest(content.encode())
    path.write_text(json.dumps({**body, "checksum": sealed}))
    assert load(tmp_path, files, 512) == fitted()


def based_on(relevant: int, pairs: int) -> Calibration:
    return Calibration(
        method="logistic",
        parameters={"slope": [1.0], "intercept": [0.0]},
        log_losses={"logistic": 0.3},
        pairs=pairs,
        queries=30,
        base_rate=relevant / pairs,
        reliability=[],
        judged=relevant,
        retrievers=["dense", "hybrid"],
    )


def test_what_a_calibration_rests_on_is_said_with_what_was_taken_for_irrelevant() -> None:
    assert based_on(38, 1600).basis == (
        "38 judged pairs (38 relevant) and 1,562 unjudged pairs counted as irrelevant, hits of "
        "dense and hybrid for 30 queries; base rate 2.4 %"
    )


@pytest.mark.parametrize(
    ("relevant", "pairs", "said"),
    [(51, 100, "too high"), (50, 100, None), (1, 1000, None), (1, 1001, "too low")],
)
def test_a_share_of_relevant_pairs_that_no_search_has_is_doubted(
    relevant: int, pairs: int, said: str | None
) -> None:
    doubt = based_on(relevant, pairs).doubt
    assert (said in doubt) if said and doubt else doubt is said


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(st.lists(FLOATS), FLOATS, st.integers(0, 2**40))
def test_every_number_survives_the_file(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float], one: float, count: int
) -> None:
    folder = tmp_path_factory.mktemp("index")
    bins = [Bin(number, one, count) for number in numbers]
    parameters = {"scores": numbers, "probabilities": numbers}
    calibration = Calibration(
        "isotonic", parameters, {"a": one}, count, 2, one, bins, judged=count, retrievers=["dense"]
    )
    files = CrossEncoderModel(ModelFiles("m", folder))
    save(folder, files, 8, calibration)
    assert asdict(load(folder, files, 8)) == asdict(calibration)


def refusal(folder: Path, files: FolderReranker, max_tokens: int = 512) -> CalibrationError:
    with pytest.raises(CalibrationError) as caught:
        load(folder, files, max_tokens)
    assert hint_of(caught.value) == (
        f"ettin eval -i {folder} -r {files.name} --queries FILE --qrels FILE --calibrate"
    )
    assert "\n" not in caught.value.problem
    return caught.value


def test_a_calibration_for_another_formula_of_the_stand_in_is_refused(
    tmp_path: Path, files: FolderReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = EmbeddedModel(ModelFiles("embedded", files.files.folder, None))
    save(tmp_path, embedded, 512, fitted())
    scores = score_folder(embedded, EngineSettings("cpu"))
    assert load(tmp_path, embedded, 512) == fitted()
    monkeypatch.setattr("ettin_cli.models.rerankers.embedded.VERSION", 99)
    assert "a different reranker: formula" in refusal(tmp_path, embedded).problem
    assert score_folder(embedded, EngineSettings("cpu")) != scores


def test_a_calibration_of_another_model_is_refused(tmp_path: Path, files: FolderReranker) -> None:
    from dataclasses import replace

    assert refusal(tmp_path, files).problem == not_calibrated(tmp_path, files).problem
    save(tmp_path, files, 512, fitted())
    assert "max_tokens 512 instead of 256" in refusal(tmp_path, files, 256).problem
    newer = CrossEncoderModel(replace(files.files, revision="def456"))
    assert "revision abc123 instead of def456" in refusal(tmp_path, newer).problem
    retrained = model(tmp_path / "other", b"others")
    assert "weights " in refusal(tmp_path, retrained).problem
    renamed = CrossEncoderModel(replace(files.files, name="somebody/else"))
    assert "has no calibration for somebody/else" in refusal(tmp_path, renamed).problem
    alike = CrossEncoderModel(replace(files.files, name="somebody--model"))
    assert "name somebody/model instead of" in refusal(tmp_path, alike).problem
    load(tmp_path, files, 512)


def test_a_model_in_a_folder_is_the_same_by_any_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(tmp_path / "mine", b"weights")
    monkeypatch.chdir(tmp_path)
    ways: Sequence[Path] = [Path("mine"), tmp_path / "mine", tmp_path / "." / "mine"]
    save(tmp_path, CrossEncoderModel(ModelFiles(str(ways[0]), ways[0])), 8, fitted())
    for way in ways:
        load(tmp_path, CrossEncoderModel(ModelFiles(str(way), way)), 8)


def test_any_change_to_the_file_is_noticed(tmp_path: Path, files: FolderReranker) -> None:
    path = save(tmp_path, files, 512, fitted())
    whole = path.read_bytes()
    contents = [b"", b"[]", b"null", b"{}", whole[:-30], whole.replace(b"0.", b"1.", 1)]
    for content in contents:
        path.write_bytes(content)
        assert refusal(tmp_path, files).problem == f"{path} is damaged"
    path.unlink()
    path.mkdir()
    assert f"cannot read {path}" in refusal(tmp_path, files).problem


def test_a_newer_format_is_refused_by_name(tmp_path: Path, files: FolderReranker) -> None:
    path = save(tmp_path, files, 512, fitted())
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(CalibrationError, match="format 2, newer than the supported 1"):
        load(tmp_path, files, 512)


def test_a_calibration_that_cannot_be_written_is_said(
    tmp_path: Path, files: FolderReranker
) -> None:
    (tmp_path / "calibrations").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save(tmp_path, files, 512, fitted())
