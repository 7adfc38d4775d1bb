"""The reliability of a reranker's probabilities, as a section of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ettin_cli.evaluation.report.axis import Axis
from ettin_cli.evaluation.report.charts import BOTTOM, HEIGHT, LEFT, NARROW, TOP, frame
from ettin_cli.evaluation.report.markup import (
    counted,
    dot,
    figure,
    grid,
    number,
    path,
    remark,
    section,
    stroke,
    svg,
)
from ettin_cli.text import Markup, element


@dataclass(frozen=True, slots=True)
class ReliabilityPlot:
    """The reliability diagram of a reranker's probabilities.

    Args:
        method: Name of the calibration method.
        bins: Mean predicted probability, observed share of relevant documents, and count.
        log_losses: Method -> its log loss.
        basis: Description of the pairs that the calibration was fitted to.
    """

    reranker: str
    method: str
    bins: Sequence[tuple[float, float, int]]
    log_losses: Mapping[str, float]
    basis: str = ""


def reliability(calibrations: Sequence[ReliabilityPlot]) -> Markup:
    """Return a chart per calibrated reranker, with the log losses."""
    if not calibrations:
        return Markup()
    panels = [
        figure(
            _chart(plot),
            f"{plot.reranker}, {plot.method}",
            element(
                "p",
                "Log loss: ",
                ", ".join(f"{name} {number(loss)}" for name, loss in plot.log_losses.items()),
            ),
            *([element("p", plot.basis)] if plot.basis else []),
        )
        for plot in calibrations
    ]
    remark_text = (
        "Observed share of relevant documents against the predicted probability; on the dashed "
        "line they are equal. Larger dots represent more documents."
    )
    return section("Reliability", remark(remark_text), grid(*panels))


def _chart(plot: ReliabilityPlot) -> Markup:
    across, up = Axis(0, 1, LEFT, LEFT + BOTTOM - TOP), Axis(0, 1, BOTTOM, TOP)
    filled = [bin for bin in plot.bins if bin[2]]
    most = max((count for *_, count in filled), default=0)
    points = [(across.at(predicted), up.at(observed)) for predicted, observed, _ in filled]
    dots = [
        dot(*point, 2 + 5 * math.sqrt(count / most), counted(count, "document"))
        for point, (*_, count) in zip(points, filled, strict=True)
    ]
    return svg(
        f"Observed share of relevant documents against the probability given by {plot.reranker}",
        (NARROW, HEIGHT),
        frame(up, across.end, across.ticks(), "predicted probability"),
        stroke(across.start, up.start, across.end, up.end, "level"),
        element("g", path(points, "line"), *dots, class_="line0"),
    )
