"""Programs that run an ExecuTorch file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import onnx_ir as ir

from packlight.exporting.formats import ExampleText, Written
from packlight.exporting.neutral import Neutral

PYTHON = '''"""Run {entry} in ExecuTorch: python run.py FOLDER, with inputs.npz in it.

Needs: pip install executorch torch numpy
"""

import sys
from pathlib import Path

import numpy as np
import torch
from executorch.runtime import Runtime

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
path = Path(__file__).parents[1] / "{entry}"
program = Runtime.get().load_program(path)
inputs = np.load(folder / "inputs.npz")
tensors = [torch.from_numpy(inputs[name]) for name in {inputs}]
results = program.load_method("forward").execute(tensors)
outputs = zip({outputs}, results)
np.savez(folder / "outputs.npz", **{{name: tensor.numpy() for name, tensor in outputs}})
'''

KOTLIN = """// Run {entry} on Android. In app/build.gradle.kts:
//     implementation("org.pytorch:executorch-android:{version}")
// {entry} must be a file on the device. Nobody has compiled this here.
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

fun run(path: String{parameters}): Array<EValue> =
    Module.load(path).forward({arguments})
"""

CPP = """// Run {entry} in C++, linked with executorch, extension_module_static, extension_tensor,
// xnnpack_backend and portable_ops_lib. Nobody has compiled this here.
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

using executorch::extension::Module;
using executorch::extension::from_blob;

auto run(Module& module{pointers}) {{
{tensors}
    return module.forward({{{names}}});
}}
"""

KOTLIN_ARRAYS = {
    ir.DataType.FLOAT: "FloatArray",
    ir.DataType.INT64: "LongArray",
    ir.DataType.INT32: "IntArray",
    ir.DataType.INT8: "ByteArray",
    ir.DataType.UINT8: "ByteArray",
    ir.DataType.DOUBLE: "DoubleArray",
}
CPP_TYPES = {
    ir.DataType.FLOAT: ("float", "Float"),
    ir.DataType.INT64: ("int64_t", "Long"),
    ir.DataType.INT32: ("int32_t", "Int"),
    ir.DataType.INT8: ("int8_t", "Char"),
    ir.DataType.UINT8: ("uint8_t", "Byte"),
    ir.DataType.DOUBLE: ("double", "Double"),
    ir.DataType.BOOL: ("bool", "Bool"),
}


def examples(neutral: Neutral, written: Written) -> Sequence[ExampleText]:
    """Python that runs here, and text in Kotlin and C++ where these have the types of inputs."""
    python = PYTHON.format(
        entry=written.entry, inputs=list(neutral.inputs), outputs=list(neutral.outputs)
    )
    texts = [ExampleText("python", "run.py", python, executable=True)]
    kinds = {value.dtype for value in neutral.inputs.values()}
    if kinds <= set(KOTLIN_ARRAYS):
        texts.append(ExampleText("kotlin", "Run.kt", _kotlin(neutral, written)))
    if kinds <= set(CPP_TYPES):
        texts.append(ExampleText("cpp", "run.cpp", _cpp(neutral, written)))
    return texts


def _kotlin(neutral: Neutral, written: Written) -> str:
    parameters = []
    arguments = []
    for number, value in enumerate(neutral.inputs.values()):
        assert value.dtype is not None
        shape = ", ".join(str(size) for size in neutral.shape(value))
        parameters.append(f", input{number}: {KOTLIN_ARRAYS[value.dtype]}")
        arguments.append(f"EValue.from(Tensor.fromBlob(input{number}, longArrayOf({shape})))")
    return KOTLIN.format(
        entry=written.entry,
        version=version("executorch"),
        parameters="".join(parameters),
        arguments=", ".join(arguments),
    )


def _cpp(neutral: Neutral, written: Written) -> str:
    pointers = []
    tensors = []
    for number, value in enumerate(neutral.inputs.values()):
        assert value.dtype is not None
        plain, scalar = CPP_TYPES[value.dtype]
        shape = ", ".join(str(size) for size in neutral.shape(value))
        pointers.append(f", {plain}* input{number}")
        tensors.append(
            f"    auto tensor{number} = from_blob(input{number}, {{{shape}}}, "
            f"executorch::aten::ScalarType::{scalar});"
        )
    names = ", ".join(f"tensor{number}" for number in range(len(tensors)))
    return CPP.format(
        entry=written.entry, pointers="".join(pointers), tensors="\n".join(tensors), names=names
    )
