"""Verbs joined: open what the user names, measure with a store, fit."""

from packlight.workflow.bench import Bench
from packlight.workflow.beside import compare
from packlight.workflow.integers import Judged, integers
from packlight.workflow.judging import evaluate
from packlight.workflow.ladder import ladder
from packlight.workflow.opening import Opened, open_model, open_task
from packlight.workflow.planning import plan, what_if
from packlight.workflow.progress import Progress
from packlight.workflow.saved import compare_saved
from packlight.workflow.verbs import Made, compress, fit, load, profile, write_task

__all__ = [
    "Bench",
    "Judged",
    "Made",
    "Opened",
    "Progress",
    "compare",
    "compare_saved",
    "compress",
    "evaluate",
    "fit",
    "integers",
    "ladder",
    "load",
    "open_model",
    "open_task",
    "plan",
    "profile",
    "what_if",
    "write_task",
]
