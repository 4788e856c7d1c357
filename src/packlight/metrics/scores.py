"""Metrics of all samples at once, by scikit-learn: equal error rate, and its functions by name."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Mapping

import numpy as np

from packlight.errors import TaskError, UndefinedError
from packlight.metrics.classes import THRESHOLD
from packlight.metrics.extra import load_library
from packlight.metrics.fidelity import are_probabilities, log_softmax
from packlight.metrics.metric import Metric, Outputs, Rows, first_output, numbers
from packlight.records.recipe import read_option

PACKAGE = "scikit-learn"
PREFIX = "sklearn:"
FUNCTION = re.compile(r"\w+_(score|loss|error|deviance|corrcoef)")
"""Names that scikit-learn gives to functions of a truth and a prediction."""

HIGHER_IS_BETTER = ("_score", "_corrcoef")
"""Endings of what is maximized; scikit-learn minimizes all others."""

ABSOLUTE_LOSSES = ("brier_score_loss", "hamming_loss", "zero_one_loss")
"""Losses in [0, 1], whose drops are in points, as those of scores are."""

RELATIVE_SCORES = ("dcg_score",)
"""Scores without a bound."""

SCORE_PARAMETERS = ("y_score", "y_proba", "y_prob", "pred_decision")
"""Names that scikit-learn gives to its second parameter where it takes scores of classes."""

OF_PROBABILITIES = ("log_loss", "d2_log_loss_score", "d2_brier_score")
"""Functions of probabilities whose second parameter is named as if it took classes."""

NOT_OPTIONS = ("y_true", "sample_weight")
HEAD = 3
BINARY = 2


def score_row(outputs: Outputs, target: object) -> Rows:
    """Numbers of the first output and the target, behind their kinds.

    The row is: count of the output's numbers, 1 if they are integers, 1 if the target's are, both.
    """
    output = first_output(outputs)
    values = numbers(output, "the model's first output")
    expected = np.asarray(target)
    kinds = [float(array.dtype.kind in "iub") for array in (output, expected)]
    return np.concatenate([[values.size, *kinds], values, numbers(target, "targets")])


def _equal_error_rate(rows: Rows) -> float:
    """Rate at which as many positives are rejected as negatives accepted.

    It lies between two points of the ROC curve, on the line between them.
    """
    curve = load_library(PACKAGE, "metrics", "eer").roc_curve
    scores = _positive_scores(rows)
    truth = rows[:, -1]
    if not np.isin(truth, (0, 1)).all() or len(truth) != len(scores):
        raise TaskError("the target of eer is 0 or 1 for each sample, 1 for a match")
    if truth.min() == truth.max():
        raise UndefinedError(f"eer needs matches and others; all targets are {truth[0]:g}")
    accepted, found, _ = curve(truth, scores, drop_intermediate=False)
    gap = accepted - (1 - found)
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(accepted[before] + share * (accepted[after] - accepted[before]))


def _positive_scores(rows: Rows) -> Rows:
    """Score of class 1 of each sample (n,): the only score, or the difference of two."""
    width = int(rows[0, 0])
    scores = rows[:, HEAD : HEAD + width]
    if width == 1:
        return scores[:, 0]
    if width == BINARY:
        return np.asarray(scores[:, 1] - scores[:, 0])
    raise TaskError(
        f"eer takes one score for each sample, or two for two classes; the model gives {width}. "
        "Compute one in a task: metric_by_name('eer', decode=function)"
    )


def sklearn_metric(text: str) -> Metric:
    """A metric by a function of ``sklearn.metrics``.

    Scores are compared as the function takes them: classes of the highest score, where it takes
    classes and targets are integers; probabilities (by softmax, unless they are some already), of
    class 1 where there are two, where it takes scores; else the numbers as they are.

    Args:
        text: as ``sklearn:roc_auc_score`` or ``sklearn:fbeta_score,beta=2,average=macro``; the
            metric is called as the function.

    Raises:
        TaskError: there is no such function or option, or scikit-learn is not installed.
    """
    name, *texts = text.removeprefix(PREFIX).split(",")
    library = load_library(PACKAGE, "metrics", text)
    function = getattr(library, name, None)
    if function is None or not FUNCTION.fullmatch(name):
        raise TaskError(
            "a function of sklearn.metrics ends in _score, _loss, _error, _deviance or _corrcoef, "
            f"as sklearn:roc_auc_score; there is no '{name}'"
        )
    options = _options(name, texts, inspect.signature(function).parameters)
    higher_is_better = name.endswith(HIGHER_IS_BETTER)
    bounded = name in ABSOLUTE_LOSSES or (higher_is_better and name not in RELATIVE_SCORES)
    total = _total_by(function, name, tuple(options.items()))
    return Metric(name, score_row, total, higher_is_better, bounded, needs=(PACKAGE,))


def _options(
    name: str, texts: list[str], parameters: Mapping[str, inspect.Parameter]
) -> dict[str, object]:
    """Options of a function from their texts."""
    first, _, *others = parameters
    if first not in ("y_true", "y1"):
        raise TaskError(f"'{name}' of scikit-learn compares no predictions with targets")
    allowed = [option for option in others if option not in NOT_OPTIONS]
    options: dict[str, object] = {}
    for text in texts:
        option, _, value = text.partition("=")
        if option not in allowed or not value:
            raise TaskError(
                f"options of '{name}' are written as sklearn:{name},OPTION=VALUE with one of "
                f"{', '.join(allowed) or 'none'}; got '{text}'"
            )
        options[option] = _value(value)
    return options


CONSTANTS: Mapping[str, object] = {"true": True, "false": False, "none": None}


def _value(text: str) -> object:
    """A text as a constant or a number, where it is one."""
    if text.lower() in CONSTANTS:
        return CONSTANTS[text.lower()]
    return read_option(text)


def _total_by(
    function: Callable[..., object], name: str, options: tuple[tuple[str, object], ...]
) -> Callable[[Rows], float]:
    """The function over rows; undefined where it refuses them or gives NaN."""
    second = list(inspect.signature(function).parameters)[1]
    prepare = _predictions
    if second in SCORE_PARAMETERS or name in OF_PROBABILITIES:
        prepare = _probabilities
    if second == "pred_decision":
        prepare = _decision_values
    if name.endswith("dcg_score"):
        prepare = _raw_scores

    def total(rows: Rows) -> float:
        predicted = prepare(rows)
        expected = _truth(rows)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn warns of what it then returns
                value = float(function(expected, predicted, **dict(options)))  # type: ignore[arg-type]
        except (ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise UndefinedError(f"'{name}' has no value on these samples: {reason}") from error
        if not np.isfinite(value):
            raise UndefinedError(f"'{name}' has no value on these samples: it gives {value}")
        return value

    return total


def _table(rows: Rows) -> Rows:
    """Scores of each decision (n * m, classes), or each number as one (n, m)."""
    width = int(rows[0, 0])
    targets = rows.shape[1] - HEAD - width
    scores = rows[:, HEAD : HEAD + width]
    if targets and width % targets == 0 and width > targets:
        return scores.reshape(len(rows) * targets, -1)
    return scores


def _truth(rows: Rows) -> Rows:
    """Targets of all decisions, in the form of ``_table``: flat, or (n, m) with as many numbers."""
    width = int(rows[0, 0])
    targets = rows[:, HEAD + width :]
    if rows[:, 2].all():
        targets = targets.astype(np.int64)
    if targets.shape[1] == width and width > 1:
        return targets
    return targets.ravel()


def _raw_scores(rows: Rows) -> Rows:
    table = _table(rows)
    if table.shape[1] == 1:
        return table[:, 0]
    return table


def _decision_values(rows: Rows) -> Rows:
    """Scores of each decision; of two classes, how far the second is above the first."""
    table = _raw_scores(rows)
    if _has_scores_of_classes(rows) and table.shape[1] == BINARY:
        return np.asarray(table[:, 1] - table[:, 0])
    return table


def _has_scores_of_classes(rows: Rows) -> bool:
    """Test whether each decision has a score for each class, rather than one number."""
    width = int(rows[0, 0])
    return bool(width > rows.shape[1] - HEAD - width)


def _probabilities(rows: Rows) -> Rows:
    """Probabilities of each decision; of class 1 alone where there are two."""
    table = _raw_scores(rows)
    if not _has_scores_of_classes(rows):
        return table
    if not are_probabilities(table):
        table = np.exp(log_softmax(table))
    if table.shape[1] == BINARY:
        return table[:, 1]
    return table


def _predictions(rows: Rows) -> Rows:
    """Classes where targets are integers, else numbers."""
    table = _raw_scores(rows)
    if not rows[:, 2].all() or rows[:, 1].all():
        return table
    if _has_scores_of_classes(rows):
        return np.asarray(table.argmax(axis=1))
    return np.asarray(table > THRESHOLD).astype(np.int64)


SCORE_METRICS = {
    "eer": Metric(
        "eer", score_row, _equal_error_rate, higher_is_better=False, bounded=True, needs=(PACKAGE,)
    ),
}
"""Metrics by name; :func:`sklearn_metric` makes more."""
