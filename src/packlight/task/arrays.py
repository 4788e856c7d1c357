"""A task from an ``.npz``: arrays named as the model's inputs, with targets and groups.

``target``, ``group_NAME``, ``calibration_INPUT``, ``calibration_group_NAME`` and ``metric`` (a name
of the table) are optional.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics import METRICS, Metric, metric_by_name
from packlight.metrics.fidelity import is_float
from packlight.model.model import Model
from packlight.task.declared import Dims, declared_dims, declared_dtype, dims_text, shape_matches
from packlight.task.samples import ArraySamples
from packlight.task.task import Targets, Task
from packlight.task.unpacking import check_unpacked

Arrays = Mapping[str, NDArray[np.generic]]
CALIBRATION = "calibration_"
GROUP = "group_"
CALIBRATION_GROUP = CALIBRATION + GROUP
TARGET = "target"
METRIC = "metric"
SCORES_RANK = 2
UNSUPPORTED_KINDS = "mMV"
"""Kinds of arrays that models do not take: times and records."""

ROWS_CHECKED = 256
"""Rows checked at a time, so that a check needs little memory."""


def load_arrays(path: Path, model: Model) -> Task:
    """Read a task from an ``.npz``.

    Raises:
        TaskError: the file is damaged or does not fit the model.
    """
    arrays = _read_arrays(path)
    check_names(arrays, model, path.name)
    inputs = list(model.inputs())
    missing = [name for name in inputs if name not in arrays]
    if missing:
        raise TaskError(
            f"'{path.name}' needs an array for each input of the model, {', '.join(inputs)}; "
            f"it has none for {', '.join(missing)}"
        )
    samples = _array_samples({name: arrays[name] for name in inputs}, model, path.name)
    calibration, remarks = _calibration_samples(arrays, model, path.name)
    metric = _choose_metric(arrays, model, path.name)
    stored_targets: Targets = ()
    if metric.against == "target":
        stored_targets = targets(arrays, len(samples), path.name)
    return Task(
        name=path.stem,
        samples=samples,
        metric=metric,
        targets=stored_targets,
        groups=groups(arrays, len(samples), path.name),
        calibration=calibration,
        calibration_groups=groups(arrays, len(calibration), path.name, CALIBRATION_GROUP),
        remarks=remarks,
    )


def _read_arrays(path: Path) -> Arrays:
    """Every array of an ``.npz``; never a pickle."""
    if path.exists() and not path.is_file():
        raise TaskError(f"a task in arrays must be an .npz; '{path}' is no file")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            check_unpacked(unpacked, path.stat().st_size, path.name)
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return {name: _array_named(name, arrays[name]) for name in arrays.files}
    except FileNotFoundError as error:
        raise TaskError(f"there is no file '{path}'; give the path of an .npz") from error
    except Exception as error:  # zipfile and NumPy raise many types on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TaskError(
            f"'{path.name}' must be an .npz as numpy.savez writes it, without Python objects; "
            f"reading it gives: {reason}"
        ) from error


def _array_named(name: str, value: object) -> NDArray[np.generic]:
    """The value itself; NumPy gives the bytes of a member that does not begin as an array does."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"'{name}' does not begin as an array does")
    return value


def check_names(arrays: Arrays, model: Model, file: str) -> None:
    """Refuse an array with an unknown name."""
    inputs = set(model.inputs())
    names = inputs | {CALIBRATION + name for name in inputs} | {TARGET, METRIC}
    columns = (GROUP, CALIBRATION_GROUP)
    unknown = [name for name in arrays if name not in names and not name.startswith(columns)]
    if unknown:
        raise TaskError(
            f"'{file}' may hold {', '.join(sorted(names))}, group_NAME and calibration_group_NAME; "
            f"it holds {', '.join(unknown)}. Rename or remove these"
        )


def _array_samples(arrays: Arrays, model: Model, file: str) -> ArraySamples:
    """Check arrays by input name against the model, and return them as samples."""
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) > 1 or not min(lengths.values()):
        counts = ", ".join(f"'{name}' has {count}" for name, count in lengths.items())
        raise TaskError(
            f"the arrays of '{file}' have one row for each sample, at least 1; {counts}"
        )
    values = model.inputs()
    unbatched = set()
    dtypes = {}
    for name, array in arrays.items():
        dtypes[name] = declared_dtype(values[name])
        where = f"array '{name}' of '{file}'"
        if _is_unbatched(array, declared_dims(values[name]), where):
            unbatched.add(name)
        _check_values(array, dtypes[name], where)
    return ArraySamples(arrays, dtypes, frozenset(unbatched))


def _is_unbatched(array: NDArray[np.generic], dims: Dims | None, where: str) -> bool:
    """Test whether a row has the input's shape; False where it lacks the batch axis of 1.

    Raises:
        TaskError: neither fits.
    """
    if dims is None or shape_matches(dims, (1, *array.shape[1:])):
        return False
    if shape_matches(dims, array.shape[1:]):
        return True
    remedy = ""
    if dims and len(dims) == array.ndim and dims[0] not in (None, 0, 1):
        remedy = f" The model's batch is fixed at {dims[0]}: write the task in Python."
    raise TaskError(
        f"{where} holds samples for an input of shape {dims_text(dims)}; "
        f"one row has shape {list(array.shape[1:])}.{remedy}"
    )


