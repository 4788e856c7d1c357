"""Frozen records with canonical JSON: the one schema that every view shares."""

from packlight.records.budget import Budget, Limit, parse_budget
from packlight.records.codec import canonical, digest, from_json, loads, to_json
from packlight.records.comparison import Comparison, Flips
from packlight.records.evaluation import Cost, Evaluation, Group
from packlight.records.machine import Machine
from packlight.records.measurement import Measurement, Meets, counted
from packlight.records.outcome import Miss, Outcome, Result, Verdict
from packlight.records.profile import OperatorCost, Profile
from packlight.records.recipe import Recipe, Step, parse_recipe
from packlight.records.session import SessionOptions
from packlight.records.variant import Change, Refusal, Variant, variant_id

__all__ = [
    "Budget",
    "Change",
    "Comparison",
    "Cost",
    "Evaluation",
    "Flips",
    "Group",
    "Limit",
    "Machine",
    "Measurement",
    "Meets",
    "Miss",
    "OperatorCost",
    "Outcome",
    "Profile",
    "Recipe",
    "Refusal",
    "Result",
    "SessionOptions",
    "Step",
    "Variant",
    "Verdict",
    "canonical",
    "counted",
    "digest",
    "from_json",
    "loads",
    "parse_budget",
    "parse_recipe",
    "to_json",
    "variant_id",
]
