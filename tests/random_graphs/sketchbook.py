"""Draw one graph operator by operator: values with known shapes, stored weights, and odd names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.generic]
Shape = tuple[int, ...]

ODD_SUFFIXES = (
    ".codes", ".scale", ".zero", ".half", ".weight", ".bias", ".0", ".out", "_folded", "_shifted",
    "_", ".restored", ".dequantize", ".quantize",
)  # fmt: skip
"""Endings of the names that packlight itself writes, so that they may collide."""

ODD_STEMS = ("w0000", "w0001", "größe", "重み", "a b", "val_0", "node", "x.y/z:0")

STYLES = ("plain", "slashes", "odd", "numbers")


@dataclass(frozen=True)
class Value:
    """A value of the graph.

    Attributes:
        name: of the value.
        shape: that it has for the inputs drawn.
        dtype: NumPy's name of its type.
        stored: whether it is an initializer or the result of a Constant.
    """

    name: str
    shape: Shape
    dtype: str = "float32"
    stored: bool = False

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclass
class Shared:
    """State that a graph and its bodies have in common.

    Attributes:
        random: source of every choice.
        opset: of the standard operators.
        style: of names, one of ``STYLES``.
        taken: names of values that are used.
        functions: the model's own functions, by name.
        named: whether operators have names.
    """

    random: np.random.Generator
    opset: int
    style: str
    taken: set[str] = field(default_factory=set)
    functions: dict[str, onnx.FunctionProto] = field(default_factory=dict)
    named: bool = True


class Sketchbook:
    """A graph, or the body of an operator, in the making.

    Args:
        shared: state that bodies share with the graph around them.
        outer: the graph around a body.
    """

    def __init__(self, shared: Shared, outer: Sketchbook | None = None) -> None:
        self.shared = shared
        self.outer = outer
        self.random = shared.random
        self.opset = shared.opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.values: list[Value] = []
        self.weights: list[Value] = []
        self.read: set[str] = set()

    # Choices

    def chance(self, probability: float) -> bool:
        """Draw true with a probability."""
        return bool(self.random.random() < probability)

    def choose(self, *options: object) -> object:
        """Draw one of several options."""
        return options[int(self.random.integers(len(options)))]

    def number(self, *options: int) -> int:
        """Draw one of several numbers."""
        return options[int(self.random.integers(len(options)))]

    def width(self) -> int:
        """Draw a number of channels."""
        return self.number(4, 6, 8, 12, 16, 17, 24, 32, 40)

    def value(self, accepts: Callable[[Value], bool]) -> Value | None:
        """Draw a computed value that is accepted, most often the newest; None where there is none.

        Values of the graph around a body are drawn too.
        """
        candidates = [value for value in self.visible() if not value.stored and accepts(value)]
        if not candidates:
            return None
        if self.chance(0.65):
            return candidates[-1]
        return candidates[int(self.random.integers(len(candidates)))]

    def visible(self) -> Iterator[Value]:
        """List values that operators here may read, the newest last."""
        if self.outer is not None:
            yield from self.outer.visible()
        yield from self.values

    def floating(self, *ranks: int) -> Value | None:
        """Draw a computed float32 value of one of these ranks, or of any."""
        return self.value(
            lambda v: v.dtype == "float32" and (not ranks or v.rank in ranks) and v.rank > 0
        )

    # Names

    def fresh(self, stem: str) -> str:
        """Make a name that no value has, in the style of the model."""
        number = len(self.shared.taken)
        names = {
            "plain": f"{stem}_{number}",
            "slashes": f"/block.{number % 3}/{stem}/{stem.capitalize()}_output_{number}",
            "numbers": str(number),
            "odd": f"{ODD_STEMS[number % len(ODD_STEMS)]}{ODD_SUFFIXES[number % 13]}",
        }
        name = names[self.shared.style]
        if self.chance(0.15):
            name += str(self.choose(*ODD_SUFFIXES))
        while name in self.shared.taken:
            name += str(self.choose(*ODD_SUFFIXES, "1", "2"))
        self.shared.taken.add(name)
        return name

    def node_name(self, stem: str) -> str:
        """Make the name of an operator: unique, or empty. ONNX Runtime refuses repeated ones."""
        if not self.shared.named:
            return ""
        return self.fresh(stem)

    # Stored values

    def array(self, shape: Sequence[int], fan_in: int = 0) -> NDArray[np.float32]:
        """Draw weights of one of several kinds, of variance about 1 / ``fan_in``."""
        fan = fan_in or max(1, math.prod(shape[1:]))
        array = self.random.standard_normal(tuple(shape)) / math.sqrt(fan)
        kind = self.number(0, 0, 0, 0, 1, 2, 3, 4, 5, 6)
        if kind == 1:
            array = np.rint(array * 3)
        if kind == 2:
            array = self.random.uniform(-1, 1, array.shape) / math.sqrt(fan)
        if kind == 3:
            array *= self.random.random(array.shape) < 0.5
        if kind in (4, 5) and array.ndim:
            axis = int(self.random.integers(array.ndim))
            channels = self.random.random(array.shape[axis]) < 0.25
            where = (slice(None),) * axis + (channels,)
            array[where] *= 0.0 if kind == 4 else 10.0 ** self.number(-8, -3, 1, 2)
        if kind == 6:
            array = np.abs(array)
        return np.asarray(array, np.float32)

    def store(self, array: Array, stem: str = "weight") -> Value:
        """Store an array as an initializer or, at times, in a Constant."""
        name = self.fresh(stem)
        tensor = numpy_helper.from_array(array, name)
        if array.dtype == np.float32 and array.size and self.chance(0.1):
            tensor = helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.ravel())
        value = Value(name, array.shape, array.dtype.name, stored=True)
        fits = self.opset >= 9 or array.dtype.kind == "f"
        if fits and self.chance(0.15):
            self.nodes.append(self.constant(array, tensor, name))
        else:
            self.initializers.append(tensor)
        return value

    def constant(self, array: Array, tensor: onnx.TensorProto, name: str) -> onnx.NodeProto:
        """Write a Constant in one of the forms that fit an array."""
        forms = ["value"]
        short = array.ndim <= 1 and self.opset >= 12
        if short and array.dtype == np.float32:
            forms.append("value_floats" if array.ndim else "value_float")
        if short and array.dtype == np.int64:
            forms.append("value_ints" if array.ndim else "value_int")
        attribute: object = tensor
        form = str(self.choose(*forms))
        if form != "value":
            attribute = array.tolist()
        return helper.make_node(
            "Constant", [], [name], self.node_name("Constant"), **{form: attribute}
        )

    def weight(self, *shape: int, fan_in: int = 0) -> str:
        """Store weights, or draw some of this shape that are there; gives their name.

        Weights may be hidden behind an operator that reads nothing else.
        """
        same = [weight for weight in self.shared_weights() if weight.shape == shape]
        if same and self.chance(0.3):
            return same[int(self.random.integers(len(same)))].name
        array = self.array(shape, fan_in)
        if self.chance(0.9) or len(shape) < 2:
            value = self.store(array)
            self.weights.append(value)
            return value.name
        return self.hidden(array)

    def shared_weights(self) -> Iterator[Value]:
        """List weights of this graph and of those around it."""
        if self.outer is not None:
            yield from self.outer.shared_weights()
        yield from self.weights

    def hidden(self, array: NDArray[np.float32]) -> str:
        """Store weights behind an operator: moved, copied or in half precision."""
        kind = self.number(0, 1, 3) if self.opset < 9 else self.number(0, 1, 2, 3)
        if kind == 0:
            order = list(self.random.permutation(array.ndim))
            turned = np.ascontiguousarray(array.transpose(np.argsort(order)))
            stored = self.store(turned)
            return self.add(
                "Transpose", [stored.name], array.shape, perm=list(map(int, order))
            ).name
        if kind == 1:
            stored = self.store(array)
            return self.add("Identity", [stored.name], array.shape).name
        if kind == 2:
            stored = self.store(array.astype(np.float16))
            return self.add("Cast", [stored.name], array.shape, to=TensorProto.FLOAT).name
        stored = self.store(array.reshape(-1))
        shape = self.integers(array.shape)
        return self.add("Reshape", [stored.name, shape], array.shape).name

    def integers(self, numbers: Sequence[int]) -> str:
        """Store a list of whole numbers; gives its name."""
        return self.store(np.array(numbers, np.int64), "ints").name

    def scalar(self, number: float, *shape: int) -> str:
        """Store one number; gives its name."""
        return self.store(np.full(shape, number, np.float32), "scalar").name

    # Operators

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        dtype: str = "float32",
        domain: str = "",
        **attributes: object,
    ) -> Value:
        """Add an operator with one result."""
        results = self.add_several(operator, inputs, [shape], dtype, domain, **attributes)
        return results[0]

    def add_several(
        self,
        operator: str,
        inputs: Sequence[str],
        shapes: Sequence[Sequence[int] | None],
        dtype: str = "float32",
        domain: str = "",
        **attributes: object,
    ) -> list[Value]:
        """Add an operator with several results; a shape that is None leaves out its result."""
        names = ["" if shape is None else self.fresh(operator.lower()) for shape in shapes]
        self.nodes.append(
            helper.make_node(
                operator, list(inputs), names, self.node_name(operator), domain=domain, **attributes
            )
        )
        self.note_read(inputs)
        return [
            Value(name, tuple(map(int, shape)), dtype)
            for name, shape in zip(names, shapes, strict=True)
            if shape is not None
        ]

    def note_read(self, names: Sequence[str]) -> None:
        """Remember that values have a reader, in the graphs around as well."""
        self.read.update(names)
        if self.outer is not None:
            self.outer.note_read(names)

    def offer(self, value: Value) -> Value:
        """Let later operators read a value."""
        self.values.append(value)
        return value

    def body(self) -> Sketchbook:
        """Begin the body of an operator."""
        return Sketchbook(self.shared, self)

    def graph(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[Value]
    ) -> onnx.GraphProto:
        """Write the graph of a body."""
        results = [
            helper.make_tensor_value_info(v.name, elem_type(v.dtype), v.shape) for v in outputs
        ]
        return helper.make_graph(self.nodes, name, list(inputs), results, self.initializers)


def elem_type(dtype: str) -> int:
    """Number of a NumPy type in ONNX."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
