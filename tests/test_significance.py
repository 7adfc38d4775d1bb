"""What is called significant is so by independent means: enumeration, SciPy and simulation."""

import math
import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ettin_cli.significance import (
    EXACT,
    SAMPLES,
    bootstrap_interval,
    holm,
    queries_needed,
    randomisation_p,
)

DIFFERENCES = st.lists(st.sampled_from([-0.5, -0.1, 0.0, 0.1, 0.2, 0.3, 1.0]), max_size=10)


def normal(mean: float, count: int, seed: int) -> list[float]:
    values: list[float] = np.random.default_rng(seed).normal(mean, 1, count).tolist()
    return values


# The randomisation test


@given(DIFFERENCES)
def test_p_is_the_share_of_signs_that_reach_as_far(differences: list[float]) -> None:
    # In tenths the sums are whole, so that there is no rounding in this count.
    tenths = [round(10 * value) for value in differences]
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, tenths, strict=True)))
        for signs in product([-1, 1], repeat=len(tenths))
    ]
    expected = sum(one >= abs(sum(tenths)) for one in sums) / len(sums)
    assert randomisation_p(differences, seed=0) == pytest.approx(expected, abs=1e-12)


def test_p_is_scipys() -> None:
    differences = normal(0.4, 12, seed=5)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert randomisation_p(differences, seed=0) == pytest.approx(expected.pvalue, abs=1e-12)


@pytest.mark.parametrize("mean", [0.0, 0.2, 0.4])
def test_sampled_signs_agree_with_the_exact_share(mean: float) -> None:
    # Of 18 differences all 262,144 signs can still be counted, by halves.
    differences = np.array(normal(mean, 18, seed=3))
    signs = np.array(list(product([-1, 1], repeat=18)), np.int8)
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    sampled = randomisation_p(differences.tolist(), seed=1)
    spread = math.sqrt(exact * (1 - exact) / SAMPLES)
    assert sampled == pytest.approx(exact, abs=4 * spread)
    assert sampled == randomisation_p(differences.tolist(), seed=1)
    assert sampled != randomisation_p(differences.tolist(), seed=2)


def test_sampled_p_is_never_0() -> None:
    assert randomisation_p([1.0] * 200, seed=0) == 1 / (SAMPLES + 1)


@pytest.mark.parametrize("count", [0, 1, EXACT, EXACT + 1, 500])
def test_equal_systems_are_never_told_apart(count: int) -> None:
    assert randomisation_p([0.0] * count, seed=0) == 1.0


def test_queries_without_a_difference_say_nothing_about_its_sign() -> None:
    differences = normal(0.5, 10, seed=2)
    assert randomisation_p([*differences, *[0.0] * 90], seed=0) == randomisation_p(
        differences, seed=1
    )


def test_sums_that_are_equal_but_for_rounding_count_as_equal() -> None:
    # 0.1 + 0.2 - 0.3 is 5.6e-17 in floating point, yet no signs give a sum nearer to 0.
    assert randomisation_p([0.1, 0.2, -0.3], seed=0) == 1.0


def test_the_side_of_the_difference_does_not_matter() -> None:
    for count in (EXACT, 40):
        differences = normal(0.3, count, seed=7)
        mirrored = [-value for value in differences]
        assert randomisation_p(differences, seed=4) == randomisation_p(mirrored, seed=4)


def test_under_no_effect_p_is_below_a_tenth_a_tenth_of_the_time() -> None:
    low = sum(randomisation_p(normal(0, 12, seed), seed=0) <= 0.1 for seed in range(400))
    assert low == pytest.approx(40, abs=4 * math.sqrt(400 * 0.1 * 0.9))


# The interval


