"""Public collections in `ettin eval`: several at once, and the candidates that some come with."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from ettin_cli.api import Session
from ettin_cli.collections import (
    ARGUMENTS,
    CQADUPSTACK,
    NANOBEIR,
    OpenCollection,
    family,
    namesakes,
)
from ettin_cli.commands import options
from ettin_cli.commands.context import Context
from ettin_cli.commands.sources import index_of
from ettin_cli.console import show_evaluation, show_suite
from ettin_cli.errors import UsageError
from ettin_cli.evaluation import (
    REPORT,
    Evaluation,
    EvaluationRequest,
    Evaluator,
    Suite,
    measure_given,
    with_documents,
    write_evaluation,
)
from ettin_cli.settings import ettin_model

MTEB = "mteb"
# The metric of the published figures.
PUBLISHED_METRIC = "nDCG@10"


def collections_of(folder: Path | None, session: Session) -> list[OpenCollection]:
    """Return the public collections that an argument names; none if it is a folder.

    Raises:
        CorpusError: It has the form of a collection's name, but there is no such collection.
        UsageError: It is the name of a collection without that of the family.
    """
    if folder is None:
        return []
    if not folder.exists() and (near := namesakes(str(folder))):
        raise UsageError(f"no such folder: {folder}", hint=" or ".join(near))
    several = folder.as_posix().lower() in (NANOBEIR, MTEB, CQADUPSTACK) and not folder.exists()
    names = [one.name for one in family(folder.as_posix())] if several else [folder.as_posix()]
    return [found for name in names if (found := session.collection(name))]


def use_given(named: Sequence[OpenCollection], candidates: str | None) -> bool:
    """Return whether the candidates that the collections come with are reranked."""
    own = [one.collection.has_candidates for one in named]
    return candidates is None and bool(own) and all(own)


def for_collection(request: EvaluationRequest, named: OpenCollection | None) -> EvaluationRequest:
    """Return a request with what is particular to a collection, if it is of one."""
    if named is None:
        return request
    own = named.collection
    return replace(request, instruction=own.instruction, ignores_own=own.ignores_own)


def refuse(passed: Mapping[str, object], named: Sequence[OpenCollection]) -> None:
    """Refuse options that have no effect on the evaluation of several collections or candidates.

    Args:
        passed: Values by option; false ones were not passed.
    """
    index = passed.get("--index")
    if index is not None and str(index) == os.environ.get("ETTIN_INDEX"):
        passed = {**passed, "--index": None}
    for option, value in passed.items():
        if value:
            raise UsageError(
                f"{option} needs a single collection and --candidates",
                hint=f"ettin eval {named[0].name} --candidates 100",
            )


def evaluate_suite(
    name: str,
    named: Sequence[OpenCollection],
    request: EvaluationRequest,
    given: bool,
    context: Context,
    format: str,
    output: Path | None,
) -> None:
    """Measure each collection, and show them with their means.

    Args:
        given: Whether the candidates that the collections come with are reranked.
    """
    console, evaluations, rejected = context.console, dict[str, Evaluation](), False
    for one in named:
        if given:
            evaluations[one.name] = _given(one, request, context)
        else:
            evaluations[one.name], some = _retrieved(one, request, context)
            rejected |= some
    if len(named) == 1:
        show_evaluation(console, evaluations[named[0].name], format)
    else:
        show_suite(console, _suite(name.lower(), evaluations, request, given), format)
    if output:
        for key, found in evaluations.items():
            folder = output if len(named) == 1 else output / key.rpartition("/")[2]
            write_evaluation(folder, found, ())
            console.summary(f"wrote {folder / REPORT}, with the queries that changed most")
    if rejected:
        raise typer.Exit(options.REJECTED)


def _suite(
    family: str, evaluations: Mapping[str, Evaluation], request: EvaluationRequest, given: bool
) -> Suite:
    """Return the evaluations of a family, with the means and figures published for it."""
    published, remarks = dict[str, float](), list[str]()
    if family == NANOBEIR:
        left_out = "the mean of 11 leaves out ArguAna and Touche2020, as sentence-transformers does"
        remarks.append(left_out)
    if family == CQADUPSTACK:
        remarks.append("the mean of 12 is what BEIR reports for CQADupStack")
    if str(request.metrics[0]) == PUBLISHED_METRIC and family in (NANOBEIR, MTEB):
        models = {name: model for name in request.rerankers if (model := ettin_model(name))}
        nano = family == NANOBEIR
        published = {
            name: model.nanobeir if nano else model.ndcg10 for name, model in models.items()
        }
        of = "these candidates" if given else "the top 100 of BM25" if nano else "six embedders"
        mean = "with" if nano else "as the mean over"
        if published:
            remarks.append(f"published: nDCG@10 of the Ettin release, {mean} {of}")
    return Suite(family, evaluations, ARGUMENTS, remarks, published)


def _given(one: OpenCollection, request: EvaluationRequest, context: Context) -> Evaluation:
    queries, qrels, given = one.queries, one.qrels, one.candidates()
    models = context.session.models
    with options.resumable("to resume, run the same command", context.console):
        return measure_given(one.name, queries, qrels, given, request, models, [one.origin])


def _retrieved(
    one: OpenCollection, request: EvaluationRequest, context: Context
) -> tuple[Evaluation, bool]:
    """Return the evaluation of retrieval and reranking, and whether any input was rejected."""
    queries, qrels = one.queries, one.qrels
    opened, rejected = index_of([one.name], None, context)
    with opened, options.resumable("to resume, run the same command", context.console):
        evaluator = Evaluator(opened, context.session.models, for_collection(request, one))
        found, _ = evaluator.measure(one.name, queries, qrels, [one.origin])
        return with_documents(found, opened), rejected
