"""Programs that run a LiteRT file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from packlight.exporting.formats import ExampleText, Written
from packlight.exporting.neutral import Neutral

PYTHON = '''"""Run {entry} in LiteRT: python run.py FOLDER, with inputs.npz in it.

Needs: pip install ai-edge-litert numpy
"""

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

model = Path(__file__).parents[1] / "{entry}"
folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
interpreter = Interpreter(model_path=str(model))
run = interpreter.get_signature_runner("serving_default")
inputs = dict(np.load(folder / "inputs.npz"))
np.savez(folder / "outputs.npz", **run(**inputs))
'''

KOTLIN = """// Run {entry} on Android. In app/build.gradle.kts:
//     implementation("com.google.ai.edge.litert:litert:1.4.0")
// and {entry} in app/src/main/assets. Nobody has compiled this here.
import android.content.Context
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.tensorflow.lite.Interpreter  // LiteRT keeps TensorFlow Lite's package

fun run(context: Context) {{
    val file = context.assets.openFd("{entry}")
    val model = FileInputStream(file.fileDescriptor).channel.map(
        FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
    val interpreter = Interpreter(model)
{inputs}
{outputs}
    interpreter.runSignature(inputs, outputs, "serving_default")
}}
"""


def examples(neutral: Neutral, written: Written) -> Sequence[ExampleText]:
    """Python that runs here, and Kotlin for Android."""
    python = PYTHON.format(entry=written.entry)
    kotlin = KOTLIN.format(
        entry=written.entry,
        inputs=_buffers("inputs", neutral, neutral.inputs),
        outputs=_buffers("outputs", neutral, neutral.outputs),
    )
    return (
        ExampleText("python", "run.py", python, executable=True),
        ExampleText("kotlin", "Run.kt", kotlin),
    )


def _buffers(name: str, neutral: Neutral, values: Mapping[str, ir.Value]) -> str:
    lines = [f"    val {name} = mapOf<String, Any>("]
    for key, value in values.items():
        shape = neutral.shape(value)
        count = " * ".join(str(n) for n in (*shape, np.dtype(neutral.dtype(value)).itemsize))
        buffer = f"ByteBuffer.allocateDirect({count}).order(ByteOrder.nativeOrder())"
        lines.append(f'        "{key}" to {buffer},')
    return "\n".join([*lines, "    )"])
