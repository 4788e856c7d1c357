"""From calibration samples to observers."""

from packlight.runtime.calibration.calibrator import Calibrator, FloatReference
from packlight.runtime.calibration.observer import Observer, PairObserver

__all__ = ["Calibrator", "FloatReference", "Observer", "PairObserver"]
