"""packlight fits a trained model to a device.

The verbs ``load``, ``plan``, ``compress``, ``evaluate``, ``compare``, ``profile`` and ``fit`` do
what the command line does; the nouns are frozen records. Everything loads on first use.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

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


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name == "__version__":
        value: object = import_module("importlib.metadata").version("packlight")
    elif name in HOME:
        value = getattr(import_module(f"{__name__}.{HOME[name]}"), name)
    else:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, "__version__"])


class Package(ModuleType):
    """This package as a module in which verbs are not hidden by the folders of the same name.

    Importing ``packlight.compress`` would set the folder as an attribute here, over the verb.
    ``from packlight.compress import METHODS`` reaches the folder all the same.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in HOME):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = Package
