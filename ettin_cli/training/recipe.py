"""The training recipe: that of the Ettin release, with overrides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.util import find_spec

from ettin_cli.errors import InvalidArgumentError, MissingExtraError
from ettin_cli.records import require_least
from ettin_cli.settings import ETTIN_MODELS, SEED

# The release's recipe, whatever the number of rows.
ETTIN = "ettin"
RECIPES = (ETTIN,)
MSE, MARGIN_MSE, LISTWISE, BCE = LOSSES = ("mse", "margin-mse", "listwise", "bce")
# The student is measured after each of so many parts of a run.
MEASUREMENTS, ETTIN_MEASUREMENTS = 10, 20
# Share of the run with linear warm-up from 0; then the rate decays linearly to 0.
WARM_UP = 0.03
MOST_GRADIENT = 1.0
# An epoch of fewer steps would hardly change the weights, at any learning rate.
LEAST_STEPS = 100
LEAST_BATCH = 16
# By size of the student: learning rate and rows per step.
PUBLISHED = {
    "17m": (2.4e-4, 1024),
    "32m": (1.2e-4, 512),
    "68m": (3e-5, 256),
    "150m": (1.5e-5, 192),
    "400m": (7e-6, 256),
    "1b": (3e-6, 512),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train; None takes the value from the release's recipe or the data.

    Args:
        loss: None: mse for rows with scores, listwise for positives and negatives.
        epochs: Training ends at the first of `epochs`, `steps` and `hours`; 1 if none is given.
        batch_size: Rows per step, regardless of how many fit into memory at once.
        lora: Rank of the update to every linear layer; None trains all weights.
        name: "ettin" for the release's loss and rows per step even for few rows, and for a
            measurement after each 5% of the run; None adapts them.
    """

    loss: str | None = None
    epochs: int | None = None
    steps: int | None = None
    hours: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    seed: int = SEED
    lora: int | None = None
    name: str | None = None

    @property
    def measurements(self) -> int:
        """In how many equal parts a run is measured."""
        return ETTIN_MEASUREMENTS if self.name == ETTIN else MEASUREMENTS


def check_recipe(recipe: Recipe) -> None:
    """Raise if a recipe is invalid.

    Raises:
        InvalidArgumentError: A value is out of range.
        MissingExtraError: LoRA is requested without the extra.
    """
    if recipe.name is not None and recipe.name not in RECIPES:
        raise InvalidArgumentError(
            f"unknown recipe {recipe.name!r}",
            argument="recipe",
            value=recipe.name,
            choices=RECIPES,
        )
    if recipe.loss is not None and recipe.loss not in LOSSES:
        raise InvalidArgumentError(
            f"unknown loss {recipe.loss!r}", argument="loss", value=recipe.loss, choices=LOSSES
        )
    for name, value in (("hours", recipe.hours), ("learning_rate", recipe.learning_rate)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InvalidArgumentError(
                f"{name.replace('_', ' ')} {value} is not a number above 0",
                argument=name,
                value=value,
            )
    for name, number, least in (
        ("epochs", recipe.epochs, 1),
        ("steps", recipe.steps, 1),
        ("batch_size", recipe.batch_size, 1),
        ("lora", recipe.lora, 1),
        ("seed", recipe.seed, 0),
    ):
        require_least(number, least, name)
    if recipe.lora and find_spec("peft") is None:
        raise MissingExtraError("LoRA needs peft", package="ettin-cli[train]")


def completed(recipe: Recipe, parameters: int, rows: int) -> Recipe:
    """Return a recipe completed with the release's values for a student of this size.

    The published rows per step assume millions of rows. With fewer, an epoch has at least 100
    steps, and the learning rate is scaled by the square root of the batch size, as for Adam
    (Malladi et al., 2022). The recipe "ettin" keeps the published values.

    >>> completed(Recipe(), 16_863_745, 200_000).batch_size
    1024
    >>> small = completed(Recipe(), 16_863_745, 6_400)
    >>> small.batch_size, small.learning_rate, small.epochs
    (64, 6e-05, 1)
    >>> completed(Recipe(name="ettin"), 16_863_745, 6_400).batch_size
    1024
    """
    rate, batch = published(parameters)
    fewer = batch if recipe.name == ETTIN else max(LEAST_BATCH, rows // LEAST_STEPS)
    rows_a_step = recipe.batch_size or min(batch, fewer)
    scaled = float(f"{rate * min(1.0, rows_a_step / batch) ** 0.5:.2g}")
    bounded = recipe.epochs or recipe.steps or recipe.hours
    return replace(
        recipe,
        batch_size=rows_a_step,
        learning_rate=recipe.learning_rate or scaled,
        epochs=recipe.epochs if bounded else 1,
    )


def published(parameters: int) -> tuple[float, int]:
    """Return the learning rate and rows per step of the released model nearest in size."""
    nearest = min(
        PUBLISHED, key=lambda alias: abs(math.log(parameters / ETTIN_MODELS[alias].parameters))
    )
    return PUBLISHED[nearest]


def rate_at(progress: float) -> float:
    """Return the factor of the learning rate at a share of the run.

    >>> rate_at(0.015), rate_at(0.03), rate_at(1.0)
    (0.5, 1.0, 0.0)
    """
    if progress < WARM_UP:
        return progress / WARM_UP
    return (1 - min(1.0, progress)) / (1 - WARM_UP)
