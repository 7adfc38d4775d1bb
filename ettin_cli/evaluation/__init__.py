"""Measure what retrieval and reranking are worth on judged queries, and whether it shows."""

from ettin_cli.evaluation.evaluator import (
    METRICS,
    EvaluationRequest,
    Evaluator,
    named_rerankers,
    require_calibratable,
)
from ettin_cli.evaluation.files import REPORT, write_evaluation
from ettin_cli.evaluation.judgements import Judgements
from ettin_cli.evaluation.measuring import measure_runs, with_documents
from ettin_cli.evaluation.metrics import parse_metrics
from ettin_cli.evaluation.pooling import pool
from ettin_cli.evaluation.results import Evaluation
from ettin_cli.evaluation.rows import NAMES, dispensable, shown_rows, summary, system_rows
from ettin_cli.evaluation.sweep import Outcome
from ettin_cli.evaluation.validating import METRIC, Validation

__all__ = [
    "METRIC",
    "METRICS",
    "NAMES",
    "REPORT",
    "Evaluation",
    "EvaluationRequest",
    "Evaluator",
    "Judgements",
    "Outcome",
    "Validation",
    "dispensable",
    "measure_runs",
    "named_rerankers",
    "parse_metrics",
    "pool",
    "require_calibratable",
    "shown_rows",
    "summary",
    "system_rows",
    "with_documents",
    "write_evaluation",
]
