"""The report shows the records' numbers, whatever they are, and escapes all texts."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from ettin_cli.evaluation.comparing import gains
from ettin_cli.evaluation.report.axis import Axis
from ettin_cli.evaluation.report.charts import frontier
from ettin_cli.evaluation.report.page import report_html
from ettin_cli.evaluation.report.reliability import ReliabilityPlot
from ettin_cli.evaluation.results import (
    Comparison,
    Evaluation,
    Gains,
    Measured,
    ShownDocument,
    System,
)
from tests.browsers import OVERFLOWING, browser as browser
from tests.evaluations import METRICS, gains_by_first, realistic
from tests.markup import Node, contrast, parsed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EVALUATION = realistic()
RELIABILITY = ReliabilityPlot(
    "32m",
    "Platt scaling, five folds",
    [(0.05, 0.03, 400), (0.3, 0.28, 60), (0.5, 0.5, 0), (0.95, 0.97, 90)],
    {"sigmoid": 0.613, "Platt": 0.307},
)


def page(evaluation: Evaluation, *plots: ReliabilityPlot) -> Node:
    return parsed(report_html(evaluation, plots))


def rows(document: Node) -> list[list[str]]:
    return [
        [cell.text for cell in row.children if isinstance(cell, Node)]
        for row in document.all("tbody")[0].all("tr")
    ]


def written(value: float, sign: str = "") -> str:
    digits = format(value, f"{sign}.3f").replace("-", "\u2212")
    return "0.000" if digits[1:] == "0.000" else digits


# Content of the page


def test_the_page_says_what_was_measured_then_the_verdict_then_the_evidence() -> None:
    document = page(EVALUATION, RELIABILITY)
    assert document.all("title")[0].text == "village-notes: nDCG@10, RR@10, R@100"
    assert [heading.text for heading in document.all("h1")] == ["village-notes"]
    facts = [fact.text for fact in document.all("ul", "facts")[0].all("li")]
    assert facts[0] == "60 queries"
    assert facts[1] == "1,440 judged documents, 300 relevant"
    assert [p.text for p in document.all("section", "verdicts")[0].all("p")] == list(
        EVALUATION.verdicts
    )
    assert [heading.text for heading in document.all("h2")] == [
        "Systems",
        "Gain by depth",
        "Quality and cost",
        "Query by query",
        "Worst queries",
        "Reliability",
        "Notes",
        "Method",
    ]
    assert EVALUATION.notes[0] in document.text


def test_headings_never_skip_a_level() -> None:
    levels = [int(node.tag[1]) for node in page(EVALUATION).walk() if re.match(r"h\d$", node.tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_table_holds_the_numbers_of_the_records() -> None:
    found = rows(page(EVALUATION))
    assert found[0][:4] == [
        "retrieval alone ",
        *(written(EVALUATION.baseline.mean(metric)) for metric in EVALUATION.metrics),
    ]
    for row, one, compared in zip(
        found[1:], EVALUATION.systems, EVALUATION.comparisons, strict=True
    ):
        assert row[0] == str(one.system).replace(", ", " ", 1)
        assert row[1:4] == [written(one.mean(metric)) for metric in EVALUATION.metrics]
        low, high = (written(end, "+") for end in compared.interval)
        assert row[4] == f"{written(compared.gain, '+')} {low} to {high}"
        assert row[5] == ("<0.001" if compared.p < 0.001 else written(compared.p))
        assert row[6:9] == [str(n) for n in (compared.better, compared.worse, compared.same)]
        assert one.seconds is not None
        assert row[9] == written(one.seconds)


def test_the_highest_mean_of_a_metric_is_bold_unless_all_are_equal() -> None:
    document = page(EVALUATION)
    bold = [strong.text for strong in document.all("tbody")[0].all("strong")]
    best = max(one.mean("nDCG@10") for one in EVALUATION.systems)
    assert written(best) in bold
    assert page(all_equal()).all("tbody")[0].all("strong") == []


def over_two_retrievers() -> Evaluation:
    """Return the evaluation as if half of its systems had another retriever."""
    baseline = dataclasses.replace(EVALUATION.baseline, system=System(retriever="dense"))
    other = dataclasses.replace(
        EVALUATION.systems[2], system=System(retriever="hybrid"), seconds=0.02
    )
    reranked = [
        dataclasses.replace(one, system=dataclasses.replace(one.system, retriever=retriever))
        for retriever in ("dense", "hybrid")
        for one in EVALUATION.systems[:16:4]
    ]
    systems = [*reranked[:4], other, *reranked[4:]]
    every = [baseline, *systems]
    return dataclasses.replace(
        EVALUATION,
        baseline=baseline,
        systems=systems,
        gains={metric: gains(every, metric) for metric in METRICS},
        verdicts=(),
        retrievers=["dense", "hybrid"],
    )


def test_every_system_is_named_with_its_retriever() -> None:
    document = page(over_two_retrievers())
    names = [row[0].strip() for row in rows(document)]
    assert names[0] == "dense alone"
    assert names[1] == "dense with 17m 10 candidates"
    assert names[5:7] == ["hybrid alone", "hybrid with 17m 10 candidates"]
    assert len(set(names)) == len(names)
    assert "retrieval alone" not in document.text
    panels = [one for one in document.all("figure") if one.all("path", "other")]
    assert {one.all("figcaption")[0].text for one in panels} == {
        *("dense with 17m", "dense with 32m", "hybrid with 17m", "hybrid with 32m")
    }
    best = max(over_two_retrievers().systems, key=lambda one: one.mean("nDCG@10")).system
    assert best.reranker == "32m"
    assert [one.text for one in document.all("h5")][:2] == [f"{best.retriever} alone", str(best)]


def test_gains_are_over_the_same_retriever_and_the_first_has_a_column_of_its_own() -> None:
    evaluation = over_two_retrievers()
    document = page(evaluation)
    heads = [head.text for head in document.all("thead")[0].all("th")]
    assert heads[4] == "Gain in nDCG@10"
    assert heads[9:11] == ["Gain over dense alone", "p"]
    means = [one.mean("nDCG@10") for one in evaluation.measured]
    for at, row in enumerate(rows(document)):
        alone = 5 if at > 5 else 0
        own = row[4].split()[0]
        first = row[9].split()[0]
        assert own == ("\u2013" if at in (0, 5) else written(means[at] - means[alone], "+"))
        assert first == ("\u2013" if at == 0 else written(means[at] - means[0], "+"))
    assert "Gains over the same retriever alone" in document.text
    drawn = [len(figure.all("path", "line")) for figure in document.all("figure")[:4]]
    assert drawn == [1, 1, 1, 1]


def test_two_retrievers_without_a_reranker_are_compared_in_one_column() -> None:
    whole = over_two_retrievers()
    systems = [one for one in whole.systems if one.system.alone]
    every = [whole.baseline, *systems]
    alone = dataclasses.replace(
        whole, systems=systems, gains={metric: gains(every, metric) for metric in METRICS}
    )
    document = page(alone)
    heads = [head.text for head in document.all("thead")[0].all("th")]
    assert heads == ["System", *METRICS, "Gain over dense alone", "p", "Seconds"]
    assert "Gains over dense alone" in document.text


def test_colour_and_filled_dots_are_for_what_is_significant() -> None:
    drawn = page(EVALUATION).all("svg", "interval")
    for drawing, one in zip(drawn, EVALUATION.comparisons, strict=True):
        expected = "unsure" if one.p >= 0.05 else "gain" if one.gain > 0 else "loss"
        assert drawing.attributes["class"] == f"interval {expected}"
    assert {one.attributes["class"].split()[1] for one in drawn} == {"gain", "loss", "unsure"}


def test_every_drawing_says_in_words_what_it_shows() -> None:
    drawings = page(EVALUATION, RELIABILITY).all("svg")
    assert all(one.attributes["role"] == "img" for one in drawings)
    assert all(one.attributes["aria-label"] for one in drawings)


def test_gains_by_depth_are_drawn_a_panel_a_reranker_the_best_first() -> None:
    panels = [one for one in page(EVALUATION).all("figure") if one.all("path", "other")]
    assert [one.all("figcaption")[0].text for one in panels] == ["150m", "32m", "17m"]
    for panel in panels:
        assert len(panel.all("path", "line")) == 2
        assert len(panel.all("path", "other")) == 4
        assert {"no blend", "blend 0.3", "10", "20", "50", "100"} <= {
            label.text for label in panel.all("text")
        }


def test_a_blend_has_one_colour_in_every_panel() -> None:
    kept = [
        at
        for at, one in enumerate(EVALUATION.systems)
        if one.system.reranker != "32m" or one.system.blend
    ]
    document = page(
        dataclasses.replace(
            EVALUATION,
            systems=[EVALUATION.systems[at] for at in kept],
            gains=gains_by_first(METRICS, [EVALUATION.comparisons[at] for at in kept]),
        )
    )
    colours = [
        (name.text, name.attributes["class"])
        for name in document.all("text")
        if "blend" in name.text
    ]
    assert sorted(colours) == [("blend 0.3", "line1")] * 3 + [("no blend", "line0")] * 2


def test_the_numbered_systems_are_those_that_none_beats() -> None:
    timed = [(one, one.seconds or 0.0) for one in (EVALUATION.baseline, *EVALUATION.systems)]
    unbeaten = [
        one
        for one in timed
        if not any(
            other[0].mean("nDCG@10") >= one[0].mean("nDCG@10")
            and other[1] <= one[1]
            and other is not one
            for other in timed
        )
    ]
    assert frontier(timed, "nDCG@10") == sorted(unbeaten, key=lambda one: one[1])
    listed = [item.text for item in page(EVALUATION).all("ol")[0].all("li")]
    assert listed == [
        f"{'retrieval alone' if one is EVALUATION.baseline else one.system}"
        f"{written(one.mean('nDCG@10'))} in {written(seconds)} s"
        for one, seconds in frontier(timed, "nDCG@10")
    ]


def test_the_worst_queries_are_those_that_lost_most_then_the_lowest_others() -> None:
    best = max(EVALUATION.systems, key=lambda one: one.mean("nDCG@10"))
    before, after = EVALUATION.baseline.values["nDCG@10"], best.values["nDCG@10"]
    lost = [
        q for q in sorted(after, key=lambda q: (after[q] - before[q], q)) if after[q] < before[q]
    ]
    lost = lost[:10]
    low = sorted(set(after) - set(lost), key=lambda q: (after[q], q))[:10]
    document = page(EVALUATION)
    assert [h.text for h in document.all("h3")] == [
        f"The {len(lost)} largest losses",
        "The 10 lowest of the others",
    ]
    articles = document.all("article")
    assert [article.all("p", "values")[0].text for article in articles] == [
        f"nDCG@10 {written(before[q])} \u2192 {written(after[q])}" for q in lost + low
    ]
    assert [article.all("h4")[0].text for article in articles] == [
        EVALUATION.queries[q] for q in lost + low
    ]
    for article, query_id in zip(articles, lost + low, strict=True):
        for column, one in zip(article.all("ol"), (EVALUATION.baseline, best), strict=True):
            shown = [doc_id for doc_id, _ in one.run[query_id][:5]]
            assert [item.attributes["title"] for item in column.all("li")] == shown
            assert [item.all("span", "title")[0].text for item in column.all("li")] == [
                EVALUATION.documents[doc_id].title for doc_id in shown
            ]


def test_relevance_is_told_by_word_and_class() -> None:
    run = {"q": [(doc_id, 0.0) for doc_id in ("none", "zero", "one", "three", "minus")]}
    evaluation = dataclasses.replace(
        baseline_only(),
        queries={"q": "what"},
        qrels={"q": {"zero": 0, "one": 1, "three": 3, "minus": -1}},
        baseline=Measured(System(), {"nDCG@10": {"q": 0.5}}, run),
    )
    marks = [
        (mark.text, mark.attributes["class"].split()[1])
        for mark in page(evaluation).all("span", "mark")
    ]
    assert marks == [
        ("not judged", "unjudged"),
        ("not relevant", "irrelevant"),
        ("relevant", "relevant"),
        ("relevant, 3", "relevant"),
        ("not relevant", "irrelevant"),
    ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (["a", "b", "c", "d", "e", "f", "wanted"], "First relevant: rank 7."),
        (["a", "b"], "None of 2 documents is relevant."),
        (["a", "wanted"], ""),
        ([], ""),
    ],
)
def test_a_relevant_document_below_those_shown_is_told_by_its_rank(
    found: list[str], said: str
) -> None:
    evaluation = dataclasses.replace(
        baseline_only(),
        queries={"q": "what"},
        qrels={"q": {"wanted": 1}},
        baseline=Measured(
            System(), {"nDCG@10": {"q": 0.0}}, {"q": [(doc_id, 0.0) for doc_id in found]}
        ),
    )
    article = page(evaluation).all("article")[0]
    assert "".join(remark.text for remark in article.all("p", "remark")) == said
    assert ("No hits." in article.text) == (not found)


def test_a_calibration_is_drawn_with_its_log_losses_and_without_empty_bins() -> None:
    figure = page(EVALUATION, RELIABILITY).all("figure")[-1]
    assert figure.all("figcaption")[0].text == "32m, Platt scaling, five folds"
    assert figure.all("p")[0].text == "Log loss: sigmoid 0.613, Platt 0.307"
    assert len(figure.all("p")) == 1
    based = dataclasses.replace(RELIABILITY, basis="Learnt from 12 judged pairs.")
    figure = page(EVALUATION, based).all("figure")[-1]
    assert figure.all("p")[1].text == "Learnt from 12 judged pairs."
    assert [dot.text for dot in figure.all("circle")] == [
        "400 documents",
        "60 documents",
        "90 documents",
    ]


def test_axes_are_marked_by_a_few_round_values() -> None:
    def marks(axis: Axis) -> list[str]:
        return [said for _, said in axis.ticks()]

    assert marks(Axis(0, 1, 0, 100)) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert marks(Axis(-7, 23, 0, 100)) == ["0", "10", "20"]
    assert marks(Axis(0.03, 3, 0, 100, logarithmic=True)) == ["0.05", "0.1", "0.2", "0.5", "1", "2"]
    assert marks(Axis.by_factor([0.001, 90], 0, 100, least=10)) == [
        "0.001",
        "0.01",
        "0.1",
        "1",
        "10",
    ]
    assert Axis.by_factor([0.5, 4], 0, 100, least=10).logarithmic is False
    assert [at for at, _ in Axis(0, 1, 0, 100).ticks()] == pytest.approx([0, 20, 40, 60, 80, 100])


def test_the_same_evaluation_gives_the_same_bytes() -> None:
    assert report_html(realistic(), [RELIABILITY]) == report_html(realistic(), [RELIABILITY])


def test_the_file_needs_nothing_beside_itself() -> None:
    html = report_html(EVALUATION, [RELIABILITY])
    assert not re.search(r"https?:|//|@import|url\(|src=|href=", html)
    assert not {"script", "link", "img", "iframe"} & {node.tag for node in parsed(html).walk()}
    assert "default-src 'none'" in html


# Hostile text

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover='alert(1)",
    "</title></style></svg><iframe>",
    "&lt;b&gt; &amp; {title} {0}",
    "\x1b[31mred\x00\x07",
    "\u202egpj.exe\u2066 \u061c\ufeff",
    "\ud800 half a pair",
]


def dressed(dress: Callable[[str], str]) -> Evaluation:
    """Return an evaluation in which each text was passed through `dress`."""
    metric = dress("metric")
    values = {metric: {dress("q1"): 0.5, dress("q2"): 0.25}}
    lower = {metric: {dress("q1"): 0.25, dress("q2"): 0.25}}
    run = {dress(q): [(dress(doc_id), 1.0) for doc_id in ("d1", "d2")] for q in ("q1", "q2")}
    systems = [System(dress("reranker"), depth) for depth in (10, 100)]
    return Evaluation(
        name=dress("name"),
        metrics=[metric],
        queries={dress("q1"): dress("first"), dress("q2"): dress("second")},
        qrels={dress("q1"): {dress("d1"): 1}, dress("q2"): {dress("d1"): 0}},
        baseline=Measured(System(dress("baseline")), values, run, 0.5),
        systems=[Measured(system, lower, run, 1.0) for system in systems],
        gains={
            metric: Gains(
                [
                    Comparison(system, metric, -0.1, (-0.2, 0.0), 0.04, 0, 1, 1, 9)
                    for system in systems
                ]
            )
        },
        verdicts=[dress("verdict")],
        notes=[dress("note")],
        documents={dress("d1"): ShownDocument(dress("title"), dress("text"))},
    )


def skeleton(document: Node) -> list[tuple[str, list[str]]]:
    return [(node.tag, list(node.attributes)) for node in document.walk()]


def dressed_page(dress: Callable[[str], str]) -> str:
    plot = ReliabilityPlot(
        dress("reranker"), dress("method"), [(0.5, 0.5, 1)], {dress("loss"): 0.5}
    )
    return report_html(dressed(dress), [plot])


PLAIN = skeleton(parsed(dressed_page(str)))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_shown_and_not_obeyed(hostile: str) -> None:
    html = dressed_page(lambda text: hostile + text)
    html.encode("utf-8")
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", html
    )
    assert skeleton(parsed(html)) == PLAIN


@given(st.text(min_size=1))
def test_no_text_changes_the_structure_of_the_page(text: str) -> None:
    html = dressed_page(lambda plain: plain + text)
    html.encode("utf-8")
    assert skeleton(parsed(html)) == PLAIN


def test_markup_in_a_query_is_read_as_it_was_written() -> None:
    document = parsed(dressed_page(lambda text: f'<b class="x">{text}</b> &amp;'))
    assert document.all("h4")[0].text == '<b class="x">first</b> &amp;'
    assert document.all("h1")[0].text == '<b class="x">name</b> &amp;'


def test_a_long_text_is_cut_and_says_so() -> None:
    article = parsed(dressed_page(lambda text: text + " word" * 500)).all("article")[0]
    for node in (article.all("h4")[0], article.all("span", "text")[0]):
        assert len(node.text) <= 300
        assert node.text.endswith("\u2026")


# Edge cases


def baseline_only() -> Evaluation:
    return Evaluation(
        name="alone",
        metrics=["nDCG@10"],
        queries=EVALUATION.queries,
        qrels=EVALUATION.qrels,
        baseline=EVALUATION.baseline,
        systems=[],
        gains=gains_by_first(["nDCG@10"], []),
        documents=EVALUATION.documents,
    )


def nothing_judged() -> Evaluation:
    nan = math.nan
    systems = [System("32m", depth) for depth in (10, 100)]
    empty = {metric: dict[str, float]() for metric in EVALUATION.metrics}
    return Evaluation(
        name="nothing",
        metrics=EVALUATION.metrics,
        queries={},
        qrels={},
        baseline=Measured(System(), empty, {}, 0.0),
        systems=[Measured(system, empty, {}, 0.0) for system in systems],
        gains=gains_by_first(
            METRICS,
            [
                Comparison(system, "nDCG@10", nan, (nan, nan), nan, 0, 0, 0, None)
                for system in systems
            ],
        ),
    )


def all_equal() -> Evaluation:
    return dataclasses.replace(
        EVALUATION,
        systems=[
            dataclasses.replace(EVALUATION.baseline, system=one.system)
            for one in EVALUATION.systems
        ],
        gains=gains_by_first(
            METRICS,
            [
                Comparison(one.system, "nDCG@10", 0.0, (0.0, 0.0), 1.0, 0, 0, 60, None)
                for one in EVALUATION.systems
            ],
        ),
    )


def one_system() -> Evaluation:
    return dataclasses.replace(
        EVALUATION,
        systems=EVALUATION.systems[:1],
        gains=gains_by_first(METRICS, EVALUATION.comparisons[:1]),
    )


def runs_made_elsewhere() -> Evaluation:
    def elsewhere(one: Measured, name: str) -> Measured:
        return dataclasses.replace(one, system=System(run=name), seconds=None)

    systems = [elsewhere(one, f"run-{at}.trec") for at, one in enumerate(EVALUATION.systems)]
    return dataclasses.replace(
        EVALUATION,
        baseline=elsewhere(EVALUATION.baseline, "bm25.trec"),
        systems=systems,
        gains=gains_by_first(
            METRICS,
            [
                dataclasses.replace(compared, system=one.system)
                for compared, one in zip(EVALUATION.comparisons, systems, strict=True)
            ],
        ),
    )


def one_that_cannot_be_told() -> Evaluation:
    first, second, *others = EVALUATION.comparisons
    endless = dataclasses.replace(first, interval=(-math.inf, math.inf))
    untold = dataclasses.replace(second, gain=math.nan, p=math.nan)
    return dataclasses.replace(
        EVALUATION, gains=gains_by_first(METRICS, [endless, untold, *others])
    )


EDGES = [
    over_two_retrievers,
    baseline_only,
    nothing_judged,
    all_equal,
    one_system,
    runs_made_elsewhere,
    one_that_cannot_be_told,
]


def headings(evaluation: Evaluation) -> list[str]:
    return [heading.text for heading in page(evaluation).all("h2")]


def test_retrieval_alone_is_reported_without_comparing() -> None:
    document = page(baseline_only())
    assert headings(baseline_only()) == ["Systems", "Worst queries", "Method"]
    assert [head.text for head in document.all("thead")[0].all("th")] == [
        "System",
        "nDCG@10",
        "Seconds",
    ]
    assert len(rows(document)) == 1
    assert len(document.all("article")) == len(document.all("ol")) == 10


def test_no_judged_query_gives_a_page_with_dashes() -> None:
    assert headings(nothing_judged())[0] == "Systems"
    assert "Worst queries" not in headings(nothing_judged())
    assert rows(page(nothing_judged()))[1][4:] == ["\u2013"] * 5 + ["0.000"]


def test_equal_systems_have_no_loser_to_show() -> None:
    assert [h.text for h in page(all_equal()).all("h3")] == ["The 10 lowest"]


def test_a_system_that_is_slower_and_no_better_has_no_number() -> None:
    (beside,) = page(all_equal()).all("div", "beside")[:1]
    assert len(beside.all("g", "best")) == len(beside.all("li")) == 1


def test_queries_with_the_highest_value_are_not_among_the_worst() -> None:
    values = {"nDCG@10": {"q1": 1.0, "q2": 0.95}}
    evaluation = dataclasses.replace(
        baseline_only(),
        queries={"q1": "first", "q2": "second"},
        baseline=Measured(System(), values, {}),
    )
    assert [heading.text for heading in page(evaluation).all("h4")] == ["second"]


def test_one_depth_needs_no_chart_by_depth() -> None:
    assert "Gain by depth" not in headings(one_system())
    assert "Quality and cost" in headings(one_system())


def test_runs_made_elsewhere_have_no_times_and_are_called_by_their_names() -> None:
    document = page(runs_made_elsewhere())
    assert "Seconds" not in [head.text for head in document.all("th")]
    assert not {"Gain by depth", "Quality and cost"} & set(headings(runs_made_elsewhere()))
    remarks = " ".join(remark.text for remark in document.all("p", "remark"))
    assert "Gains over bm25.trec" in remarks
    assert "between bm25.trec and the best system, run-" in remarks
    assert "difference from bm25.trec" in document.text
    assert "retrieval alone" not in remarks
    assert rows(document)[0][0].strip() == "bm25.trec"


def test_systems_without_a_time_are_said_to_be_missing_from_the_chart() -> None:
    untimed = [dataclasses.replace(one, seconds=None) for one in EVALUATION.systems[:2]]
    evaluation = dataclasses.replace(EVALUATION, systems=[*untimed, *EVALUATION.systems[2:]])
    assert "Not shown: 2 systems without a time." in page(evaluation).text
    assert rows(page(evaluation))[1][-1] == "\u2013"


def test_a_large_evaluation_stays_small_and_says_what_is_not_drawn() -> None:
    made = realistic(1000, {"32m": 2.0}, depths=[100], blends=[0.3])
    systems = [
        System(f"reranker-{name}", depth, blend / 10)
        for name in range(12)
        for depth in (10, 100)
        for blend in range(5)
    ]
    large = dataclasses.replace(
        made,
        systems=[dataclasses.replace(made.systems[0], system=system) for system in systems],
        gains=gains_by_first(
            METRICS,
            [dataclasses.replace(made.comparisons[0], system=system) for system in systems],
        ),
    )
    html = report_html(large)
    document = parsed(html)
    assert len(html) < 300_000
    assert len(rows(document)) == 1 + 120
    panels = [one for one in document.all("figure") if one.all("path", "other")]
    assert len(panels) == 9
    assert all(len(panel.all("path", "line")) == 4 for panel in panels)
    assert f"Not shown: {120 - 9 * 4 * 2} systems for lack of room or candidates." in document.text
    assert len(document.all("article")) == 20


# Charts


def numbers(node: Node) -> dict[str, list[float]]:
    """Return a chart's coordinates by direction."""
    found: dict[str, list[float]] = {"x": [], "y": []}
    for name, value in node.attributes.items():
        if name in ("x", "x1", "x2", "cx"):
            found["x"].append(float(value))
        if name in ("y", "y1", "y2", "cy"):
            found["y"].append(float(value))
        if name == "d":
            points = [point.split() for point in re.split("[ML]", value)[1:]]
            found["x"] += [float(x) for x, _ in points]
            found["y"] += [float(y) for _, y in points]
    if node.tag == "rect":
        found["x"].append(float(node.attributes["x"]) + float(node.attributes["width"]))
        found["y"].append(float(node.attributes["y"]) + float(node.attributes["height"]))
        assert float(node.attributes["width"]) >= 0 <= float(node.attributes["height"])
    return found


