"""Why a variant lost quality, or did not get faster or smaller."""

from packlight.diagnosis.diagnose import DETECTORS, diagnose
from packlight.diagnosis.evidence import Subject, Survey

__all__ = ["DETECTORS", "Subject", "Survey", "diagnose"]
