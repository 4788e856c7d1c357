"""Codes of 1 to 7 bits packed into bytes, and the function that unpacks them in the graph.

Eight codes of b bits fill b bytes, the first code in the lowest bits. The graph takes each code out
of the two bytes it may lie in by Gather, BitShift and BitwiseAnd, in a model-local function that is
written once for each width; ONNX Runtime inlines it and computes it when the session starts.
Source: the ONNX operators BitShift-11, BitwiseAnd-18 and BitwiseOr-18; ONNX IR, local functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

DOMAIN = "packlight"
EIGHT = 8
WIDTHS = range(1, 8)


def packed_bytes(count: int, bits: int) -> int:
    """Bytes of so many codes.

    >>> packed_bytes(9, 3)
    6
    """
    return -(-count // EIGHT) * bits


def pack(codes: Bytes, bits: int) -> Bytes:
    """Codes (any shape), each below 2^bits, as bytes (count / 8 rounded up, bits)."""
    flat = codes.ravel()
    padded = np.zeros(-(-flat.size // EIGHT) * EIGHT, np.uint8)
    padded[: flat.size] = flat
    planes = np.unpackbits(padded[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(planes.reshape(-1, EIGHT * bits), axis=1, bitorder="little")


def unpack(packed: Bytes, bits: int, count: int) -> Bytes:
    """The first ``count`` codes that ``pack`` packed."""
    planes = np.unpackbits(packed, axis=1, bitorder="little").reshape(-1, bits)
    return np.packbits(planes, axis=1, bitorder="little")[:count, 0]


def unpack_name(bits: int) -> str:
    """Name of the function for a width."""
    return f"unpack{bits}"


def add_unpack(model: ir.Model, bits: int) -> None:
    """Give the model the function for a width, once; it maps bytes (n, bits) to codes (8 n)."""
    if has_function(model, unpack_name(bits)):
        return
    packed, body = ir.Value(name="packed"), Body(tables(bits))
    value, operator = body.constants, body.operator
    low = operator("Gather", packed, value["first"], axis=1)
    low = operator("BitShift", low, value["right"], direction="RIGHT")
    high = operator("Gather", packed, value["second"], axis=1)
    high = operator("BitShift", high, value["left"], direction="LEFT")
    high = operator("BitwiseAnd", high, value["crossing"])
    both = operator("BitwiseAnd", operator("BitwiseOr", low, high), value["mask"])
    codes = operator("Reshape", both, value["flat"])
    body.add_to(model, unpack_name(bits), [packed], codes)


def has_function(model: ir.Model, name: str) -> bool:
    """Whether the model has a function of this name already."""
    return (DOMAIN, name, "") in model.functions


class Body:
    """The operators of a function of the model's own, one after another.

    Args:
        arrays: its constants by name.

    Attributes:
        constants: their values by name.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self.nodes = [constant_node(name, array) for name, array in arrays.items()]
        self.constants = dict(zip(arrays, (node.outputs[0] for node in self.nodes), strict=True))

    def operator(self, op: str, *inputs: ir.Value, **attributes: int | str) -> ir.Value:
        """Add an operator; gives its result."""
        node = ir.node(op, inputs, attributes=attributes)
        node.outputs[0].name = f"v{len(self.nodes)}"
        self.nodes.append(node)
        output: ir.Value = node.outputs[0]
        return output

    def add_to(
        self, model: ir.Model, name: str, inputs: Sequence[ir.Value], result: ir.Value
    ) -> None:
        """Give the model the function."""
        imports = {"": model.opset_imports[""]}
        graph = ir.Graph(inputs, [result], nodes=self.nodes, opset_imports=imports)
        model.functions[DOMAIN, name, ""] = ir.Function(DOMAIN, name, graph=graph, attributes=[])
        model.opset_imports[DOMAIN] = 1


def constant_node(name: str, array: NDArray[np.generic]) -> ir.Node:
    """A Constant whose output has this name."""
    tensor = ir.Tensor(array, name=name)
    node = ir.node("Constant", [], attributes={"value": tensor})
    node.outputs[0].name = name
    return node


def tables(bits: int) -> dict[str, NDArray[np.generic]]:
    """Where each of eight codes lies: its bytes, shifts, and the bits it has in the second byte."""
    start = np.arange(EIGHT) * bits
    first, right = start // EIGHT, start % EIGHT
    over = right + bits - EIGHT
    crosses = over > 0
    mask = (1 << bits) - 1
    return {
        "first": first,
        "second": np.where(crosses, first + 1, first),
        "right": right.astype(np.uint8),
        "left": np.where(crosses, EIGHT - right, 0).astype(np.uint8),
        "crossing": np.where(crosses, mask, 0).astype(np.uint8),
        "mask": np.asarray(mask, np.uint8),
        "flat": np.array([-1], np.int64),
    }