def assert_drawn_inside(document: Node) -> None:
    for drawing in document.all("svg"):
        left, top, width, height = map(float, drawing.attributes["viewbox"].split())
        for node in drawing.walk():
            # Coordinates are rounded to a tenth.
            assert all(left <= x <= left + width + 0.1 for x in numbers(node)["x"])
            assert all(top <= y <= top + height + 0.1 for y in numbers(node)["y"])


@pytest.mark.parametrize("edge", EDGES)
def test_edges_are_drawn_inside_their_frames(edge: Callable[[], Evaluation]) -> None:
    html = report_html(edge(), [ReliabilityPlot("none", "empty", [], {})])
    assert_drawn_inside(parsed(html))
    assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', html)


SHARES = st.floats(0, 1)
GAINS = st.floats(-1, 1)


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    query_ids = [f"q{at}" for at in range(draw(st.integers(0, 4)))]

    def measured(system: System) -> Measured:
        values = {"AP": {query_id: draw(SHARES) for query_id in query_ids}}
        run = {query_id: [("d", 1.0)] for query_id in query_ids}
        return Measured(system, values, run, draw(st.none() | st.floats(0, 1e4)))

    systems = [
        System(draw(st.sampled_from("ab")), draw(st.none() | st.integers(1, 10**6)), draw(SHARES))
        for _ in range(draw(st.integers(0, 5)))
    ]
    compared = []
    for system in systems:
        low, gain, high = sorted(draw(st.tuples(GAINS, GAINS, GAINS)))
        compared.append(Comparison(system, "AP", gain, (low, high), draw(SHARES), 1, 1, 1, None))
    return Evaluation(
        name="any",
        metrics=["AP"],
        queries=dict.fromkeys(query_ids, "what"),
        qrels={},
        baseline=measured(System()),
        systems=[measured(system) for system in systems],
        gains=gains_by_first(["AP"], compared),
    )


