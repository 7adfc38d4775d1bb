from .evaluator import (
    EvaluationRequest as EvaluationRequest,
    Evaluator as Evaluator,
    Results as Results,
    named_rerankers as named_rerankers,
    require_calibratable as require_calibratable,
)
from .given_candidates import GIVEN_METRICS as GIVEN_METRICS, measure_given as measure_given
from .given_validation import GivenValidation as GivenValidation
from .judgements import Judgements as Judgements
from .measuring import measure_runs as measure_runs, with_documents as with_documents
from .metrics import parse_metrics as parse_metrics
from .outcome import Outcome as Outcome
from .output_folder import REPORT as REPORT, write_evaluation as write_evaluation
from .pooling import pool as pool
from .results import Evaluation as Evaluation
from .rows import (
    NAMES as NAMES,
    dispensable as dispensable,
    shown_rows as shown_rows,
    summary as summary,
    system_rows as system_rows,
)
from .suites import (
    Suite as Suite,
    shown_suite as shown_suite,
    suite_document as suite_document,
    suite_rows as suite_rows,
)
from .sweep_results import SweepResults as SweepResults
from .sweep_units import (
    SweepUnits as SweepUnits,
    judged_records as judged_records,
    results_of_units as results_of_units,
)
from .validation import METRIC as METRIC, Validation as Validation
