"""Core ML: written directly, read again, and evaluated, for its runtime is on Apple's devices."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import cast, get_args

import numpy as np

from packlight.errors import InputError
from packlight.exporting.bookkeeping import exported_weights
from packlight.exporting.coreml.conversion import ports_of, write_package
from packlight.exporting.coreml.evaluation.program import Evaluation
from packlight.exporting.coreml.examples import examples
from packlight.exporting.coreml.lowering import Precision
from packlight.exporting.coreml.reading import read_contents
from packlight.exporting.formats import Array, Feeds, Format, WriteOptions, Written, refuse
from packlight.exporting.keeping import describe, is_bias, reader_types
from packlight.exporting.neutral import Neutral
from packlight.exporting.weights import FloatWeight, StoredWeight
from packlight.records.export import ExportRefusal, FloatForm, Reread, WeightForm

ENTRY = "model.mlpackage"
FLOAT_BITS = {"float16": 16, "float32": 32}
BYTE_BITS = 8


def _write(neutral: Neutral, folder: Path, options: WriteOptions) -> Written:
    """Write ``model.mlpackage``.

    Raises:
        ExportError: Core ML lacks an operator, or an operator needs a weight's codes as floats.
        InputError: an option is unknown.
    """
    precision = _precision(options.options)
    package = write_package(neutral, folder / ENTRY, precision)
    lost = [
        weight
        for weight in neutral.encoded.values()
        if _is_coded(weight) and weight.name not in package.weights
    ]
    if lost:
        raise refuse("coreml", [_refusal(neutral, weight) for weight in lost])
    bits = FLOAT_BITS[precision]

    def stored(weight: StoredWeight) -> tuple[WeightForm, int]:
        floats = FloatForm(bits), weight.size * bits // BYTE_BITS
        return package.weights.get(weight.name, floats)

    weights = exported_weights(neutral, options.source or neutral, stored, options.expanded)
    names = {**package.inputs, **package.outputs}
    return Written(
        entry=ENTRY,
        weights=weights,
        renamed={name: new for name, new in names.items() if name != new},
    )


def _precision(options: Mapping[str, str]) -> Precision:
    unknown = sorted(set(options) - {"precision"})
    precision = options.get("precision", "float16")
    if unknown or precision not in get_args(Precision):
        raise InputError(
            "Core ML takes the option precision=float16 or precision=float32; got "
            + ", ".join(f"{name}={text}" for name, text in options.items())
        )
    return cast("Precision", precision)


def _is_coded(weight: StoredWeight) -> bool:
    return not isinstance(weight.encoding, FloatWeight) and not is_bias(weight)


def _refusal(neutral: Neutral, weight: StoredWeight) -> ExportRefusal:
    operators = reader_types(neutral, weight.name)
    return ExportRefusal(
        format="coreml",
        subject=weight.name,
        operator=", ".join(operators),
        form=weight.form(),
        reason=f"{' or '.join(operators)} needs its {describe(weight.form())} as floats",
    )


def _reread(folder: Path, neutral: Neutral, written: Written) -> Reread:
    contents = read_contents(folder / written.entry)
    inputs, outputs = ports_of(neutral)
    return Reread(
        weights=contents.numbers,
        bytes=contents.bytes,
        inputs={name: new for name, new in inputs.items() if new in contents.inputs},
        outputs={name: new for name, new in outputs.items() if new in contents.outputs},
    )


class PackageRunner:
    """A package that is evaluated.

    Args:
        path: of the package.
        neutral: that it was written from.
        half: whether every result of 16 bits is rounded to them.
    """

    def __init__(self, path: Path, neutral: Neutral, *, half: bool = True) -> None:
        self.neutral = neutral
        self.evaluation = Evaluation(path, half=half)
        self.inputs, self.outputs = ports_of(neutral)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call, in the types that they have in ONNX."""
        read = {new: _narrow(np.asarray(feeds[name])) for name, new in self.inputs.items()}
        results = self.evaluation.run(read)
        outputs = {}
        for name, value in self.neutral.outputs.items():
            assert value.dtype is not None
            outputs[name] = results[self.outputs[name]].astype(value.dtype.numpy())
        return outputs

    def close(self) -> None:
        """Release it."""
        del self.evaluation


def _narrow(array: Array) -> Array:
    """Integers and truth values in the 32 bits that Core ML takes."""
    if array.dtype in (np.int64, np.bool_):
        return array.astype(np.int32)
    return array


def _open(folder: Path, neutral: Neutral, written: Written) -> PackageRunner:
    return PackageRunner(folder / written.entry, neutral)


def _open_in_float32(folder: Path, neutral: Neutral, written: Written) -> PackageRunner:
    return PackageRunner(folder / written.entry, neutral, half=False)


def _runtime() -> str:
    return (
        f"NumPy {np.__version__}, which evaluated the package as coremltools "
        f"{version('coremltools')} reads it, each result rounded to its type"
    )


FORMAT = Format(
    name="coreml",
    write=_write,
    reread=_reread,
    open=_open,
    runtime=_runtime,
    required=40.0,
    required_static=20.0,
    evaluated=True,
    other_ways={"the same, in float32 throughout": _open_in_float32},
    examples=examples,
    unmeasured=(
        "no Apple device has run this package: it was read again and evaluated here",
        "latency on an Apple device",
    ),
)
