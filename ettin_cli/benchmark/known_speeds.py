"""Speeds of models that need no benchmark: published ones, and those measured here before."""

from __future__ import annotations

import platform
import re
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ettin_cli.models import recall, remember_fact
from ettin_cli.settings import AUTO, PublishedSpeed, ettin_model

if TYPE_CHECKING:
    from ettin_cli.benchmark.machine import Machine
    from ettin_cli.benchmark.results import Race

SPEEDS = "speeds.json"


@dataclass(frozen=True, slots=True)
class MeasuredSpeed:
    """The speed of a model with its default settings, as last measured on a machine.

    Args:
        machine: The machine's name.
        device: The CPU or the GPU.
        backend: The backend, its device and dtype.
        tokens: Mean tokens per pair.
        pairs_per_s: Pairs per second.
    """

    machine: str
    device: str
    backend: str
    tokens: float
    pairs_per_s: float


def published_speed(model: str, device: str, backend: str) -> PublishedSpeed | None:
    """Return the published speed that compares best with a backend; None if none does.

    A GPU is compared with itself, a CPU with that of the release.

    Args:
        device: cpu, or the model of the GPU.
        backend: A backend whose last word is the dtype.
    """
    known, dtype = ettin_model(model), backend.rpartition(" ")[2]
    for speed in known.speeds if known else ():
        if device == "cpu":
            same = not speed.attention
        else:
            same = re.search(rf"\b{speed.device}\b(?! Ti)", device) is not None
        if same and speed.dtype == dtype:
            return speed
    return None


def keep_speed(race: Race, machine: Machine) -> None:
    """Remember how fast a model was with its default dtype, on its fastest backend."""
    ours = [
        one for one in race.speeds if one.dtype == AUTO and one.seconds and not one.is_reference
    ]
    if not ours:
        return
    fastest = min(ours, key=lambda one: statistics.median(one.seconds))
    speed = MeasuredSpeed(
        platform.node(),
        machine.cpu if machine.device == "cpu" else machine.device,
        fastest.backend,
        race.tokens / race.pairs,
        race.pairs / statistics.median(fastest.seconds),
    )
    remember_fact(SPEEDS, race.model, asdict(speed))


def measured_speed(model: str) -> MeasuredSpeed | None:
    """Return the speed of a model that was measured on this machine, if any was."""
    try:
        speed = MeasuredSpeed(**recall(SPEEDS)[model])
    except (KeyError, TypeError):
        return None
    return speed if speed.machine == platform.node() else None
