"""Why a variant lost quality, or did not get faster or smaller."""

from packlight.diagnose.diagnose import DETECTORS, diagnose
from packlight.diagnose.survey import Subject, Survey

__all__ = ["DETECTORS", "Subject", "Survey", "diagnose"]
