"""Operators that become one kernel: what ONNX Runtime fuses before it runs a graph.

Only what is sure to happen on a CPU is here; what it sometimes fuses stays apart, so that
predictions err to the slow side. ``capabilities`` has the operators that it computes in integers.
Source: ONNX Runtime, docs "Graph Optimizations in ONNX Runtime", and its optimized graphs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import Literal

import onnx_ir as ir

from packlight.backends.capabilities import STORED, Grid, capabilities, effective_attributes
from packlight.backends.onnxruntime import qdq
from packlight.backends.onnxruntime.operator_kernels import IMAGE, MATRIX
from packlight.model import producer_of
from packlight.profiling.counts import names
from packlight.profiling.shape_values import sizes_of

SCALES = names("Mul Div")
ACTIVATIONS = names("Relu Clip LeakyRelu Sigmoid Tanh HardSigmoid")
"""Activations that a product in floats computes while it writes its result."""

PRODUCTS = names("MatMul Gemm")

TURN = 2
"""Last dimensions that a product of matrices can read in the other order."""


class Fusion:
    """The operators of a graph as kernels.

    Args:
        active: operators that run, in their order.
        constant: values that are the same at every run.
        fixed: whether the model itself says all shapes.

    Attributes:
        gone: operators that have no kernel of their own.
        integer: operators that compute in codes.
        named: type of operator that a fused group becomes, by its last operator.
        read: further values that a kernel reads for what is fused into it.
        last: what a kernel gives in the end, where that is not its own output.
        codes: what integer kernels with several outputs give.
    """

    def __init__(
        self, active: list[ir.Node], constant: Collection[ir.Value], *, fixed: bool
    ) -> None:
        self.active = active
        self.constant = constant
        self.fixed = fixed
        self.running = {node: position for position, node in enumerate(active)}
        self.gone: set[ir.Node] = set()
        self.integer: set[ir.Node] = set()
        self.named: dict[ir.Node, str] = {}
        self.read: dict[ir.Node, list[ir.Value]] = {}
        self.last: dict[ir.Node, ir.Value] = {}
        self.codes: set[ir.Value] = set()

    def apply(self, *rules: Rule) -> Fusion:
        """Apply rules one after another to every operator that still has a kernel."""
        for rule in rules:
            for node in self.active:
                if node not in self.gone:
                    rule(self, node)
        return self

    def stored(self, value: ir.Value | None) -> bool:
        """Check that a value is the same at every run, restored codes of a weight too."""
        if value is None or value in self.constant:
            return True
        maker = value.producer()
        return (
            maker is not None and maker.op_type == qdq.RESTORE and maker.inputs[0] in self.constant
        )

    def computed(self, node: ir.Node) -> list[ir.Value]:
        """Inputs of an operator that are not stored."""
        return [value for value in node.inputs if value is not None and not self.stored(value)]

    def only_reader(self, value: ir.Value) -> ir.Node | None:
        """The one operator that reads a value, if it is one."""
        readers = {use.node for use in value.uses()}
        if value.is_graph_output() or len(readers) != 1:
            return None
        reader = readers.pop()
        if reader not in self.running or reader in self.gone:
            return None
        return reader

    def sole_maker(self, value: ir.Value | None, *ops: str) -> ir.Node | None:
        """The operator that makes a value with a single reader, if it is one of these types."""
        if value is None or self.only_reader(value) is None:
            return None
        maker = value.producer()
        if maker is None or maker.op_type not in ops or maker in self.gone:
            return None
        return maker

    def source(self, value: ir.Value) -> ir.Value:
        """The value that a kernel reads: its codes where they are not restored."""
        maker = value.producer()
        if maker is not None and maker in self.gone and maker.op_type == qdq.RESTORE:
            return maker.inputs[0] or value
        return value

    def result(self, node: ir.Node) -> ir.Value:
        """The value that a kernel gives."""
        return self.last.get(node, node.outputs[0])

    def absorb(self, head: ir.Node, reader: ir.Node) -> None:
        """Let a kernel compute the operator behind it as well."""
        self.gone.add(reader)
        before = self.result(head)
        self.last[head] = reader.outputs[0]
        self.read.setdefault(head, []).extend(
            value for value in self.computed(reader) if value is not before
        )

    def replace(self, op_type: str, last: ir.Node, *inner: ir.Node) -> None:
        """Let a group of operators be one kernel, in the position of its last."""
        self.gone.update(inner)
        self.named[last] = op_type

    def kernels(self) -> Iterator[ir.Node]:
        """Operators that have a kernel of their own, in order."""
        return (node for node in self.active if node not in self.gone)


def fuse(active: list[ir.Node], constant: Collection[ir.Value], *, fixed: bool) -> Fusion:
    """Fuse the operators of a graph into kernels; arguments as for ``Fusion``."""
    return Fusion(active, constant, fixed=fixed).apply(*RULES)


def fuse_qdq(active: list[ir.Node], constant: Collection[ir.Value], *, fixed: bool) -> Fusion:
    """Fuse only Q/DQ, and what they let compute in integers."""
    return Fusion(active, constant, fixed=fixed).apply(*QDQ_RULES)


def same_shapes(node: ir.Node) -> bool:
    """Check that all inputs of an operator have one shape."""
    return len({sizes_of(value) for value in node.inputs if value is not None}) == 1


def _is_factor(fusion: Fusion, node: ir.Node) -> bool:
    if node.op_type not in SCALES:
        return False
    stored = [sizes_of(value) for value in node.inputs if value and fusion.stored(value)]
    return len(stored) == 1 and stored[0] is not None and math.prod(stored[0]) == 1


def _integer_kernel(fusion: Fusion, node: ir.Node) -> None:
    """Compute between codes and codes in codes."""
    runtime = capabilities("onnxruntime")
    op_type = str(node.op_type)
    outputs = [value for value in node.outputs if value.uses() or value.is_graph_output()]
    reads = [_read_grid(fusion, value) for value in qdq.data_inputs(runtime, node)]
    followers: list[ir.Node] = []
    bias = stored_bias(fusion, node)
    if bias is not None:  # ONNX Runtime makes a Gemm of both before it looks for codes
        op_type = "Gemm"
        outputs = [bias.outputs[0]]
        reads.append(STORED)
        followers.append(bias)
    ends = [_quantized(fusion, value) for value in outputs]
    if bias is not None and not _is_matrix(node.outputs[0]) and ends[0][1:]:
        return  # the Gemm's result is reshaped before the clipping, so no codes reach it
    writes = [qdq.grid_of(end[-1]) if end else None for end in ends]
    if not runtime.fuses_qdq(op_type, reads, writes, effective_attributes(node)):
        return
    fusion.integer.add(node)
    if len(ends) > 1:
        for end in ends:
            fusion.gone.update(end)
            fusion.codes.add(end[-1].outputs[0])
    elif ends and ends[0]:
        for follower in (*followers, *ends[0]):
            fusion.absorb(node, follower)


def _read_grid(fusion: Fusion, value: ir.Value) -> Grid | Literal["stored"] | None:
    maker = value.producer()
    if maker is not None and maker.op_type == qdq.RESTORE:
        return qdq.grid_of(maker)
    return STORED if fusion.stored(value) else None


def _quantized(fusion: Fusion, value: ir.Value) -> list[ir.Node]:
    """The QuantizeLinear that alone reads a value, behind a clipping that its grid does."""
    runtime = capabilities("onnxruntime")
    reader = fusion.only_reader(value)
    clipping: list[ir.Node] = []
    if reader is not None and reader.op_type in runtime.clipping:
        clipping.append(reader)
        reader = fusion.only_reader(reader.outputs[0])
    if reader is None or reader.op_type != qdq.QUANTIZE:
        return []
    if not all(qdq.clips_by_grid(runtime, node, reader) for node in clipping):
        return []
    return [*clipping, reader]


def stored_bias(fusion: Fusion, node: ir.Node) -> ir.Node | None:
    """The sum that adds a stored bias to a product with a stored matrix, which makes it a Gemm.

    Where the model says all shapes, that is done for more than two dimensions too.
    """
    if node.op_type != "MatMul" or not fusion.stored(node.inputs[1]):
        return None
    reader = fusion.only_reader(node.outputs[0])
    if reader is None or reader.op_type != "Add" or len(fusion.computed(reader)) != 1:
        return None
    bias = [sizes_of(value) for value in reader.inputs if value and fusion.stored(value)]
    if bias[0] is None or len(bias[0]) != 1 or not (fusion.fixed or _is_matrix(node.outputs[0])):
        return None
    return reader


def _is_matrix(value: ir.Value) -> bool:
    return len(sizes_of(value) or ()) == MATRIX


def _unread_floats(fusion: Fusion, node: ir.Node) -> None:
    if node.op_type == qdq.RESTORE:
        readers = {use.node for use in node.outputs[0].uses()}
        if readers and readers <= fusion.integer and not node.outputs[0].is_graph_output():
            fusion.gone.add(node)


def _clipped_by_grid(fusion: Fusion, node: ir.Node) -> None:
    runtime = capabilities("onnxruntime")
    if node.op_type in runtime.clipping and node not in fusion.integer:
        reader = fusion.only_reader(node.outputs[0])
        if reader and reader.op_type == qdq.QUANTIZE and qdq.clips_by_grid(runtime, node, reader):
            fusion.gone.add(node)


def _blocked_product(fusion: Fusion, node: ir.Node) -> None:
    if node.op_type not in PRODUCTS or node in fusion.integer:
        return
    maker = fusion.sole_maker(node.inputs[1], qdq.RESTORE)
    if maker is not None and fusion.stored(node.inputs[1]) and qdq.fuses_dequantize(node, maker):
        fusion.gone.add(maker)
        fusion.named[node] = capabilities("onnxruntime").blocked_products.kernel


def _convolution(fusion: Fusion, node: ir.Node) -> None:
    """Absorb what follows a convolution: a normalization, scale or shift, a sum, an activation."""
    if node.op_type not in ("Conv", "FusedConv") or node in fusion.integer:
        return
    while (reader := fusion.only_reader(fusion.result(node))) is not None:
        op = reader.op_type
        folded = len(fusion.computed(reader)) == 1
        if op in ACTIVATIONS and (folded or op == "Clip"):
            fusion.absorb(node, reader)
            return
        shift = op in ("Add", "Mul", "Sub") and folded and _is_channels(reader, fusion)
        is_sum = op == "Add" and not folded and same_shapes(reader)
        joined = is_sum and _is_ready(reader, node, fusion)
        if not (shift or joined or (op == "BatchNormalization" and folded)):
            return
        fusion.absorb(node, reader)


def _is_ready(join: ir.Node, node: ir.Node, fusion: Fusion) -> bool:
    makers = [value.producer() for value in join.inputs if value is not None]
    positions = [fusion.running.get(maker, -1) for maker in makers if maker is not None]
    result = fusion.result(node).producer()
    return max(positions, default=-1) <= max(fusion.running[node], fusion.running.get(result, -1))  # type: ignore[arg-type]


def _is_channels(node: ir.Node, fusion: Fusion) -> bool:
    stored = [sizes_of(v) or () for v in node.inputs if v is not None and fusion.stored(v)]
    output = sizes_of(node.outputs[0]) or ()
    sizes = {1, *output[1:2]} if len(output) >= IMAGE else {1}
    return all(math.prod(shape) in sizes for shape in stored)


def _matrix_product(fusion: Fusion, node: ir.Node) -> None:
    """A product of two matrices takes up a stored bias and an activation."""
    if node.op_type not in PRODUCTS or node in fusion.integer:
        return
    flat = _is_matrix(node.outputs[0])
    reader = fusion.only_reader(fusion.result(node))
    bias = stored_bias(fusion, node)
    if bias is not None:
        fusion.absorb(node, bias)
        reader = fusion.only_reader(fusion.result(node))
        flat = True
    gemm = node.op_type == "Gemm" or fusion.result(node) is not node.outputs[0]
    if flat and gemm and reader is not None and reader.op_type in ACTIVATIONS:
        fusion.absorb(node, reader)


def _scaled_product(fusion: Fusion, node: ir.Node) -> None:
    """A product of computed matrices takes up a stored factor, and reads them turned."""
    if node.op_type != "MatMul" or node in fusion.integer:
        return
    for value in fusion.computed(node):
        maker = fusion.sole_maker(value, "Transpose", *SCALES)
        if maker is not None and (turns(maker) or _is_factor(fusion, maker)):
            fusion.gone.add(maker)
    reader = fusion.only_reader(fusion.result(node))
    if reader is not None and reader.op_type in SCALES and _is_factor(fusion, reader):
        fusion.absorb(node, reader)


def turns(node: ir.Node) -> bool:
    """Check that an operator exchanges the last two dimensions and no others."""
    order = list(node.attributes.get_ints("perm", []))
    positions = list(range(len(order)))
    return len(order) >= TURN and order == [*positions[:-2], positions[-1], positions[-2]]


def _skip_norm(fusion: Fusion, node: ir.Node) -> None:
    """A normalization adds the residual before it, and that residual's bias."""
    if node.op_type != "LayerNormalization":
        return
    added = fusion.sole_maker(node.inputs[0], "Add")
    if added is None or len(fusion.computed(added)) != MATRIX or not same_shapes(added):
        return
    shifts = [fusion.sole_maker(value, "Add") for value in added.inputs]
    fusion.read[node] = [value for value in added.inputs[1:] if value is not None]
    fusion.gone.add(added)
    biases = [shift for shift in shifts if shift and len(fusion.computed(shift)) == 1]
    fusion.gone.update(biases[:1])


