"""A template of a task in Python for one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packlight.metrics.fidelity import is_float
from packlight.model.model import Model
from packlight.task.declared import declared_dims, declared_dtype, type_name

if TYPE_CHECKING:
    import onnx_ir as ir

FREE_AXIS_SIZE = 16
"""Size for a free axis that is not the batch."""

TEXT = '''"""How good {model} is, for packlight: a task to fill in.

It runs as it is: RANDOM inputs, judged by how near a variant's outputs are to the original's.
That says little about real use. Replace what is marked with 1, 2, 3 by your own data. Run it with
    packlight evaluate MODEL --task {file}:task

The model takes
{inputs}
and gives
{outputs}
"""

import numpy as np

from packlight.metrics import METRICS
from packlight.task import LazySamples, Task

SAMPLES, CALIBRATION = 100, 100


def sample(index: int) -> tuple[dict[str, np.ndarray], ...]:
    """1. One call of the model by input name, with a batch of 1, as it will be deployed.

    RANDOM: read sample ``index`` of your data here. It is made whenever it is asked for, so it need
    not fit in memory with the others, but the same index must always give the same. A model that
    carries a state from call to call gets several calls here, and ``state`` below.
    """
    rng = np.random.default_rng(index)
    feeds = {{
{feeds}
    }}
    return (feeds,)


def task() -> Task:
    return Task(
        name="{name} on random data",
        samples=LazySamples(SAMPLES, sample),
        # 2. With labels, another metric: METRICS["top1"], "f1", "mae", "map50", "wer", ..., or
        #    packlight.metrics.per_sample(function, name), and the label of every sample:
        #    targets=[label(index) for index in range(SAMPLES)],
        metric=METRICS["{metric}"],
        # groups={{"light": ["day", "night", ...]}},  # a name for each sample
        # 3. Other samples, none of them above: methods look at these to choose ranges.
        calibration=LazySamples(CALIBRATION, lambda index: sample(SAMPLES + index)),
        # state={{"output": "input it feeds in the next call"}},
    )
'''


def init_task(model: Model, file: str = "task.py") -> str:
    """Python source of a task for this model on random data, with marks on the parts to replace."""
    output = next(iter(model.outputs().values()))
    dims = declared_dims(output)
    scores = dims is not None and len(dims) == 2 and dims[1] != 1  # noqa: PLR2004  batch, classes
    return TEXT.format(
        model=_quotable_text(model.name),
        name=_quotable_text(model.name),
        file=file,
        inputs="\n".join(_value_line(value) for value in model.inputs().values()),
        outputs="\n".join(_value_line(value) for value in model.outputs().values()),
        feeds="\n".join(_feed_line(value) for value in model.inputs().values()),
        metric="agreement" if scores else "cosine",
    )


def _value_line(value: ir.Value) -> str:
    shape = "any shape"
    if value.shape is not None:
        shape = str(list(map(str, value.shape)))
    return _quotable_text(f"    {value.name}: {type_name(value)} {shape}")


def _quotable_text(text: str) -> str:
    return "".join(char for char in text if char.isprintable() and char not in "'\"\\")


def _feed_line(value: ir.Value) -> str:
    dims = declared_dims(value) or ()
    shape = [FREE_AXIS_SIZE if dim is None else dim for dim in dims]
    if dims and dims[0] is None:
        shape[0] = 1
    return f"        {str(value.name)!r}: {_random_array(value, tuple(shape))},"


def _random_array(value: ir.Value, shape: tuple[int, ...]) -> str:
    dtype = declared_dtype(value)
    if dtype.kind in "OU":
        return f'np.full({shape}, "text", dtype=object)'
    if is_float(dtype):
        return f"np.asarray(rng.standard_normal({shape}), dtype=np.{dtype.name})"
    return f"np.asarray(rng.integers(0, 2, {shape}), dtype=np.{dtype.name})"
