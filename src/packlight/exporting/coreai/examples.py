"""Programs that run an ``.aimodel``: Python for any machine, Swift for Apple's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from packlight.exporting.formats import ExampleText, Written
from packlight.exporting.neutral import Neutral


def examples(neutral: Neutral, written: Written) -> Sequence[ExampleText]:
    """Programs that run the model of a bundle."""
    return [
        ExampleText("python", "run.py", PYTHON.format(entry=written.entry), executable=True),
        ExampleText("swift", "Run.swift", _swift(neutral, written)),
    ]


PYTHON = '''"""Run {entry} in Core AI: python run.py FOLDER, with inputs.npz in it.

Needs: pip install coreai-core numpy
"""

import asyncio
import sys
from pathlib import Path

import numpy as np
from coreai.authoring import AIModelAsset
from coreai.runtime import NDArray

NARROW = {{"int64": np.int32, "uint64": np.uint32, "float64": np.float32}}


async def run(folder):
    asset = AIModelAsset.load(Path(__file__).parents[1] / "{entry}")
    inputs = np.load(folder / "inputs.npz")
    arrays = {{}}
    for name, array in inputs.items():
        narrow = array.astype(NARROW.get(str(array.dtype), array.dtype))
        arrays[name] = NDArray(np.ascontiguousarray(narrow))
    async with asset.executable() as model:
        outputs = await model.load_function("main")(arrays)
        np.savez(folder / "outputs.npz", **{{name: outputs[name].numpy() for name in outputs}})


asyncio.run(run(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
'''


def _swift(neutral: Neutral, written: Written) -> str:
    inputs = "\n".join(
        f"//   {name}: {_kind(str(value.dtype))} {list(neutral.shape(value))}"
        for name, value in neutral.inputs.items()
    )
    outputs = ", ".join(neutral.outputs)
    names = ", ".join(f'"{name}": {_variable(name)}' for name in neutral.inputs)
    return SWIFT.format(entry=written.entry, inputs=inputs, outputs=outputs, names=names)


def _kind(dtype: str) -> str:
    return {"INT64": "Int32", "DOUBLE": "Float"}.get(dtype, dtype.title())


def _variable(name: str) -> str:
    words: list[str] = re.findall(r"[^\W_]+", name)
    first, *rest = words or ["input"]
    return first + "".join(word.title() for word in rest)


SWIFT = """// Run {entry} in Core AI. Drag it into Xcode, which compiles it for the device.
// This program was not run by packlight: no Apple device was at hand.
//
// Inputs:
{inputs}
// Outputs: {outputs}

import CoreAI
import Foundation

let url = Bundle.main.url(forResource: "model", withExtension: "aimodel")!
let model = try await AIModel(contentsOf: url)
let function = try model.loadFunction(named: "main")
// Make an NDArray of each input, with the shape that is stated above.
let results = try await function.run(inputs: [{names}])
"""
