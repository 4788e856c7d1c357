"""Frozen records with canonical JSON: the one schema that every view shares."""

from packlight.records.advice import Advice, Lesson
from packlight.records.budget import Budget, Limit, parse_budget
from packlight.records.codec import canonical, digest, from_json, loads, to_json
from packlight.records.comparison import Comparison, Flips
from packlight.records.contrast import (
    Contrast,
    GroupContrast,
    Moved,
    Shift,
    Slice,
    WorstGroup,
)
from packlight.records.device import (
    Citation,
    Curve,
    Device,
    Energy,
    OperatorSet,
    Runtime,
    Share,
    Unit,
)
from packlight.records.evaluation import Cost, Evaluation, Group
from packlight.records.finding import Finding
from packlight.records.layers import Layer, Layers, WeightContrast
from packlight.records.machine import Machine
from packlight.records.measurement import Measurement, Meets, counted
from packlight.records.outcome import Miss, Outcome, Result, Verdict
from packlight.records.plan import Damage, Effort, Plan, PlanOption
from packlight.records.profile import OperatorCost, Profile, SourceLine
from packlight.records.recipe import Recipe, Step, parse_recipe
from packlight.records.robustness import Robustness
from packlight.records.session import SessionOptions
from packlight.records.variant import Change, Refusal, Variant, variant_id

__all__ = [
    "Advice",
    "Budget",
    "Change",
    "Citation",
    "Comparison",
    "Contrast",
    "Cost",
    "Curve",
    "Damage",
    "Device",
    "Effort",
    "Energy",
    "Evaluation",
    "Finding",
    "Flips",
    "Group",
    "GroupContrast",
    "Layer",
    "Layers",
    "Lesson",
    "Limit",
    "Machine",
    "Measurement",
    "Meets",
    "Miss",
    "Moved",
    "OperatorCost",
    "OperatorSet",
    "Outcome",
    "Plan",
    "PlanOption",
    "Profile",
    "Recipe",
    "Refusal",
    "Result",
    "Robustness",
    "Runtime",
    "SessionOptions",
    "Share",
    "Shift",
    "Slice",
    "SourceLine",
    "Step",
    "Unit",
    "Variant",
    "Verdict",
    "WeightContrast",
    "WorstGroup",
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
