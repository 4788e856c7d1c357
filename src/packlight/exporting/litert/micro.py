"""A LiteRT file for microcontrollers: what their interpreter lacks, its arena, and a C array.

Operators are those of MicroMutableOpResolver:
https://github.com/tensorflow/tflite-micro/blob/main/tensorflow/lite/micro/micro_mutable_op_resolver.h
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from packlight.profiling.activation_arena import block_size, first_gap, placed
from packlight.profiling.liveness import Buffer

MICRO_OPERATORS = frozenset(
    {
        "ABS", "ADD", "ADD_N", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_MATMUL",
        "BATCH_TO_SPACE_ND", "BROADCAST_ARGS", "BROADCAST_TO", "CAST", "CEIL", "CONCATENATION",
        "CONV_2D", "COS", "CUMSUM", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV",
        "ELU", "EQUAL", "EXP", "EXPAND_DIMS", "FILL", "FLOOR", "FLOOR_DIV", "FLOOR_MOD",
        "FULLY_CONNECTED", "GATHER", "GATHER_ND", "GREATER", "GREATER_EQUAL", "HARD_SWISH",
        "L2_NORMALIZATION", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND",
        "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D", "MEAN",
        "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "NOT_EQUAL", "PACK", "PAD", "PADV2", "PRELU",
        "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "ROUND", "RSQRT", "SELECT_V2", "SHAPE", "SIN",
        "SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT",
        "SQUARE", "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH",
        "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK", "ZEROS_LIKE",
    }
)  # fmt: skip
"""Builtin operators of LiteRT that LiteRT for Microcontrollers has kernels for."""

ALIGNMENT = 16
"""Bytes that every tensor of the arena begins at a multiple of."""

TYPE_BYTES = {
    schema.TensorType.FLOAT32: 4,
    schema.TensorType.INT32: 4,
    schema.TensorType.INT64: 8,
    schema.TensorType.INT16: 2,
    schema.TensorType.INT8: 1,
    schema.TensorType.UINT8: 1,
    schema.TensorType.BOOL: 1,
}
RESTORED_TYPES = (schema.TensorType.INT8, schema.TensorType.INT16, schema.TensorType.UINT8)
"""Types of codes that the micro interpreter's DEQUANTIZE reads."""

COLUMNS = 16
"""Bytes on a line of the C array."""


def parsed(content: bytes) -> Any:
    """The model of a file, in the classes of its schema."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def missing_operators(model: Any) -> dict[str, str]:
    """Operators of a parsed file that microcontrollers do not have, with the reason."""
    names = {
        number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()
    }
    graph = model.subgraphs[0]
    missing: dict[str, str] = {}
    for operator in graph.operators:
        name = names[model.operatorCodes[operator.opcodeIndex].builtinCode]
        if name not in MICRO_OPERATORS:
            missing[name] = f"LiteRT for Microcontrollers has no {name}"
        elif name == "DEQUANTIZE":
            codes = graph.tensors[operator.inputs[0]]
            if codes.type not in RESTORED_TYPES or len(codes.quantization.scale) > 1:
                missing["DEQUANTIZE"] = (
                    "its DEQUANTIZE reads 8-bit codes with one scale: use static,runtime=litert, "
                    "or weights:8,per=tensor"
                )
    return missing


def arena_bytes(model: Any) -> int:
    """Bytes that the tensors of a parsed file take in the arena, placed as its greedy planner does.

    The largest are placed first, of equal ones that with the higher index, each into the first gap
    that is free during its life. Source:
    tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc.
    """
    storage = list(_buffers(model))
    order = sorted(
        range(len(storage)), key=lambda i: (storage[i].size, int(storage[i].name)), reverse=True
    )
    return block_size(storage, placed(storage, order, first_gap))


def _buffers(model: Any) -> Iterator[Buffer]:
    """Every tensor of the arena; inputs are there before the first operator, at -1."""
    graph = model.subgraphs[0]
    first = dict.fromkeys(map(int, graph.inputs), -1)
    last = dict.fromkeys(map(int, graph.outputs), len(graph.operators))
    for number, operator in enumerate(graph.operators):
        for index in map(int, operator.outputs):
            first[index] = number
            last.setdefault(index, number)
        for index in map(int, operator.inputs):
            if index in first:
                last[index] = max(last.get(index, number), number)
    for index, begin in first.items():
        tensor = graph.tensors[index]
        size = int(np.prod(tensor.shape, dtype=np.int64)) * TYPE_BYTES[tensor.type]
        aligned = -(-size // ALIGNMENT) * ALIGNMENT
        yield Buffer(str(index), aligned, begin, last.get(index, begin))


def c_header(arena: int) -> str:
    """Declarations of the C array."""
    return HEADER.format(arena=arena)


def c_source(content: bytes) -> str:
    """A file's bytes as a C array."""
    lines = [
        "    " + ", ".join(f"0x{byte:02x}" for byte in content[start : start + COLUMNS]) + ","
        for start in range(0, len(content), COLUMNS)
    ]
    return SOURCE.format(bytes="\n".join(lines), size=len(content))


HEADER = """// The model for LiteRT for Microcontrollers.
#ifndef PACKLIGHT_MODEL_H_
#define PACKLIGHT_MODEL_H_

// Bytes of all tensors, placed as the interpreter's greedy planner does. The interpreter's own
// structures come on top, and scratch buffers of kernels: ask MicroInterpreter::arena_used_bytes()
// on the board. No board has run this model here.
#define MODEL_TENSOR_ARENA_BYTES {arena}

extern const unsigned char model_data[];
extern const unsigned int model_size;

#endif  // PACKLIGHT_MODEL_H_
"""

SOURCE = """#include "model.h"

alignas(16) const unsigned char model_data[] = {{
{bytes}
}};
const unsigned int model_size = {size};
"""
