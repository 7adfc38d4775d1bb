"""A reranker's raw scores -> probabilities of relevance, learnt from judgements."""

from ettin_cli.search.calibration.fitting import Bin, Calibration, fit, folds
from ettin_cli.search.calibration.stored import is_calibrated, load, not_calibrated, save

__all__ = [
    "Bin",
    "Calibration",
    "fit",
    "folds",
    "is_calibrated",
    "load",
    "not_calibrated",
    "save",
]
