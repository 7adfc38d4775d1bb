"""The report page: the systems, their comparison, and the worst queries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files

from ettin_cli.evaluation.report import charts
from ettin_cli.evaluation.report.axis import Axis
from ettin_cli.evaluation.report.markup import (
    DASH,
    counted,
    figure,
    grid,
    number,
    remark,
    section,
)
from ettin_cli.evaluation.report.queries import movement_section, worst_queries
from ettin_cli.evaluation.report.reliability import ReliabilityPlot, reliability
from ettin_cli.evaluation.results import Comparison, Evaluation, System
from ettin_cli.text import Markup, element

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
{title}
<style>
{style}</style>
</head>
<body>
{header}
{main}
</body>
</html>
"""


def report_html(evaluation: Evaluation, calibrations: Sequence[ReliabilityPlot] = ()) -> str:
    """Return the report of an evaluation as a self-contained HTML file.

    Equal evaluations give byte-identical files.
    """
    best = max(
        evaluation.systems, key=lambda entry: entry.mean(evaluation.metrics[0]), default=None
    )
    sections = [
        _verdicts(evaluation),
        _systems(evaluation),
        _gain_by_depth(evaluation),
        _quality_and_cost(evaluation),
        movement_section(evaluation, best),
        worst_queries(evaluation, best),
        reliability(calibrations),
        _notes(evaluation),
        _method(evaluation),
    ]
    return PAGE.format(
        title=element("title", f"{evaluation.name}: {', '.join(evaluation.metrics)}"),
        style=files(__package__).joinpath("report.css").read_text(encoding="utf-8"),
        header=_header(evaluation),
        main=element("main", *sections),
    )


def _header(evaluation: Evaluation) -> Markup:
    grades = [grade for judged in evaluation.qrels.values() for grade in judged.values()]
    facts = [
        counted(len(evaluation.queries), "query", "queries"),
        counted(len(grades), "judged document") + f", {sum(g > 0 for g in grades):,} relevant",
        counted(1 + len(evaluation.systems), "system"),
        ", ".join(evaluation.metrics),
    ]
    return element(
        "header",
        element("p", "Evaluation of retrieval and reranking", class_="kicker"),
        element("h1", evaluation.name, dir="auto"),
        element("ul", *(element("li", fact) for fact in facts), class_="facts"),
    )


def _verdicts(evaluation: Evaluation) -> Markup:
    verdicts = [element("p", verdict) for verdict in evaluation.verdicts]
    return (
        element("section", *verdicts, class_="verdicts", aria_label="Verdicts")
        if verdicts
        else Markup()
    )


def _systems(evaluation: Evaluation) -> Markup:
    measured = evaluation.measured
    across = charts.row_axis([*evaluation.comparisons, *evaluation.over_first])
    means = {metric: [entry.mean(metric) for entry in measured] for metric in evaluation.metrics}
    timed = any(entry.seconds is not None for entry in measured)
    over_first: Sequence[Comparison | None] = evaluation.over_first
    firsts = over_first or [None] * len(evaluation.systems)
    rows = [
        element(
            "tr",
            _system_cell(entry.system),
            *(_mean_cell(entry.mean(metric), means[metric]) for metric in means),
            *(_compared_cells(compared, across) if evaluation.comparisons else ()),
            *(_gain_cells(first, across) if evaluation.over_first else ()),
            *([_cell(number(entry.seconds))] if timed else ()),
        )
        for entry, compared, first in zip(
            measured, [None, *evaluation.over_alone], [None, *firsts], strict=True
        )
    ]
    heads = ["System", *evaluation.metrics]
    if evaluation.comparisons:
        heads += [f"Gain in {evaluation.metrics[0]}", "p", "Better", "Worse", "Same"]
    if evaluation.over_first:
        heads += [f"Gain over {charts.named(evaluation.baseline.system)}", "p"]
    heads += ["Seconds"] * timed
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in heads)))
    table = element("table", head, element("tbody", *rows))
    box = element("div", table, class_="box", tabindex="0", role="region", aria_label="Systems")
    return section("Systems", remark(_legend(evaluation)), box)


def _system_cell(system: System) -> Markup:
    name = charts.named(System(system.reranker, retriever=system.retriever, run=system.run))
    return element("th", name, " ", element("small", system.settings), scope="row")


def _mean_cell(mean: float, means: Sequence[float]) -> Markup:
    highest = mean == max(means) > min(means)
    return _cell(element("strong", number(mean)) if highest else number(mean))