def _gelu(fusion: Fusion, node: ir.Node) -> None:
    """Half of x (1 + erf(x / sqrt 2)), where x comes first into the product."""
    if node.op_type != "Erf":
        return
    before = fusion.sole_maker(node.inputs[0], *SCALES)
    plus = fusion.only_reader(node.outputs[0])
    if before is None or plus is None or plus.op_type != "Add":
        return
    inner = fusion.only_reader(plus.outputs[0])
    if inner is None:
        return
    source = fusion.computed(before)
    outer = fusion.only_reader(inner.outputs[0])
    products = (fusion.sole_maker(value, "Mul") for value in inner.inputs)
    halved = next((node for node in products if node not in (None, plus)), None)
    if inner.op_type == "Mul" and halved is not None and fusion.computed(halved) == source:
        fusion.replace("Gelu", inner, before, node, plus, halved)
    elif inner.op_type == "Mul" and outer is not None and set(source) <= set(inner.inputs) and (
        _is_factor(fusion, outer)
    ):  # fmt: skip
        fusion.replace("Gelu", outer, before, node, plus, inner)


def _swish(fusion: Fusion, node: ir.Node) -> None:
    """x times the sigmoid of x, or of a multiple of x."""
    if node.op_type != "Mul" or not same_shapes(node):
        return
    for value, gated in (node.inputs, node.inputs[::-1]):
        gate = fusion.sole_maker(value, "Sigmoid")
        if gate is None:
            continue
        scale = fusion.sole_maker(gate.inputs[0], "Mul")
        if gate.inputs[0] is gated:
            fusion.replace("QuickGelu", node, gate)
        elif scale is not None and gated in fusion.computed(scale):
            fusion.replace("QuickGelu", node, gate, scale)


