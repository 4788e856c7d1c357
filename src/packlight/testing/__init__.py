"""Conformance checks that every compression method must pass, for our own methods and plug-ins."""

from packlight.testing.cases import Case, make_case, sample_calls
from packlight.testing.laws import DECIBELS, LAWS, check_method
from packlight.testing.networks import NETWORKS

__all__ = ["DECIBELS", "LAWS", "NETWORKS", "Case", "check_method", "make_case", "sample_calls"]