@given(evaluations(), st.lists(st.tuples(SHARES, SHARES, st.integers(0, 10**6))))
@settings(deadline=None)
def test_whatever_was_measured_is_drawn_inside_its_frame(
    evaluation: Evaluation, bins: list[tuple[float, float, int]]
) -> None:
    assert_drawn_inside(page(evaluation, ReliabilityPlot("a", "any", bins, {"any": 0.5})))


def test_names_of_lines_that_end_together_do_not_lie_on_each_other() -> None:
    systems = [System("32m", depth, blend) for blend in (0, 0.1, 0.2, 0.3) for depth in (10, 20)]
    compared = [
        Comparison(system, "nDCG@10", -0.5, (-0.5, -0.5), 1.0, 0, 0, 60, None) for system in systems
    ]
    same = [dataclasses.replace(EVALUATION.baseline, system=system) for system in systems]
    found = gains_by_first(METRICS, compared)
    document = page(dataclasses.replace(EVALUATION, systems=same, gains=found))
    names = [label for label in document.all("text") if "blend" in label.text]
    heights = sorted(float(name.attributes["y"]) for name in names)
    assert len(heights) == 4
    assert all(after - before >= 14 for before, after in pairwise(heights))
    assert heights[-1] <= 190 + 4, "runs into the numbers below"