def _layer_norm(fusion: Fusion, node: ir.Node) -> None:
    """A normalization written out: (x - mean) / sqrt(mean((x - mean)^2) + epsilon), scaled."""
    if node.op_type != "Div" or len(node.inputs) != MATRIX:
        return
    root = fusion.sole_maker(node.inputs[1], "Sqrt")
    plus = root and fusion.sole_maker(root.inputs[0], "Add")
    variance = fusion.computed(plus) if plus else []
    mean = fusion.sole_maker(variance[0], "ReduceMean") if len(variance) == 1 else None
    square = mean and fusion.sole_maker(mean.inputs[0], "Pow", "Mul")
    centered = producer_of(node.inputs[0])
    if root is None or plus is None or mean is None or square is None or centered is None:
        return
    if centered.op_type != "Sub" or node.inputs[0] not in square.inputs:
        return
    first = fusion.sole_maker(centered.inputs[1], "ReduceMean")
    if first is None:
        return
    fusion.replace("LayerNormalization", node, centered, first, square, mean, plus, root)
    for op in ("Mul", "Add"):
        reader = fusion.only_reader(fusion.result(node))
        if reader is not None and reader.op_type == op and len(fusion.computed(reader)) == 1:
            fusion.absorb(node, reader)


Rule = Callable[[Fusion, ir.Node], None]
QDQ_RULES: tuple[Rule, ...] = (_integer_kernel, _unread_floats, _clipped_by_grid)
RULES: tuple[Rule, ...] = (
    *QDQ_RULES, _blocked_product, _gelu, _layer_norm, _swish, _convolution, _matrix_product,
    _scaled_product, _skip_norm,
)  # fmt: skip
"""In the order in which they apply."""
