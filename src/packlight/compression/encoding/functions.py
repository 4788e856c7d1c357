"""Functions of the model's own: operators that restore a weight, written once and called often.

A call is one operator with the arrays of its weight; shapes are attributes of the call. ONNX
Runtime inlines the functions and computes them when the session starts.
Source: ONNX IR, "Functions", and attributes of a function's operators that refer to the call's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import count
from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[np.generic]

DOMAIN = "packlight"

CODES_PER_RUN = 8
"""Codes that are packed together: of b bits, into b bytes."""


class Body:
    """The operators of a function, one after another.

    Args:
        model: that gets the function.
        inputs: names of its inputs.

    Attributes:
        inputs: its inputs, by name.
    """

    def __init__(self, model: ir.Model, *inputs: str) -> None:
        self.model = model
        self.inputs = {name: ir.Value(name=name) for name in inputs}
        self.nodes: list[ir.Node] = []
        self.attributes: dict[str, ir.Attr] = {}
        self.constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def operator(
        self, op: str, *inputs: ir.Value, domain: str = "", **attributes: int | str | ir.Attr
    ) -> ir.Value:
        """Add an operator and return its result."""
        node = ir.node(op, inputs, attributes=attributes, domain=domain)
        node.outputs[0].name = f"v{len(self.nodes)}"
        self.nodes.append(node)
        output: ir.Value = node.outputs[0]
        return output

    def constant(self, array: Array) -> ir.Value:
        """Add a constant; the same as before where it is equal."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            value = ir.Attr("value", ir.AttributeType.TENSOR, ir.Tensor(array))
            self.constants[key] = self.operator("Constant", value=value)
        return self.constants[key]

    def integers(self, name: str) -> ir.Value:
        """An attribute of the call, a list of integers, as a tensor."""
        return self.operator("Constant", value_ints=self.attribute(name, "value_ints"))

    def attribute(self, name: str, role: str) -> ir.Attr:
        """An attribute of the call, a list of integers, as an attribute of an operator."""
        self.attributes[name] = ir.Attr(name, ir.AttributeType.INTS, None)
        return ir.RefAttr(role, name, ir.AttributeType.INTS)

    def cast(self, value: ir.Value, kind: ir.DataType) -> ir.Value:
        """Add a Cast."""
        return self.operator("Cast", value, to=int(kind))

    def floats(self, value: ir.Value) -> ir.Value:
        """Add a Cast to float32."""
        return self.cast(value, ir.DataType.FLOAT)

    def add(self, name: str, result: ir.Value) -> str:
        """Add the function to the model once, and return the name that it has there.

        A different function that has the name keeps it; this one gets a number.
        """
        imports = {"": self.model.opset_imports[""], DOMAIN: 1}
        graph = ir.Graph(
            list(self.inputs.values()), [result], nodes=self.nodes, opset_imports=imports
        )
        attributes = list(self.attributes.values())
        function = ir.Function(DOMAIN, name, graph=graph, attributes=attributes)
        signature = _signature(function)
        functions = self.model.functions
        numbers = count(2)
        while (key := function.identifier()) in functions and _signature(
            functions[key]
        ) != signature:
            function.name = f"{name}_{next(numbers)}"
        if key not in functions:
            functions[key] = function
            self.model.opset_imports[DOMAIN] = 1
        return function.name


def _signature(function: ir.Function) -> bytes:
    """Operators, inputs and outputs of a function, without its name, notes and versions.

    Other tools add shapes, and remove imports that nothing needs. No operator that is written here
    has changed its meaning from one opset to another.
    """
    proto = ir.serde.serialize_function(function)
    for node in proto.node:
        for note in ("name", "doc_string", "metadata_props"):
            node.ClearField(note)
    compared = onnx.FunctionProto(input=proto.input, output=proto.output, node=proto.node)
    compared.attribute.extend(proto.attribute)
    compared.attribute_proto.extend(proto.attribute_proto)
    serialized: bytes = compared.SerializeToString(deterministic=True)
    return serialized


UNPACK = "unpack"
"""Name of the function that unpacks unsigned codes."""


def add_unpack(model: ir.Model) -> str:
    """Add the function that maps bytes (n, bits) to codes (n, 8), once, and return its name."""
    return add_function(model, UNPACK, ("packed",), _build_unpack)


def add_unpack_signed(model: ir.Model) -> str:
    """Add the function that maps bytes (n, bits) to int8 (n, 8), once, and return its name.

    The result is codes in two's complement times 2^(8 - bits).
    """
    return add_function(model, "unpack_signed", ("packed",), _build_unpack_signed)


