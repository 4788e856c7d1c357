"""Verbs joined: open what the user names, measure with a store, fit."""

from packlight.workflow.bench import Bench, Progress
from packlight.workflow.fit import fit
from packlight.workflow.opening import Opened, open_model, open_task

__all__ = ["Bench", "Opened", "Progress", "fit", "open_model", "open_task"]
