"""coremltools: palettes and linear grids, by ``coremltools.optimize.coreml`` on an ML program.

coremltools reads no ONNX, so each weight enters a program of its own operator, as the converter
from PyTorch would place it (a product with a stored matrix is a ``linear``). The program is
float16, its default; so is all that is not compressed, and it is counted so. Nothing needs a Mac:
the program is never run.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

from collections.abc import Callable

import coremltools as ct
import numpy as np
import onnx
from coremltools.converters.mil import Builder
from coremltools.converters.mil.mil import Function, Operation, Program, types
from coremltools.optimize import coreml as optimize
from job import Answer, Job, Weight, answer, packed, replace, weights
from numpy.typing import NDArray
from onnx import numpy_helper

Floats = NDArray[np.float32]
HALF = 2
READERS = ("linear", "conv", "gather")
PARTS = {"indices": 0, "data": 0, "lut": 16, "scale": 16, "offset": 8}
"""Bits of one element of what makes up a weight; 0 where they are those of the codes."""

TARGET = ct.target.iOS18
CONFIGS = {"palette": optimize.OpPalettizerConfig, "linear": optimize.OpLinearQuantizerConfig}
APPLY = {"palette": optimize.palettize_weights, "linear": optimize.linear_quantize_weights}


def is_linear(weight: Weight) -> bool:
    """Whether the weight multiplies vectors: stored (in, out), but by a transposing Gemm."""
    return weight.node.op_type in ("MatMul", "Gemm") and weight.array.ndim == 2


def transposed(weight: Weight) -> bool:
    """Whether ``linear`` wants it the other way round, (out, in)."""
    flags = {attribute.name: attribute.i for attribute in weight.node.attribute}
    return is_linear(weight) and not flags.get("transB", 0)


def placed(weight: Weight, name: str) -> tuple[tuple[int, ...], Callable[[object], object], str]:
    """Shape of the input, the operator that reads the weight, and the port it reads it at."""
    array = weight.array.T if transposed(weight) else weight.array
    array = np.ascontiguousarray(array, np.float32)
    kind = weight.node.op_type
    if is_linear(weight):
        return (1, array.shape[1]), lambda x: Builder.linear(x=x, weight=array, name=name), "weight"
    if kind == "Conv":
        groups = next((a.i for a in weight.node.attribute if a.name == "group"), 1)
        shape = (1, array.shape[1] * groups, *(max(8, side) for side in array.shape[2:]))
        return shape, lambda x: Builder.conv(x=x, weight=array, groups=groups, name=name), "weight"
    if kind == "Gather":
        return (1,), lambda x: Builder.gather(
            x=array, indices=Builder.cast(x=x, dtype="int32"), axis=0, name=name
        ), "x"  # fmt: skip
    flat = array.reshape(-1, array.shape[-1])
    return (1, flat.shape[1]), lambda x: Builder.linear(x=x, weight=flat, name=name), "weight"


def program(found: list[Weight]) -> tuple[ct.models.MLModel, dict[str, str]]:
    """A model with an operator for each weight, and the port at which each reads it."""
    plans = {f"op{i}": placed(weight, f"op{i}") for i, weight in enumerate(found)}
    inputs = {f"x{name}": Builder.placeholder(shape, dtype=types.fp32)
              for name, (shape, _, _) in plans.items()}  # fmt: skip
    made = Program()
    with Function(inputs, opset_version=TARGET) as function:
        function.set_outputs([
            build(function.inputs[f"x{name}"]) for name, (_, build, _) in plans.items()
        ])  # fmt: skip
        made.add_function("main", function)
    model = ct.convert(made, source="milinternal", convert_to="mlprogram", skip_model_load=True,
                       minimum_deployment_target=TARGET)  # fmt: skip
    return model, {name: port for name, (_, _, port) in plans.items()}


def stored_bytes(operation: Operation, bits: int) -> int:
    """Bytes of codes, tables and scales of one weight; 0 where it is not compressed."""
    total, parts = 0, [operation]
    while parts:
        part = parts.pop()
        if not part.op_type.startswith("constexpr"):
            continue
        for name, value in part.inputs.items():
            if name not in PARTS or value is None:
                continue
            if value.op.op_type.startswith("constexpr"):
                parts.append(value.op)
                continue
            array, width = value.val, PARTS[name] or bits
            if part is not operation and name == "data":
                array, width = distinct(array), PARTS["lut"]
            total += packed(np.size(array), width)
    return total


def distinct(tables: NDArray[np.generic]) -> NDArray[np.generic]:
    """Tables (..., entries, 1) each once: with a scale they are repeated for every channel."""
    return np.unique(tables.reshape(-1, tables.shape[-2]), axis=0)


def readers(model: ct.models.MLModel) -> dict[str, Operation]:
    """The operators that read weights, by the name that they were built with."""
    operations = model._mil_program.functions["main"].operations
    return {op.name.split("_")[0]: op for op in operations if op.op_type in READERS}


def compress(job: Job) -> Answer:
    """Compress every weight as one configuration says; the rest becomes float16."""
    setting = dict(job.setting)
    kind, bits = str(setting.pop("kind")), int(str(setting.pop("bits")))
    model = job.model()
    found = [weight for weight in weights(model) if weight.array.ndim <= 4]
    source, ports = program(found)
    width = {"nbits": bits} if kind == "palette" else {"dtype": f"int{bits}"}
    config = optimize.OptimizationConfig(global_config=CONFIGS[kind](**width, **setting))
    shrunk = APPLY[kind](source, config)
    small, dense = readers(shrunk), readers(optimize.decompress_weights(shrunk))
    arrays: dict[str, Floats] = {}
    stored: dict[str, int] = {}
    left = []
    for index, weight in enumerate(found):
        name = f"op{index}"
        size = stored_bytes(small[name].inputs[ports[name]].op, bits)
        if not size:
            left.append(weight.name)
            continue
        stored[weight.name] = size
        values = np.asarray(dense[name].inputs[ports[name]].val, np.float32)
        turned = values.T if transposed(weight) else values
        arrays[weight.name] = turned.reshape(weight.array.shape)
    replace(model, arrays)
    stored |= halved(model, set(stored))
    return Answer(model, stored, (f"left in float16: {', '.join(left) or 'none'}",))


def halved(model: onnx.ModelProto, done: set[str]) -> dict[str, int]:
    """Round all other stored floats to float16, in place; their bytes."""
    rest = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer
            if t.data_type == onnx.TensorProto.FLOAT and t.name not in done}  # fmt: skip
    replace(model, {name: array.astype(np.float16) for name, array in rest.items()})
    return {name: array.size * HALF for name, array in rest.items()}


if __name__ == "__main__":
    answer(compress)
