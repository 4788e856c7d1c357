"""Programs in bundles that show how to run an exported file.

Those in Python read arrays from ``inputs.npz`` and write ``outputs.npz``, so that they can be
executed before a bundle is handed over.
"""

from __future__ import annotations

from packlight.exporting.formats import ExampleText


def onnxruntime_example(entry: str) -> ExampleText:
    """Run a file in ONNX Runtime."""
    text = f'''"""Run {entry} in ONNX Runtime: python run.py FOLDER, with inputs.npz in it.

Needs: pip install onnxruntime numpy
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

model = Path(__file__).parents[1] / "{entry}"
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
inputs = dict(np.load(folder / "inputs.npz"))
names = [output.name for output in session.get_outputs()]
np.savez(folder / "outputs.npz", **dict(zip(names, session.run(names, inputs))))
'''
    return ExampleText("python", "run.py", text, executable=True)