def _compared_cells(compared: Comparison | None, across: Axis) -> list[Markup]:
    if compared is None or not math.isfinite(compared.gain):
        return [_cell(DASH)] * 5
    return [
        *_gain_cells(compared, across),
        *(_cell(f"{count:,}") for count in (compared.better, compared.worse, compared.same)),
    ]


def _gain_cells(compared: Comparison | None, across: Axis) -> list[Markup]:
    """Return the cells of a gain with its interval and p-value."""
    if compared is None:
        return [_cell(DASH)] * 2
    low, high = (number(end, sign="+") for end in compared.interval)
    gain = element("b", number(compared.gain, sign="+"), class_=charts.tone(compared))
    return [
        _cell(charts.interval(compared, across), gain, " ", element("small", f"{low} to {high}")),
        _cell("<0.001" if compared.p < 0.001 else number(compared.p)),
    ]


def _cell(*children: str) -> Markup:
    return element("td", *children)


def _legend(evaluation: Evaluation) -> str:
    if not evaluation.systems:
        return "Means over the queries."
    counts = "Better, worse and same count queries; seconds are per query."
    return (
        f"Means over the queries, with the highest in bold. Gains over {_over(evaluation)} with "
        "95 % intervals; filled and coloured where p is below 0.05, that is, where the interval "
        f"excludes 0. {counts if evaluation.comparisons else ''}"
    )


def _over(evaluation: Evaluation) -> str:
    """Return the name of the reference of gains."""
    first = charts.named(evaluation.baseline.system)
    if len(evaluation.retrievers) < 2:
        return first
    return "the same retriever alone" if evaluation.comparisons else first


def _gain_by_depth(evaluation: Evaluation) -> Markup:
    drawn = charts.lines_by_depth(evaluation.comparisons)
    points = [comparison for lines in drawn.values() for line in lines for comparison in line]
    if len({comparison.system.candidates for comparison in points}) < 2:
        return Markup()
    remark_text = (
        f"Mean gain in {evaluation.metrics[0]} over {_over(evaluation)}, by the candidates "
        "reranked, with 95 % intervals."
    )
    beside = "Grey: the other rerankers." if len(drawn) > 1 else ""
    panels = [figure(charts.gain_by_depth(name, drawn), name) for name in drawn]
    left_out = _left_out(
        len(evaluation.comparisons) - len(points), "for lack of room or candidates"
    )
    return section("Gain by depth", remark(remark_text, beside, left_out), grid(*panels))


def _quality_and_cost(evaluation: Evaluation) -> Markup:
    metric = evaluation.metrics[0]
    measured = evaluation.measured
    timed = [(entry, entry.seconds) for entry in measured if entry.seconds is not None]
    if len(timed) < 2 or not evaluation.queries:
        return Markup()
    best = [
        element(
            "li",
            charts.named(entry.system),
            element("small", f"{number(entry.mean(metric))} in {number(seconds)} s"),
        )
        for entry, seconds in charts.frontier(timed, metric)
    ]
    return section(
        "Quality and cost",
        remark(
            f"{metric} against seconds per query. No system is both better and faster than a "
            "numbered one.",
            _left_out(len(measured) - len(timed), "without a time"),
        ),
        grid(figure(charts.cost(timed, metric)), element("ol", *best), class_="grid beside"),
    )


def _notes(evaluation: Evaluation) -> Markup:
    if not evaluation.notes:
        return Markup()
    notes = [element("li", note) for note in evaluation.notes]
    return section("Notes", element("ul", *notes))


def _method(evaluation: Evaluation) -> Markup:
    ties = (
        "Metrics are those of trec_eval, which orders documents of equal score by descending "
        "doc_id. A reranked run holds only the candidates of its reranker."
    )
    if not evaluation.systems:
        return section("Method", element("p", ties))
    compared = len(evaluation.comparisons) or len(evaluation.over_first)
    text = (
        f"A gain is the mean difference from {_over(evaluation)} over the queries. p comes from a "
        "paired randomisation test, which flips the sign of each query's difference at "
        f"random. It is corrected for {counted(compared, 'comparison')} by the largest t among "
        "them under the same sign flips. The 95 % interval is the gain plus or minus the test's "
        "critical value in standard errors, so that all intervals of a column hold simultaneously "
        f"and each excludes 0 exactly where its p is below 0.05. {ties}"
    )
    return section("Method", element("p", text))


def _left_out(amount: int, why: str) -> str:
    return f"Not shown: {counted(amount, 'system')} {why}." if amount else ""
