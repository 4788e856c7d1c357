"""Models as other tools make them by their defaults, for packlight to say what is wrong with them.

python run_diagnose.py KIND MODEL CALIBRATION.npz OUT.onnx
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

Feeds = dict[str, NDArray[np.generic]]


def calls(path: Path) -> Iterator[Feeds]:
    """Calibration calls: arrays of all inputs, one call for each entry of the first axis."""
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    for index in range(min(map(len, kept.values()), default=0)):
        yield {name: array[index] for name, array in kept.items()}


def static(model: Path, samples: Path, out: Path) -> None:
    """ONNX Runtime's quantize_static: signed weights, a scale for each channel."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        """Calls one by one."""

        def __init__(self) -> None:
            self.rest = calls(samples)

        def get_next(self) -> Feeds | None:
            """The next call."""
            return next(self.rest, None)

    quantize_static(
        model, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
    )  # fmt: skip


def dynamic(model: Path, _: Path, out: Path) -> None:
    """ONNX Runtime's quantize_dynamic as it comes."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(model, out)


def nncf_mixed(model: Path, samples: Path, out: Path) -> None:
    """NNCF's quantize, mixed preset, fast bias correction."""
    import nncf

    found = list(calls(samples))
    made = nncf.quantize(
        onnx.load(model), nncf.Dataset(found), preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(found), fast_bias_correction=True,
    )  # fmt: skip
    onnx.save(made, out)


KINDS: Mapping[str, Callable[[Path, Path, Path], None]] = {
    "static": static,
    "dynamic": dynamic,
    "nncf": nncf_mixed,
}

if __name__ == "__main__":
    kind, *paths = sys.argv[1:]
    KINDS[kind](*map(Path, paths))
