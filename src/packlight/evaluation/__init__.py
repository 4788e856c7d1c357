"""Model + Task -> Evaluation: the metric, groups and fidelity, with intervals."""

from packlight.evaluation.evaluate import Judgement, evaluate
from packlight.evaluation.exactness import RUNTIME_DIFFERS, Exactness, runtime_differs
from packlight.evaluation.measurements import columns
from packlight.evaluation.model_notes import model_notes
from packlight.evaluation.range_misfit import Misfit, misfits
from packlight.evaluation.reference import Reference

__all__ = [
    "RUNTIME_DIFFERS",
    "Exactness",
    "Judgement",
    "Misfit",
    "Reference",
    "columns",
    "evaluate",
    "misfits",
    "model_notes",
    "runtime_differs",
]
