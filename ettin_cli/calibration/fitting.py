"""Choose between the maps by queries left out, and say how well the chosen one does on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ettin_cli.calibration.maps import FITS, MAPS, Parameters
from ettin_cli.errors import CalibrationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ettin_cli.calibration.maps import Doubles
    from ettin_cli.records import Flags, Floats

FOLDS = 5
BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of about one predicted probability, and the share of them that is relevant."""

    predicted: float
    observed: float
    count: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map from a reranker's raw score to the probability of relevance, and what it rests on.

    Args:
        method: isotonic or logistic: the one with the lower held-out log loss.
        parameters: What the method needs, as plain lists.
        log_losses: Of each method, held out.
        base_rate: Share of the pairs that is relevant.
        reliability: Held-out predictions against judgements, in bins of equal width.
    """

    method: str
    parameters: Parameters
    log_losses: dict[str, float]
    pairs: int
    queries: int
    base_rate: float
    reliability: list[Bin]

    def probability(self, scores: Floats) -> Floats:
        """Return probabilities in (0, 1), which never fall as the score rises."""
        import numpy as np

        found: Floats = MAPS[self.method](self.parameters, _doubles(scores)).astype(np.float32)
        return found


def fit(scores: Floats, relevant: Flags, groups: Sequence[str]) -> Calibration:
    """Return the map that predicts best which pairs of other queries are relevant.

    Isotonic regression and Platt's logistic compete in cross-validation; the one with the lower
    log loss is fitted again on everything.

    Args:
        scores: A reranker's raw score of each pair.
        relevant: Whether each pair was judged relevant.
        groups: The query of each pair.

    Raises:
        CalibrationError: There are fewer than two queries, or only one kind of judgement.
        ValueError: The lengths differ, or a score is NaN.
    """
    import numpy as np

    raw = _doubles(scores)
    if not len(raw) == len(relevant) == len(groups) or np.isnan(raw).any():
        raise ValueError("scores must be numbers, and one a judgement")
    queries = len(set(groups))
    _check_enough(relevant, queries)
    fold_of = folds(groups)
    held_out = {method: _held_out(method, raw, relevant, fold_of) for method in FITS}
    losses = {method: _log_loss(found, relevant) for method, found in held_out.items()}
    best = min(losses, key=lambda method: losses[method])
    return Calibration(
        method=best,
        parameters=FITS[best](raw, relevant),
        log_losses=losses,
        pairs=len(raw),
        queries=queries,
        base_rate=float(relevant.mean()),
        reliability=_reliability(held_out[best], relevant),
    )


def _check_enough(relevant: Flags, queries: int) -> None:
    hint = "judge more: relevant and irrelevant passages, of two queries at least"
    if queries < 2:
        raise CalibrationError(f"{queries} judged queries are too few to calibrate", hint=hint)
    if relevant.all() or not relevant.any():
        kind = "relevant" if relevant.any() else "irrelevant"
        raise CalibrationError(f"all {len(relevant)} judged passages are {kind}", hint=hint)


def folds(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return each pair's fold: that of its query, the same in whatever order pairs come."""
    import numpy as np
    import xxhash

    def shuffled(group: str) -> tuple[int, str]:
        return xxhash.xxh3_64_intdigest(group.encode("utf-8", "surrogatepass")), group

    ordered = sorted(set(groups), key=shuffled)
    fold_of = {group: place % FOLDS for place, group in enumerate(ordered)}
    return np.array([fold_of[group] for group in groups], np.int64)


def _held_out(method: str, scores: Doubles, relevant: Flags, fold_of: NDArray[np.int64]) -> Doubles:
    """Return each pair's probability by the map that was fitted without its fold."""
    import numpy as np

    found = np.empty(len(scores))
    for fold in range(int(fold_of.max()) + 1):
        out = fold_of == fold
        found[out] = MAPS[method](FITS[method](scores[~out], relevant[~out]), scores[out])
    return found


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
    """Return scores as float64; an infinite one as the largest finite float32."""
    import numpy as np

    limit = float(np.finfo(np.float32).max)
    return np.clip(np.asarray(scores, np.float64), -limit, limit)
