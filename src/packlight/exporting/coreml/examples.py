"""Programs that run an ``.mlpackage``: Swift, and Python on a Mac."""

from __future__ import annotations

from collections.abc import Sequence

from packlight.exporting.coreml.conversion import ports_of
from packlight.exporting.formats import ExampleText, Written
from packlight.exporting.neutral import Neutral


def examples(neutral: Neutral, written: Written) -> Sequence[ExampleText]:
    """Swift for any Apple device, and Python for a Mac; neither runs here."""
    inputs, outputs = ports_of(neutral)
    fields = [
        f"    MLMultiArray(shape: {list(neutral.shape(value))}, dataType: {_kind(value)})"
        for value in neutral.inputs.values()
    ]
    arrays = "\n".join(
        f"let {_variable(new)} = try{field}"
        for new, field in zip(inputs.values(), fields, strict=True)
    )
    named = ", ".join(f'"{new}": {_variable(new)}' for new in inputs.values())
    results = "\n".join(
        f'print(result.featureValue(for: "{new}")!.multiArrayValue!)' for new in outputs.values()
    )
    swift = SWIFT.format(entry=written.entry, arrays=arrays, named=named, results=results)
    return (
        ExampleText("python", "run.py", PYTHON.format(entry=written.entry)),
        ExampleText("swift", "Run.swift", swift),
    )


def _kind(value: object) -> str:
    dtype = str(getattr(value, "dtype", ""))
    return ".float32" if "FLOAT" in dtype else ".int32"


def _variable(name: str) -> str:
    return f"{name}Array"


PYTHON = '''"""Run {entry} on a Mac: python run.py FOLDER, with inputs.npz in it.

Needs: pip install coremltools numpy. Nobody has run this here: it needs macOS 15.
"""

import sys
from pathlib import Path

import coremltools as ct
import numpy as np

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
model = ct.models.MLModel(str(Path(__file__).parents[1] / "{entry}"))
inputs = dict(np.load(folder / "inputs.npz"))
np.savez(folder / "outputs.npz", **model.predict(inputs))
'''

SWIFT = """// Run {entry} on iOS 18, macOS 15 or later. Drag it into Xcode, which compiles it.
// This program was not run by packlight: no Apple device was at hand.

import CoreML
import Foundation

let url = Bundle.main.url(forResource: "model", withExtension: "mlmodelc")!
let model = try MLModel(contentsOf: url)
{arrays}
let inputs = try MLDictionaryFeatureProvider(dictionary: [{named}])
let result = try model.prediction(from: inputs)
{results}
"""
