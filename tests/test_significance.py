"""Significance agrees with independent methods: enumeration, SciPy and simulation."""

import math
import tracemalloc
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from ettin_cli.evaluation.significance import EXACT, SAMPLES, Effect, effects, queries_needed

VALUES = st.sampled_from([-0.5, -0.1, 0.0, 0.1, 0.2, 0.3, 1.0])
DIFFERENCES = st.lists(VALUES, min_size=1, max_size=10)


def normal(mean: float, count: int, seed: int) -> list[float]:
    values: list[float] = np.random.default_rng(seed).normal(mean, 1, count).tolist()
    return values


def alone(differences: Sequence[float], seed: int = 0) -> Effect:
    """Return the effect of a single system."""
    [effect] = effects([differences], seed=seed)
    return effect


def p_of(differences: Sequence[float], seed: int = 0) -> float:
    return alone(differences, seed).p


# Randomisation test of one system


@given(DIFFERENCES)
def test_p_is_the_share_of_signs_that_reach_as_far(differences: list[float]) -> None:
    # In tenths the sums are integers, so that counting involves no rounding.
    tenths = [round(10 * value) for value in differences]
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, tenths, strict=True)))
        for signs in product([-1, 1], repeat=len(tenths))
    ]
    expected = sum(one >= abs(sum(tenths)) for one in sums) / len(sums)
    assert p_of(differences, seed=0) == pytest.approx(expected, abs=1e-12)


def test_p_is_scipys() -> None:
    differences = normal(0.4, 12, seed=5)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert p_of(differences, seed=0) == pytest.approx(expected.pvalue, abs=1e-12)


@pytest.mark.parametrize("mean", [0.0, 0.2, 0.4])
def test_sampled_signs_agree_with_the_exact_share(mean: float) -> None:
    # With 18 differences all 262,144 sign patterns can still be enumerated, in halves.
    differences = np.array(normal(mean, 18, seed=3))
    signs = np.array(list(product([-1, 1], repeat=18)), np.int8)
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    sampled = p_of(differences.tolist(), 1)
    spread = math.sqrt(exact * (1 - exact) / SAMPLES)
    assert sampled == pytest.approx(exact, abs=4 * spread)
    assert sampled == p_of(differences.tolist(), 1)
    assert sampled != p_of(differences.tolist(), 2)


def test_sampled_p_is_never_0() -> None:
    assert p_of([1.0] * 200, seed=0) == 1 / (SAMPLES + 1)


@pytest.mark.parametrize("count", [1, EXACT, EXACT + 1, 500])
def test_equal_systems_are_never_told_apart(count: int) -> None:
    assert p_of([0.0] * count, seed=0) == 1.0


def test_queries_without_a_difference_say_nothing_about_its_sign() -> None:
    differences = normal(0.5, 10, seed=2)
    assert p_of([*differences, *[0.0] * 90], seed=0) == p_of(differences, seed=1)


def test_sums_that_are_equal_but_for_rounding_count_as_equal() -> None:
    # 0.1 + 0.2 - 0.3 is 5.6e-17 in floating point, yet no signs give a sum nearer to 0.
    assert p_of([0.1, 0.2, -0.3], seed=0) == 1.0


def test_the_side_of_the_difference_does_not_matter() -> None:
    for count in (EXACT, 40):
        differences = normal(0.3, count, seed=7)
        mirrored = [-value for value in differences]
        assert p_of(differences, seed=4) == p_of(mirrored, seed=4)


def test_under_no_effect_p_is_below_a_tenth_a_tenth_of_the_time() -> None:
    low = sum(p_of(normal(0, 12, seed), seed=0) <= 0.1 for seed in range(400))
    assert low == pytest.approx(40, abs=4 * math.sqrt(400 * 0.1 * 0.9))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_difference_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        effects([[0.1, 0.2], [0.1, bad]], seed=0)
    with pytest.raises(ValueError, match="not finite"):
        queries_needed([0.1, bad])


def test_without_a_query_there_is_no_effect_and_without_a_system_nothing_to_say() -> None:
    with pytest.raises(ValueError, match="no differences"):
        effects([[]], seed=0)
    assert effects([], seed=0) == []


# Several systems


