"""The worst queries: their documents before and after reranking."""

from __future__ import annotations

from ettin_cli.evaluation.report import charts
from ettin_cli.evaluation.report.charts import named
from ettin_cli.evaluation.report.markup import (
    counted,
    figure,
    grid,
    number,
    remark,
    section,
    shortened,
)
from ettin_cli.evaluation.results import Evaluation, Measured, ShownDocument
from ettin_cli.text import Markup, element

WORST = 10
SHOWN = 5
QUERY_LENGTH = 300
TEXT_LENGTH = 200


def movement_section(evaluation: Evaluation, best: Measured | None) -> Markup:
    """Return the section on what the best system changed, query by query."""
    if best is None or not evaluation.queries:
        return Markup()
    metric = evaluation.metrics[0]
    reference = evaluation.reference(best)
    before, after = reference.values[metric], best.values[metric]
    differences = [after[query_id] - before[query_id] for query_id in evaluation.queries]
    rose, fell = (sum(sign * difference > 0 for difference in differences) for sign in (1, -1))
    remark_text = (
        f"Each query's difference in {metric} between {named(reference.system)} and "
        f"the best system, {named(best.system)}, from the largest rise to the largest fall."
    )
    counts = [
        element("li", element("b", f"{count:,}", class_=tone), f" {word}")
        for count, word, tone in [
            (rose, "better", "gain"),
            (len(differences) - rose - fell, "the same", None),
            (fell, "worse", "loss"),
        ]
    ]
    chart = figure(charts.movement(differences, metric))
    return section(
        "Query by query",
        remark(remark_text),
        grid(chart, element("ul", *counts), class_="grid beside"),
    )


def worst_queries(evaluation: Evaluation, best: Measured | None) -> Markup:
    """Return the section on the queries that lost most, and the lowest of the others.

    Args:
        best: The system compared with its reference; None: there is only one system.
    """
    if not evaluation.queries:
        return Markup()
    metric = evaluation.metrics[0]
    before = (evaluation.reference(best) if best else evaluation.baseline).values[metric]
    after = best.values[metric] if best else before
    changes = sorted(
        (after[query_id] - before[query_id], query_id) for query_id in evaluation.queries
    )
    lost = [query_id for change, query_id in changes if change < 0][:WORST]
    rest = sorted(
        (after[query_id], query_id) for query_id in evaluation.queries if query_id not in lost
    )
    lowest = [query_id for value, query_id in rest if value < 1][:WORST]
    others = " of the others" if lost else ""
    titled = {
        f"The {len(lost)} largest losses": lost,
        f"The {len(lowest)} lowest{others}": lowest,
    }
    parts = [
        part
        for title, query_ids in titled.items()
        if query_ids
        for part in (
            element("h3", title),
            *(_query(evaluation, best, query_id) for query_id in query_ids),
        )
    ]
    return section("Worst queries", *parts) if parts else Markup()


def _query(evaluation: Evaluation, best: Measured | None, query_id: str) -> Markup:
    metric = evaluation.metrics[0]
    reference = evaluation.reference(best) if best else evaluation.baseline
    before = reference.values[metric][query_id]
    values = [f"{metric} ", element("b", number(before))]
    if best is not None:
        after = best.values[metric][query_id]
        tone = "gain" if after > before else "loss" if after < before else None
        values += [" \u2192 ", element("b", number(after), class_=tone)]
    columns = [_ranked(evaluation, system, query_id) for system in (reference, best) if system]
    text = shortened(evaluation.queries[query_id], QUERY_LENGTH)
    return element(
        "article",
        element("h4", text or query_id, dir="auto"),
        element("p", *values, class_="values"),
        element("div", *columns, class_="pair"),
    )


def _ranked(evaluation: Evaluation, measured: Measured, query_id: str) -> Markup:
    retrieved = [doc_id for doc_id, _ in measured.run.get(query_id, ())]
    documents = [_document(evaluation, query_id, doc_id) for doc_id in retrieved[:SHOWN]]
    ranked = element("ol", *documents) if retrieved else element("p", "No hits.")
    return element(
        "div",
        element("h5", named(measured.system)),
        ranked,
        _first_relevant(evaluation, query_id, retrieved),
    )


def _document(evaluation: Evaluation, query_id: str, doc_id: str) -> Markup:
    shown = evaluation.documents.get(doc_id, ShownDocument("", ""))
    class_, word = _relevance(evaluation, query_id, doc_id)
    return element(
        "li",
        element("span", word, class_=f"mark {class_}"),
        " ",
        element("span", shortened(shown.title, TEXT_LENGTH) or doc_id, class_="title", dir="auto"),
        element("span", shortened(shown.text, TEXT_LENGTH), class_="text", dir="auto"),
        title=doc_id,
    )


def _relevance(evaluation: Evaluation, query_id: str, doc_id: str) -> tuple[str, str]:
    grades = evaluation.qrels.get(query_id, {})
    if doc_id not in grades:
        return "unjudged", "not judged"
    if grades[doc_id] <= 0:
        return "irrelevant", "not relevant"
    return "relevant", f"relevant, {grades[doc_id]}" if grades[doc_id] > 1 else "relevant"


def _first_relevant(evaluation: Evaluation, query_id: str, retrieved: list[str]) -> Markup:
    """Return the rank of the first relevant document, if it is not among those shown."""
    grades = evaluation.qrels.get(query_id, {})
    ranks = [at for at, doc_id in enumerate(retrieved, 1) if grades.get(doc_id, 0) > 0]
    if not retrieved or (ranks and ranks[0] <= SHOWN):
        return Markup()
    depth = counted(len(retrieved), "document")
    remark_text = f"First relevant: rank {ranks[0]}." if ranks else f"None of {depth} is relevant."
    return element("p", remark_text, class_="remark")