def _check_values(array: NDArray[np.generic], dtype: np.dtype[np.generic], where: str) -> None:
    """Refuse values that are not finite or that the input's type cannot hold."""
    kind = array.dtype.kind
    if dtype.kind in "OU" or kind in "OSU" or kind in UNSUPPORTED_KINDS:
        if kind in UNSUPPORTED_KINDS or (dtype.kind in "OU") != (kind in "SU"):
            raise TaskError(f"{where} is fed as {dtype.name}; it has type {array.dtype.name}")
        return
    if kind == "c" or (is_float(array.dtype) and not is_float(dtype)):
        raise TaskError(
            f"{where} is fed as {dtype.name}; {array.dtype.name} would lose its fraction"
        )
    for start in range(0, len(array), ROWS_CHECKED):
        rows = array[start : start + ROWS_CHECKED]
        with np.errstate(over="ignore", invalid="ignore"):
            cast = rows.astype(dtype)
        if is_float(dtype):
            bad = ~np.isfinite(cast.astype(np.float64))
        else:
            bad = cast.astype(array.dtype) != rows
        if bad.any():
            row = start + int(np.argwhere(bad)[0][0])
            raise TaskError(
                f"{where} must hold finite numbers that fit {dtype.name}; row {row} does not"
            )


def _calibration_samples(
    arrays: Arrays, model: Model, file: str
) -> tuple[tuple[()] | ArraySamples, tuple[str, ...]]:
    """The calibration samples and a remark where there are none."""
    names = list(model.inputs())
    stored = {name: arrays[CALIBRATION + name] for name in names if CALIBRATION + name in arrays}
    if not stored:
        remark = (
            f"'{file}' has no calibration data (calibration_INPUT): methods that need it cannot run"
        )
        return (), (remark,)
    if len(stored) < len(names):
        lacking = ", ".join(CALIBRATION + name for name in names if name not in stored)
        raise TaskError(f"'{file}' has calibration data for some inputs; it lacks {lacking}")
    return _array_samples(stored, model, f"{file}, calibration"), ()


def targets(arrays: Arrays, count: int, file: str) -> NDArray[np.generic]:
    """The target of each sample."""
    values = arrays[TARGET]
    if not values.ndim or len(values) != count:
        raise TaskError(
            f"'{file}' has {count} samples; its array 'target' has shape {values.shape}"
        )
    if is_float(values.dtype) and not np.isfinite(values).all():
        raise TaskError(f"array 'target' of '{file}' must be finite; it holds NaN or infinity")
    return values


def groups(
    arrays: Arrays, count: int, file: str, prefix: str = GROUP
) -> dict[str, tuple[str, ...]]:
    """Group columns by name."""
    samples = "samples" if prefix == GROUP else "calibration samples"
    columns = {name.removeprefix(prefix): array for name, array in arrays.items()
               if name.startswith(prefix)}  # fmt: skip
    for name, array in columns.items():
        if array.shape != (count,):
            raise TaskError(
                f"'{file}' has {count} {samples}; its array '{prefix}{name}' has shape "
                f"{array.shape}"
            )
    return {name: tuple(map(str, array.tolist())) for name, array in columns.items()}


def _choose_metric(arrays: Arrays, model: Model, file: str) -> Metric:
    """The metric that the file names; else the one that suits its target and the model's output.

    Without a target: ``agreement`` where the first output is class scores (rank 2) or integer,
    else ``cosine``. With integer targets ``top1``, with float targets ``mae``.
    """
    if METRIC in arrays:
        if arrays[METRIC].ndim:
            raise TaskError(f"array 'metric' of '{file}' is one name; it has shape "
                            f"{arrays[METRIC].shape}")  # fmt: skip
        return _metric_for_targets(str(arrays[METRIC]), TARGET in arrays, file)
    output = next(iter(model.outputs().values()))
    if TARGET not in arrays:
        dims = declared_dims(output)
        integer = output.dtype is not None and output.dtype.is_integer()
        if integer or (dims is not None and len(dims) == SCORES_RANK and dims[1] != 1):
            return METRICS["agreement"]
        return METRICS["cosine"]
    kind = arrays[TARGET].dtype.kind
    if kind not in "iubf":
        raise TaskError(f"array 'target' of '{file}' holds numbers; it has type "
                        f"{arrays[TARGET].dtype}. Name a metric of texts, as wer, in 'metric', "
                        "or write the task in Python")  # fmt: skip
    return METRICS["mae" if kind == "f" else "top1"]


def _metric_for_targets(name: str, has_target: bool, file: str) -> Metric:
    metric = metric_by_name(name)
    if (metric.against == "target") != has_target:
        state = "has one" if has_target else "has none"
        raise TaskError(f"metric '{name}' compares with the {metric.against}; '{file}' {state}: "
                        "add or remove the array 'target'")  # fmt: skip
    return metric