def _build_unpack(body: Body) -> ir.Value:
    """Write the operators of the function that unpacks unsigned codes."""
    lowest = body.constant(np.asarray(1, np.uint8))
    bits = body.operator("Shape", body.inputs["packed"], start=1)
    above = body.operator("BitShift", lowest, body.cast(bits, ir.DataType.UINT8), direction="LEFT")
    mask = body.operator("Sub", above, lowest)
    return body.operator("BitwiseAnd", _align_codes(body), mask)


def _build_unpack_signed(body: Body) -> ir.Value:
    """Write the operators of the function that unpacks signed codes.

    The highest bit of a code becomes that of a byte; its neighbors above fall out.
    """
    raised = body.operator("BitShift", _align_codes(body), _spare_bits(body), direction="LEFT")
    return body.cast(raised, ir.DataType.INT8)


def _align_codes(body: Body) -> ir.Value:
    """Bytes (n, 8) with a code in the lowest bits of each, and parts of others above it.

    Each code lies in the byte where its first bit does and that where its last bit does, which may
    be the same.
    """
    operator = body.operator
    unit = body.constant(np.array([1]))
    eight = body.constant(np.array([CODES_PER_RUN]))
    bits = operator("Shape", body.inputs["packed"], start=1)
    start = operator("Mul", body.constant(np.arange(CODES_PER_RUN)), bits)
    end = operator("Add", start, operator("Sub", bits, unit))
    return operator(
        "BitwiseOr",
        _gather_shifted(
            body, operator("Div", start, eight), operator("Mod", start, eight), "RIGHT"
        ),
        _gather_shifted(
            body,
            operator("Div", end, eight),
            operator("Mod", operator("Neg", start), eight),
            "LEFT",
        ),
    )


def _gather_shifted(
    body: Body, byte: ir.Value, by: ir.Value, direction: Literal["LEFT", "RIGHT"]
) -> ir.Value:
    """Shifted bytes of each run, one for each of its eight codes."""
    code = body.operator("Gather", body.inputs["packed"], byte, axis=1)
    return body.operator("BitShift", code, body.cast(by, ir.DataType.UINT8), direction=direction)


def _spare_bits(body: Body) -> ir.Value:
    """Bits of a byte that a packed code leaves, as uint8 (1,)."""
    bits = body.operator("Shape", body.inputs["packed"], start=1)
    spare = body.operator("Sub", body.constant(np.array([CODES_PER_RUN])), bits)
    return body.cast(spare, ir.DataType.UINT8)


def call_unpack(body: Body, packed: ir.Value, *, signed: bool = False) -> ir.Value:
    """Codes (n, 8) from bytes (n, bits); the last up to seven may be padding.

    Signed codes come times 2^(8 - bits), which ``raised_scale`` makes up for.
    """
    add = add_unpack_signed if signed else add_unpack
    return body.operator(add(body.model), packed, domain=DOMAIN)


def is_padded(shape: Sequence[int]) -> bool:
    """Tell whether codes of a weight do not fill their last run."""
    return math.prod(shape) % CODES_PER_RUN > 0


def shape_codes(body: Body, codes: ir.Value, shape: str, *, padded: bool) -> ir.Value:
    """Codes without padding, in the shape that an attribute of the call holds."""
    sizes = body.integers(shape)
    if padded:
        flat = body.operator("Reshape", codes, body.constant(np.array([-1])))
        zero = body.constant(np.array([0]))
        codes = body.operator("Slice", flat, zero, body.operator("ReduceProd", sizes))
    return body.operator("Reshape", codes, sizes)


def raised_scale(body: Body, scale: ir.Value, packed: ir.Value) -> ir.Value:
    """Scales of codes that ``unpack_signed`` gave: times 2^(bits - 8).

    The product is exact unless the result is below the normal range of float32.
    """
    bits = body.operator("Shape", packed, start=1)
    shift = body.operator(
        "Sub", body.floats(bits), body.constant(np.array([CODES_PER_RUN], np.float32))
    )
    factor = body.operator("Pow", body.constant(np.array([2], np.float32)), shift)
    return body.operator("Mul", scale, factor)


def widen_scale(body: Body) -> ir.Value:
    """Short scales as float32."""
    return body.operator("Mul", body.floats(body.inputs["half"]), body.inputs["widest"])


_WRITTEN = "packlight.functions"


def add_function(
    model: ir.Model, name: str, inputs: tuple[str, ...], build: Callable[[Body], ir.Value]
) -> str:
    """Add a function to the model once.

    Args:
        model: that gets it.
        name: distinguishes all that ``build`` depends on.
        inputs: names of its inputs.
        build: writes the operators and returns the result.

    Returns:
        The name that it has in the model; a number is appended where another function has it.
    """
    written: dict[str, str] = model.meta.setdefault(_WRITTEN, {})
    if (DOMAIN, written.get(name, ""), "") not in model.functions:
        body = Body(model, *inputs)
        written[name] = body.add(name, build(body))
    return written[name]
