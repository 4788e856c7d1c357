"""Model + Task -> Evaluation: the metric, groups and fidelity, with intervals."""

from packlight.evaluate.evaluate import Judgement, evaluate
from packlight.evaluate.exactness import RUNTIME_DIFFERS, Exactness, runtime_differs
from packlight.evaluate.judge import columns
from packlight.evaluate.misfit import Misfit, misfits
from packlight.evaluate.reference import Reference

__all__ = [
    "RUNTIME_DIFFERS",
    "Exactness",
    "Judgement",
    "Misfit",
    "Reference",
    "columns",
    "evaluate",
    "misfits",
    "runtime_differs",
]