def test_the_interval_is_scipys_but_for_chance() -> None:
    differences = normal(0.3, 80, seed=1)
    expected = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="percentile", rng=0
    ).confidence_interval
    low, high = bootstrap_interval(differences, seed=0)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_a_small_sample_has_the_interval_of_all_its_resamples() -> None:
    # Of 5 differences there are 5^5 = 3,125 resamples: their quantiles are exact.
    differences = [0.0, 0.1, 0.25, 0.7, 1.3]
    means = [sum(drawn) / 5 for drawn in product(differences, repeat=5)]
    expected = np.quantile(means, [0.1, 0.9])
    assert bootstrap_interval(differences, confidence=0.8, seed=3) == pytest.approx(
        tuple(expected), abs=0.02
    )


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    # Percentile intervals of 40 normal values cover a little less than 95%: t has wider tails.
    covered = 0
    for seed in range(300):
        low, high = bootstrap_interval(normal(0.5, 40, seed), seed=seed)
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 300 <= 0.975


def test_more_confidence_is_a_wider_interval_and_the_seed_is_kept() -> None:
    differences = normal(0.1, 30, seed=8)
    wide = bootstrap_interval(differences, confidence=0.99, seed=2)
    narrow = bootstrap_interval(differences, confidence=0.5, seed=2)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert wide == bootstrap_interval(differences, confidence=0.99, seed=2)
    assert wide != bootstrap_interval(differences, confidence=0.99, seed=3)


def test_one_query_has_an_interval_of_one_point_and_none_has_no_interval() -> None:
    assert bootstrap_interval([0.25], seed=0) == (0.25, 0.25)
    with pytest.raises(ValueError, match="no differences"):
        bootstrap_interval([], seed=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_difference_that_is_not_finite_is_refused(bad: float) -> None:
    for test in (bootstrap_interval, randomisation_p):
        with pytest.raises(ValueError, match="not finite"):
            test([0.1, bad], seed=0)
    with pytest.raises(ValueError, match="not finite"):
        queries_needed([0.1, bad])


def test_memory_does_not_grow_with_the_number_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ettin_cli.significance.SAMPLES", 200)
    differences = normal(0.1, 100_000, seed=0)
    tracemalloc.start()
    bootstrap_interval(differences, seed=0)
    randomisation_p(differences, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


def test_what_is_drawn_at_once_changes_nothing_but_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    # Their sum is 0, which every sample reaches: p is 1 only if all of them were drawn.
    differences = [1.0, -1.0] * 10
    for numbers in (19, 999, 1 << 30):
        monkeypatch.setattr("ettin_cli.significance.CHUNK", numbers)
        assert randomisation_p(differences, seed=0) == 1.0
        assert bootstrap_interval(differences, seed=0) == pytest.approx((-0.44, 0.44), abs=0.07)


# Several comparisons


def test_holms_values_are_those_of_a_worked_example() -> None:
    # Sorted: .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, and none below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.2, 1.0]), max_size=6))
def test_holm_rejects_what_its_steps_reject(p_values: list[float]) -> None:
    for alpha in (0.0105, 0.0505, 0.1005):
        rejected: set[int] = set()
        for at in sorted(range(len(p_values)), key=lambda at: p_values[at]):
            if p_values[at] > alpha / (len(p_values) - len(rejected)):
                break
            rejected.add(at)
        adjusted = holm(p_values)
        assert {at for at, value in enumerate(adjusted) if value <= alpha} == rejected


# How many queries


def test_queries_needed_is_the_textbooks_number() -> None:
    # An effect of half a standard deviation: ((1.959964 + 0.841621) / 0.5)^2 = 31.4.
    half = [1.0 + 2 * sign * math.sqrt(9 / 10) for sign in [1, -1] * 5]
    assert np.std(half, ddof=1) == pytest.approx(2 * np.mean(half))
    assert queries_needed(half) == 32
    # With more power and less alpha: ((2.575829 + 1.281552) / 0.5)^2 = 59.5.
    assert queries_needed(half, power=0.9, alpha=0.01) == 60


def test_so_many_queries_find_the_effect_as_often_as_promised() -> None:
    # A pilot whose mean is 0.4 and whose deviation is 1, as in what is then drawn.
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
    assert randomisation_p([0.1] * 6, seed=0) <= 0.05 < randomisation_p([0.1] * 5, seed=0)