def test_bars_of_queries_cover_the_width_and_are_as_high_as_their_differences() -> None:
    best = max(EVALUATION.systems, key=lambda one: one.mean("nDCG@10"))
    pairs = zip(
        best.values["nDCG@10"].values(),
        EVALUATION.baseline.values["nDCG@10"].values(),
        strict=True,
    )
    differences = [after - before for after, before in pairs]
    section = next(s for s in page(EVALUATION).all("section") if s.text.startswith("Query by"))
    bars = section.all("rect")
    heights = {
        kind: max(float(b.attributes["height"]) for b in bars if b.attributes["class"] == kind)
        for kind in ("gain", "loss")
    }
    ratio = heights["gain"] / heights["loss"]
    assert ratio == pytest.approx(max(differences) / -min(differences), rel=0.02)
    width = sum(float(bar.attributes["width"]) for bar in bars)
    assert width == pytest.approx(360 - 8 - 52, abs=0.05 * len(bars))
    rose = sum(one > 0 for one in differences)
    counts = [item.text for item in section.all("li")]
    assert counts == [f"{rose} better", "0 the same", f"{60 - rose} worse"]


# Colours


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))


def test_words_stand_out_from_the_paper_in_light_and_dark() -> None:
    style = parsed(report_html(EVALUATION)).all("style")[0].text
    light, dark = (colours(block) for block in style.split("prefers-color-scheme: dark"))
    assert light.keys() == dark.keys()
    for scheme in (light, dark):
        for name in scheme.keys() - {"paper", "rule"}:
            assert contrast(scheme[name], scheme["paper"]) >= 4.5, name


