"""Frozen records with canonical JSON: the one schema that every view shares.

Names load on first use, so that a child process that measures memory loads no more than it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packlight.lazy import lazy

if TYPE_CHECKING:
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

HOME = {
    "Advice": "advice",
    "Lesson": "advice",
    "Budget": "budget",
    "Limit": "budget",
    "parse_budget": "budget",
    "canonical": "codec",
    "digest": "codec",
    "from_json": "codec",
    "loads": "codec",
    "to_json": "codec",
    "Comparison": "comparison",
    "Flips": "comparison",
    "Contrast": "contrast",
    "GroupContrast": "contrast",
    "Moved": "contrast",
    "Shift": "contrast",
    "Slice": "contrast",
    "WorstGroup": "contrast",
    "Citation": "device",
    "Curve": "device",
    "Device": "device",
    "Energy": "device",
    "OperatorSet": "device",
    "Runtime": "device",
    "Share": "device",
    "Unit": "device",
    "Cost": "evaluation",
    "Evaluation": "evaluation",
    "Group": "evaluation",
    "Finding": "finding",
    "Layer": "layers",
    "Layers": "layers",
    "WeightContrast": "layers",
    "Machine": "machine",
    "Measurement": "measurement",
    "Meets": "measurement",
    "counted": "measurement",
    "Miss": "outcome",
    "Outcome": "outcome",
    "Result": "outcome",
    "Verdict": "outcome",
    "Damage": "plan",
    "Effort": "plan",
    "Plan": "plan",
    "PlanOption": "plan",
    "OperatorCost": "profile",
    "Profile": "profile",
    "SourceLine": "profile",
    "Recipe": "recipe",
    "Step": "recipe",
    "parse_recipe": "recipe",
    "Robustness": "robustness",
    "SessionOptions": "session",
    "Change": "variant",
    "Refusal": "variant",
    "Variant": "variant",
    "variant_id": "variant",
}
"""Module of each public name."""

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

__getattr__ = lazy(__name__, HOME)
