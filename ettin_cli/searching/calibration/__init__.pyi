from .fitting import Bin as Bin, Calibration as Calibration, fit as fit, folds as folds
from .stored import (
    calibration_checksum as calibration_checksum,
    is_calibrated as is_calibrated,
    load as load,
    not_calibrated as not_calibrated,
    save as save,
)
