"""packlight fits a trained model to a device.

The verbs ``load``, ``plan``, ``compress``, ``evaluate``, ``compare``, ``profile`` and ``fit`` do
what the command line does; the nouns are frozen records. Everything loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from packlight.lazy import lazy

if TYPE_CHECKING:
    from packlight.devices import device, devices
    from packlight.errors import (
        CheckError,
        DeviceError,
        InputError,
        ModelError,
        PacklightError,
        RecipeError,
        TaskError,
    )
    from packlight.measure import measure_device, predict_latency
    from packlight.metrics import METRICS
    from packlight.model import Model, save
    from packlight.records import (
        Budget,
        Comparison,
        Device,
        Evaluation,
        Finding,
        Layers,
        Measurement,
        Outcome,
        Plan,
        Profile,
        Recipe,
        SessionOptions,
        Variant,
        parse_budget,
        parse_recipe,
        to_json,
    )
    from packlight.task import LazySamples, Task, load_task
    from packlight.workflow.beside import compare
    from packlight.workflow.counting import profile
    from packlight.workflow.diagnosing import diagnose
    from packlight.workflow.gaining import Judged, integers
    from packlight.workflow.inside import layers
    from packlight.workflow.judging import evaluate
    from packlight.workflow.planned import what_if
    from packlight.workflow.planning import plan
    from packlight.workflow.verbs import Made, compress, fit, load

__all__ = [
    "METRICS",
    "Budget",
    "CheckError",
    "Comparison",
    "Device",
    "DeviceError",
    "Evaluation",
    "Finding",
    "InputError",
    "Judged",
    "Layers",
    "LazySamples",
    "Made",
    "Measurement",
    "Model",
    "ModelError",
    "Outcome",
    "PacklightError",
    "Plan",
    "Profile",
    "Recipe",
    "RecipeError",
    "SessionOptions",
    "Task",
    "TaskError",
    "Variant",
    "compare",
    "compress",
    "device",
    "devices",
    "diagnose",
    "evaluate",
    "fit",
    "integers",
    "layers",
    "load",
    "load_task",
    "measure_device",
    "parse_budget",
    "parse_recipe",
    "plan",
    "predict_latency",
    "profile",
    "save",
    "to_json",
    "what_if",
]

PLACES = {
    "devices": ("device", "devices"),
    "errors": (
        "CheckError", "DeviceError", "InputError", "ModelError", "PacklightError", "RecipeError",
        "TaskError",
    ),
    "measure": ("measure_device", "predict_latency"),
    "metrics": ("METRICS",),
    "model": ("Model", "save"),
    "records": (
        "Budget", "Comparison", "Device", "Evaluation", "Finding", "Layers", "Measurement",
        "Outcome", "Plan", "Profile", "Recipe", "SessionOptions", "Variant", "parse_budget",
        "parse_recipe", "to_json",
    ),
    "task": ("LazySamples", "Task", "load_task"),
    "workflow": (
        "Judged", "Made", "compare", "compress", "diagnose", "evaluate", "fit", "integers",
        "layers", "load", "plan", "profile", "what_if",
    ),
}  # fmt: skip
"""Public names by the folder that they come from."""

HOME = {name: folder for folder, names in PLACES.items() for name in names}


load_name = lazy(__name__, HOME)


def __getattr__(name: str) -> object:
    """Load a public name on first use."""
    if name == "__version__":
        return import_module("importlib.metadata").version("packlight")
    return load_name(name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, "__version__"])
