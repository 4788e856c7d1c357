"""Verbs joined: open what the user names, measure with a store, fit.

Names load on first use, so that a verb loads no more than it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packlight.lazy import lazy

if TYPE_CHECKING:
    from packlight.workflow.bench import Bench
    from packlight.workflow.beside import compare
    from packlight.workflow.counting import profile
    from packlight.workflow.diagnosing import diagnose
    from packlight.workflow.gaining import Judged, integers
    from packlight.workflow.inside import layers
    from packlight.workflow.judging import evaluate
    from packlight.workflow.opening import Opened, open_model, open_task
    from packlight.workflow.planned import what_if
    from packlight.workflow.planning import plan
    from packlight.workflow.progress import Progress
    from packlight.workflow.saved import compare_saved
    from packlight.workflow.verbs import Made, compress, fit, load, write_task

HOME = {
    "Bench": "bench",
    "Judged": "gaining",
    "Made": "verbs",
    "Opened": "opening",
    "Progress": "progress",
    "compare": "beside",
    "compare_saved": "saved",
    "compress": "verbs",
    "diagnose": "diagnosing",
    "evaluate": "judging",
    "fit": "verbs",
    "integers": "gaining",
    "layers": "inside",
    "load": "verbs",
    "open_model": "opening",
    "open_task": "opening",
    "plan": "planning",
    "profile": "counting",
    "what_if": "planned",
    "write_task": "verbs",
}
"""Module of each public name."""

__all__ = [
    "Bench",
    "Judged",
    "Made",
    "Opened",
    "Progress",
    "compare",
    "compare_saved",
    "compress",
    "diagnose",
    "evaluate",
    "fit",
    "integers",
    "layers",
    "load",
    "open_model",
    "open_task",
    "plan",
    "profile",
    "what_if",
    "write_task",
]

__getattr__ = lazy(__name__, HOME)