# A real browser


@dataclasses.dataclass
class Seen:
    page: Page
    complaints: list[str]
    requests: list[str]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Seen]]:
    pages: list[Page] = []

    def open_(html: str, width: int = 1280, scheme: str = "light") -> Seen:
        file = tmp_path / "report.html"
        file.write_text(html, encoding="utf-8")
        page = browser.new_page(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        pages.append(page)
        seen = Seen(page, [], [])
        page.on("console", lambda message: seen.complaints.append(message.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(file.as_uri())
        seen.requests.remove(file.as_uri())
        return seen

    yield open_
    for page in pages:
        page.close()


PAPER = "getComputedStyle(document.body).backgroundColor"
OUTSIDE = """[...document.querySelectorAll('svg')].flatMap(svg =>
    [...svg.querySelectorAll('text')].filter(text => {
        const box = text.getBBox(), frame = svg.viewBox.baseVal
        return box.x < 0 || box.y < 0
            || box.x + box.width > frame.width || box.y + box.height > frame.height
    }).map(text => text.textContent))"""


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize(
    "made",
    [
        lambda: report_html(EVALUATION, [RELIABILITY]),
        lambda: dressed_page(lambda text: text + "-" + "x" * 400),
        *(lambda edge=edge: report_html(edge()) for edge in EDGES),
    ],
)
def test_a_browser_shows_it_without_complaint_and_nothing_overflows(
    opened: Callable[..., Seen], made: Callable[[], str], width: int
) -> None:
    seen = opened(made(), width)
    assert seen.page.evaluate(OVERFLOWING) <= 0
    assert seen.complaints == []
    assert seen.requests == []


def test_a_drawing_has_room_for_its_words(opened: Callable[..., Seen]) -> None:
    seen = opened(report_html(realistic(10, blends=(0, 0.05, 0.25, 0.5)), [RELIABILITY]))
    assert seen.page.evaluate(OUTSIDE) == []


def test_hostile_text_runs_nothing_in_a_browser(opened: Callable[..., Seen]) -> None:
    seen = opened(dressed_page(lambda text: "".join(HOSTILE[:5]) + text))
    assert seen.complaints == []
    assert seen.requests == []
    assert seen.page.locator("script, img, iframe").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_light_or_dark_as_the_reader_likes(
    opened: Callable[..., Seen], scheme: str
) -> None:
    paper = opened(report_html(EVALUATION), scheme=scheme).page.evaluate(PAPER)
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 27)"}[scheme]


def test_it_prints_light_on_several_whole_pages(opened: Callable[..., Seen]) -> None:
    import pypdfium2

    seen = opened(report_html(EVALUATION), scheme="dark")
    document = pypdfium2.PdfDocument(seen.page.pdf(format="A4"))
    assert len(document) > 1
    text = "".join(one.get_textpage().get_text_bounded() for one in document)
    assert text.count("nDCG@10 0.") == 19
    seen.page.emulate_media(media="print", color_scheme="dark")
    assert seen.page.evaluate(PAPER) == "rgb(255, 255, 255)"
