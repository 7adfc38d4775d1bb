"""Select a calibration map by cross-validation over queries, and measure its reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ettin_cli.errors import CalibrationError
from ettin_cli.searching.calibration.maps import FITS, MAPS, Parameters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.records import Flags, Floats
    from ettin_cli.searching.calibration.maps import Doubles

FOLDS = 5
BINS = 10
# Plausible range of the share of relevant pairs among the hits of a search.
LEAST_RELEVANT, MOST_RELEVANT = 0.001, 0.5


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of similar predicted probability, and the share of them that is relevant."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map from a reranker's raw score to the probability of relevance, with its statistics.

    Args:
        method: isotonic or logistic, whichever has the lower held-out log loss.
        parameters: The parameters of the method, as plain lists.
        log_losses: The held-out log loss of each method.
        base_rate: Share of the pairs that is relevant.
        reliability: Held-out predictions against judgements, in bins of equal width.
        judged: How many of the pairs have a judgement; the others count as irrelevant. None if
            unknown.
        retrievers: The retrievers that found the pairs; empty if unknown.
    """

    method: str
    parameters: Parameters
    log_losses: dict[str, float]
    pairs: int
    queries: int
    base_rate: float
    reliability: list[Bin]
    judged: int | None = None
    retrievers: list[str] = field(default_factory=list)

    @property
    def relevant(self) -> int:
        """The number of relevant pairs."""
        return round(self.base_rate * self.pairs)

    @property
    def basis(self) -> str:
        """A description of the pairs it was fitted to."""
        judged = self.pairs if self.judged is None else self.judged
        source = (
            f"hits of {' and '.join(self.retrievers)}" if self.retrievers else "judged documents"
        )
        return (
            f"{judged:,} judged pairs ({self.relevant:,} relevant) and {self.pairs - judged:,} "
            f"unjudged pairs counted as irrelevant, {source} for {self.queries:,} queries; "
            f"base rate {100 * self.base_rate:.1f} %"
        )

    @property
    def doubt(self) -> str | None:
        """Why the share of relevant pairs is implausible, and what to do; None if plausible."""
        if self.base_rate > MOST_RELEVANT:
            return (
                f"{100 * self.base_rate:.1f} % of the pairs are relevant, more than a search "
                "usually finds: probabilities will be too high; calibrate with more candidates"
            )
        if self.base_rate < LEAST_RELEVANT:
            return (
                f"only {100 * self.base_rate:.2f} % of the pairs are relevant: if relevant hits "
                "are not judged, probabilities will be too low; judge more, or calibrate with "
                "fewer candidates"
            )
        return None

    def probability(self, scores: Floats) -> Floats:
        """Return probabilities in (0, 1), non-decreasing in the score."""
        import numpy as np

        probabilities: Floats = MAPS[self.method](self.parameters, _doubles(scores)).astype(
            np.float32
        )
        return probabilities


def fit(
    scores: Floats,
    relevant: Flags,
    groups: Sequence[str],
    *,
    judged: int | None = None,
    retrievers: Sequence[str] = (),
) -> Calibration:
    """Return the map that best predicts relevance for queries it was not fitted to.

    Isotonic regression and Platt scaling are compared by cross-validation; the one with the lower
    log loss is refitted on all pairs.

    Args:
        scores: The reranker's raw score of each pair.
        relevant: Whether each pair was judged relevant.
        groups: The query of each pair.
        judged: How many of the pairs have a judgement.
        retrievers: The retrievers that found the pairs.

    Raises:
        CalibrationError: There are fewer than two queries, or all pairs have one class.
        ValueError: The lengths differ, or a score is NaN.
    """
    import numpy as np

    raw = _doubles(scores)
    if not len(raw) == len(relevant) == len(groups) or np.isnan(raw).any():
        raise ValueError("scores must be numbers, one per judgement")
    queries = len(set(groups))
    _check_enough(relevant, queries)
    fold_of = folds(groups)
    held_out = {method: _held_out(method, raw, relevant, fold_of) for method in FITS}
    losses = {method: _log_loss(predicted, relevant) for method, predicted in held_out.items()}
    best = min(losses, key=lambda method: losses[method])
    return Calibration(
        method=best,
        parameters=FITS[best](raw, relevant),
        log_losses=losses,
        pairs=len(raw),
        queries=queries,
        base_rate=float(relevant.mean()),
        reliability=_reliability(held_out[best], relevant),
        judged=judged,
        retrievers=list(retrievers),
    )


def _check_enough(relevant: Flags, queries: int) -> None:
    if queries < 2:
        raise CalibrationError(
            f"{queries} judged queries are too few to calibrate",
            code="too-few-judgements",
            queries=queries,
        )
    if relevant.all() or not relevant.any():
        kind = "relevant" if relevant.any() else "irrelevant or not judged"
        raise CalibrationError(
            f"all {len(relevant)} hits are {kind}", code="too-few-judgements", queries=queries
        )


def folds(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return the fold of each pair, by its query and independent of the order of pairs."""
    import numpy as np
    import xxhash

    def shuffled(group: str) -> tuple[int, str]:
        return xxhash.xxh3_64_intdigest(group.encode("utf-8", "surrogatepass")), group

    ordered = sorted(set(groups), key=shuffled)
    fold_of = {group: place % FOLDS for place, group in enumerate(ordered)}
    return np.array([fold_of[group] for group in groups], np.int64)


def _held_out(method: str, scores: Doubles, relevant: Flags, fold_of: NDArray[np.int64]) -> Doubles:
    """Return each pair's probability from the map fitted without its fold."""
    import numpy as np

    predicted = np.empty(len(scores))
    for fold in range(int(fold_of.max()) + 1):
        out = fold_of == fold
        predicted[out] = MAPS[method](FITS[method](scores[~out], relevant[~out]), scores[out])
    return predicted


def _log_loss(probabilities: Doubles, relevant: Flags) -> float:
    import numpy as np

    return float(-np.log(np.where(relevant, probabilities, 1 - probabilities)).mean())


def _reliability(probabilities: Doubles, relevant: Flags) -> list[Bin]:
    import numpy as np

    bin_of = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    filled = [bin_of == number for number in np.unique(bin_of)]
    return [
        Bin(float(probabilities[here].mean()), float(relevant[here].mean()), int(here.sum()))
        for here in filled
    ]


def _doubles(scores: Floats) -> Doubles:
    """Return scores as float64, infinite ones clipped to the largest finite float32."""
    import numpy as np

    limit = float(np.finfo(np.float32).max)
    return np.clip(np.asarray(scores, np.float64), -limit, limit)