def students(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return SciPy's |t| of each row; 0 where all differences are 0."""
    return [abs(float(stats.ttest_1samp(row, 0).statistic)) if any(row) else 0.0 for row in rows]


def enumerated(rows: list[list[float]]) -> tuple[list[float], float]:
    """Return p of each row over all flips of queries, and the largest |t| with p >= 0.05."""
    observed = students(rows)
    largest = [
        max(students([[s * v for s, v in zip(signs, row, strict=True)] for row in rows]))
        for signs in product([-1, 1], repeat=len(rows[0]))
    ]
    shares = [sum(one >= t - 1e-9 for one in largest) / len(largest) for t in observed]
    reached = [t for t in largest if sum(one >= t - 1e-9 for one in largest) >= 0.05 * len(largest)]
    return shares, max(reached)


@pytest.mark.parametrize("seed", range(4))
def test_p_and_interval_are_those_of_the_largest_t_of_every_flip(seed: int) -> None:
    common = np.array(normal(0.8, 8, seed))
    rows = [(common + scale * np.array(normal(0, 8, 50 + seed))).tolist() for scale in (0.3, 1, 3)]
    shares, critical = enumerated(rows)
    found = effects(rows, seed=0)
    assert [one.p for one in found] == pytest.approx(shares, abs=1e-12)
    for row, one in zip(rows, found, strict=True):
        half = critical * float(stats.sem(row))
        expected = (np.mean(row) - half, np.mean(row) + half)
        assert one.interval == pytest.approx(expected, rel=1e-9)


@given(
    st.integers(1, 20).flatmap(
        lambda count: st.lists(
            st.lists(VALUES, min_size=count, max_size=count), min_size=1, max_size=4
        )
    ),
    st.integers(0, 3),
)
def test_an_interval_excludes_0_exactly_where_p_is_below_a_twentieth(
    rows: list[list[float]], seed: int
) -> None:
    for row, one in zip(rows, effects(rows, seed=seed), strict=True):
        low, high = one.interval
        assert low <= np.mean(row) + 1e-12
        assert high >= np.mean(row) - 1e-12
        assert math.isfinite(low)
        assert math.isfinite(high)
        assert (one.p < 0.05) == (low > 0 or high < 0)


def test_systems_that_are_alike_need_no_correction_and_others_need_it() -> None:
    row = normal(0.5, 14, seed=3)
    assert [one.p for one in effects([row, row, row], seed=0)] == [p_of(row)] * 3
    others = [normal(0, 14, seed) for seed in range(5)]
    corrected = effects([row, *others], seed=0)[0]
    assert p_of(row) < corrected.p <= 6 * p_of(row)
    assert corrected.interval[0] < alone(row).interval[0]
    assert corrected.interval[1] > alone(row).interval[1]


def test_a_system_without_a_difference_changes_nothing() -> None:
    row = normal(0.5, 12, seed=3)
    found = effects([row, [0.0] * 12], seed=0)
    assert found[0] == alone(row)
    assert (found[1].p, found[1].interval) == (1.0, (0.0, 0.0))


def shared(seed: int, systems: int, queries: int, mean: float) -> list[list[float]]:
    """Return differences of systems that share half of their variance."""
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=queries), rng.normal(size=(systems, queries))
    rows: list[list[float]] = (mean + (common + own) / math.sqrt(2)).tolist()
    return rows


def test_under_no_effect_a_twentieth_of_the_sweeps_has_any_p_below_a_twentieth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ettin_cli.evaluation.significance.SAMPLES", 1000)
    wrong = sum(
        any(one.p < 0.05 for one in effects(shared(seed, 6, 30, 0.0), seed=seed))
        for seed in range(400)
    )
    assert wrong == pytest.approx(20, abs=4 * math.sqrt(400 * 0.05 * 0.95))


@pytest.mark.parametrize("mean", [0.0, 0.4])
def test_all_intervals_of_a_sweep_hold_together_as_often_as_they_say(
    monkeypatch: pytest.MonkeyPatch, mean: float
) -> None:
    monkeypatch.setattr("ettin_cli.evaluation.significance.SAMPLES", 1000)
    held = 0
    for seed in range(400):
        found = effects(shared(seed, 6, 40, mean), seed=seed)
        held += all(one.interval[0] <= mean <= one.interval[1] for one in found)
    assert held / 400 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 400))


def test_the_interval_of_one_system_is_students_but_for_chance() -> None:
    differences = normal(0.3, 80, seed=1)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert alone(differences).interval == pytest.approx((expected.low, expected.high), abs=0.01)
    assert alone(differences, 2) == alone(differences, 2) != alone(differences, 3)


def test_five_queries_are_too_few_for_any_result() -> None:
    for rows in ([[0.1] * 5], [[0.25]], [[0.1] * 5, normal(2, 5, seed=1)]):
        for one in effects(rows, seed=0):
            assert one.p >= 0.05
            assert one.interval[0] <= 0 <= one.interval[1]
    assert alone([0.1] * 6).interval == pytest.approx((0.1, 0.1))


def test_memory_does_not_grow_with_the_number_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ettin_cli.evaluation.significance.SAMPLES", 200)
    rows = [normal(0.1, 100_000, seed) for seed in range(3)]
    tracemalloc.start()
    effects(rows, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


def test_what_is_drawn_at_once_changes_nothing_but_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    # Their sum is 0, which every sample reaches: p is 1 only if all of them were sampled.
    differences = [1.0, -1.0] * 10
    for numbers in (19, 999, 1 << 30):
        monkeypatch.setattr("ettin_cli.evaluation.significance.CHUNK", numbers)
        assert p_of(differences) == 1.0
        expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert alone(differences).interval == pytest.approx((expected.low, expected.high), abs=0.07)


# Number of queries


def test_queries_needed_is_the_textbooks_number() -> None:
    # An effect of half a standard deviation: ((1.959964 + 0.841621) / 0.5)^2 = 31.4.
    half = [1.0 + 2 * sign * math.sqrt(9 / 10) for sign in [1, -1] * 5]
    assert np.std(half, ddof=1) == pytest.approx(2 * np.mean(half))
    assert queries_needed(half) == 32
    # With more power and a stricter test: ((2.575829 + 1.281552) / 0.5)^2 = 59.5.
    assert queries_needed(half, power=0.9, critical=2.575829) == 60


def test_so_many_queries_find_the_effect_as_often_as_promised() -> None:
    # A pilot with mean 0.4 and deviation 1, as in the samples that follow.
    pilot = [0.4 + sign * math.sqrt(0.9) for sign in [1, -1] * 5]
    needed = queries_needed(pilot)
    assert needed is not None
    found = [
        stats.ttest_1samp(normal(0.4, needed, seed), 0).pvalue <= 0.05 for seed in range(1, 1001)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_no_effect_needs_no_number() -> None:
    assert queries_needed([0.3, -0.3]) is None
    assert queries_needed([0.1, 0.2, -0.3]) is None
    assert queries_needed([0.0] * 50) is None
    assert queries_needed([0.5]) is None


def test_even_a_sure_effect_needs_as_many_queries_as_the_test_can_tell_apart() -> None:
    assert queries_needed([0.1] * 3) == 6
    assert p_of([0.1] * 6, seed=0) <= 0.05 < p_of([0.1] * 5, seed=0)
