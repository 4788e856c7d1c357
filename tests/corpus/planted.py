"""Small networks, and what a careless tool makes of them: one defect planted in each pair.

Nothing here is known to packlight: pairs of QuantizeLinear and DequantizeLinear are written as any
tool writes them, without notes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from packlight.metrics import METRICS
from packlight.model import Model
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import stream
from packlight.task import Task
from packlight.testing.cases import apply_recipe
from packlight.testing.sketch import Sketch, value_info

COUNT, IMAGE = 12, 4
EXACT = SessionOptions(arithmetic="exact", matmul_accuracy=1)
WEIGHTED = ("Conv", "MatMul", "Gemm", "GRU")


@dataclass(frozen=True)
class Net:
    """A network with the names of what defects are planted in.

    ``before`` gives what ``hidden`` holds once it went through a Relu, and ``behind`` reads it.
    """

    model: Model
    shape: tuple[int, ...]
    before: str
    hidden: str
    behind: str


def finished(net, name, shape, dims, parts):
    model = net.model(name, [value_info("x", list(shape))], dims)
    return Net(model, shape, *parts)


def last(net):
    return net.nodes[-1].name


def conv(seed=0):
    net = Sketch(17, seed)
    value = net.add("Relu", net.add("Conv", "x", net.weight(16, 3, 3, 3), net.weight(16)))
    value = net.add("Conv", value, net.weight(24, 16, 3, 3), net.weight(24), pads=[1, 1, 1, 1])
    before = last(net)
    hidden = net.add("Relu", value)
    value = net.add("Conv", hidden, net.weight(32, 24, 3, 3), net.weight(32))
    behind = last(net)
    value = net.add("Flatten", net.add("GlobalAveragePool", net.add("Relu", value)))
    value = net.add("MatMul", value, net.weight(32, 20, fan_in=32))
    return finished(net, "conv", (1, 3, 10, 10), {value: [1, 20]}, (before, hidden, behind))


def depthwise(seed=0):
    net = Sketch(17, seed)
    value = net.add("Relu", net.add("Conv", "x", net.weight(16, 3, 3, 3), net.weight(16)))
    value = net.add("Conv", value, net.weight(32, 16, 1, 1), net.weight(32))
    before = last(net)
    hidden = net.add("Relu", value)
    value = net.add("Conv", hidden, net.weight(32, 1, 3, 3), net.weight(32), group=32)
    behind = last(net)
    value = net.add("Conv", net.add("Relu", value), net.weight(32, 32, 1, 1), net.weight(32))
    value = net.add("Flatten", net.add("GlobalAveragePool", value))
    value = net.add("MatMul", value, net.weight(32, 16, fan_in=32))
    return finished(net, "depthwise", (1, 3, 10, 10), {value: [1, 16]}, (before, hidden, behind))


def perceptron(seed=0):
    net = Sketch(17, seed)
    value = net.add("MatMul", "x", net.weight(32, 64, fan_in=32))
    value = net.add("Relu", net.add("Add", value, net.weight(64, fan_in=16)))
    value = net.add("MatMul", value, net.weight(64, 64))
    before = last(net)
    hidden = net.add("Relu", net.add("Add", value, net.weight(64, fan_in=16)))
    value = net.add("MatMul", hidden, net.weight(64, 48))
    behind = last(net)
    value = net.add("MatMul", net.add("Relu", value), net.weight(48, 20, fan_in=48))
    return finished(net, "perceptron", (4, 32), {value: [4, 20]}, (before, hidden, behind))


def transformer(seed=0):
    net = Sketch(17, seed)
    value = net.add("MatMul", "x", net.weight(24, 32, fan_in=24))
    query, key, given = (net.add("MatMul", value, net.weight(32, 32)) for _ in range(3))
    scores = net.add("MatMul", query, net.add("Transpose", key, perm=[0, 2, 1]))
    scores = net.add("Mul", scores, net.keep(np.array(32**-0.5, np.float32)))
    mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), given)
    value = net.add("Add", value, net.add("MatMul", mixed, net.weight(32, 32)))
    scale, bias = net.keep(np.ones(32, np.float32)), net.weight(32)
    value = net.add("LayerNormalization", value, scale, bias)
    value = net.add("MatMul", value, net.weight(32, 64, fan_in=32))
    before = last(net)
    hidden = net.add("Relu", net.add("Add", value, net.weight(64, fan_in=16)))
    value = net.add("MatMul", hidden, net.weight(64, 32))
    behind = last(net)
    value = net.add("MatMul", value, net.weight(32, 20))
    return finished(net, "transformer", (1, 6, 24), {value: [1, 6, 20]}, (before, hidden, behind))


def recurrent(seed=0):
    net = Sketch(17, seed)
    value = net.add("Relu", net.add("MatMul", "x", net.weight(16, 32, fan_in=16)))
    value = net.add("MatMul", value, net.weight(32, 32))
    before = last(net)
    hidden = net.add("Relu", net.add("Add", value, net.weight(32, fan_in=16)))
    value = net.add("MatMul", hidden, net.weight(32, 24, fan_in=32))
    behind = last(net)
    parts = [net.weight(1, 96, 24, fan_in=24), net.weight(1, 96, 32, fan_in=32)]
    value = net.add("GRU", value, *parts, hidden_size=32)
    value = net.add("MatMul", net.add("Flatten", value), net.weight(32, 16, fan_in=32))
    return finished(net, "recurrent", (5, 1, 16), {value: [1, 16]}, (before, hidden, behind))


NETS: Mapping[str, Callable[[], Net]] = {
    "conv": conv,
    "depthwise": depthwise,
    "perceptron": perceptron,
    "transformer": transformer,
    "recurrent": recurrent,
}


def drawn(net, seed=1, scale=1.0, shift=0.0, count=COUNT):
    random = np.random.default_rng(seed)
    return [
        ({"x": (random.standard_normal(net.shape) * scale + shift).astype(np.float32)},)
        for _ in range(count)
    ]


def task_of(samples, calibration=()):
    return Task("planted", samples, METRICS["snr"], calibration=calibration)


@dataclass(frozen=True)
class Planted:
    """A pair with its data."""

    reference: Model
    variant: Model
    task: Task


@dataclass(frozen=True)
class How:
    """How a model is quantized: 8 bits for activations, 7 for weights, which no CPU saturates."""

    activations: bool = True
    ranges: Mapping[str, float] = field(default_factory=dict)
    inputs: bool = True
    weights: bool = True
    per_tensor: Sequence[str] = ()
    skipped: Sequence[str] = ()
    top: int = 63


def named(graph, name):
    return next(node for node in graph.graph if node.name == name)


def stored(graph, value):
    return np.array(graph.graph.initializers[value.name].const_value.numpy())


def store(graph, name, array):
    tensor = ir.Tensor(array, name=name)
    value = ir.Value(
        name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.graph.register_initializer(value)
    return value


def set_weight(graph, node, place, array):
    value = node.inputs[place]
    value.const_value = ir.Tensor(array.astype(np.float32), name=value.name)


def insert(graph, value, op, *others, name, **attributes):
    """Put an operator behind a value, for all that read it."""
    uses = list(value.uses())
    node = ir.node(op, [value, *others], attributes=attributes, name=name)
    node.outputs[0].name = f"{name}.out"
    maker = value.producer()
    if maker is None:
        graph.graph.insert_before(graph.graph[0], node)
    else:
        graph.graph.insert_after(maker, node)
    for reader, place in uses:
        reader.replace_input_with(place, node.outputs[0])
    return node.outputs[0]


def quantized(model, samples, how=None):
    """A model in which what weighted operators read is rounded to uint8, and weights to int8."""
    how = how or How()
    graph = model.clone()
    read = {
        str(node.inputs[0].name)
        for node in graph.graph
        if node.op_type in WEIGHTED and node.name not in how.skipped
        and (how.inputs or node.inputs[0].producer() is not None)
    }  # fmt: skip
    ranges = {name: [0.0, 0.0] for name in read}
    for values in stream(model, sorted(read), samples, {}, EXACT):
        for name, array in values.items():
            low, high = ranges[name]
            ranges[name] = [min(low, float(array.min())), max(high, float(array.max()))]
    if how.weights:
        for node in [node for node in graph.graph if node.op_type in WEIGHTED]:
            if node.name not in how.skipped:
                round_weights(graph, node, how)
    if how.activations:
        every = (v for node in graph.graph for v in (*node.inputs, *node.outputs) if v)
        values = {str(value.name): value for value in every}
        for name in sorted(read):
            factor = how.ranges.get(name, how.ranges.get("*", 1.0))
            round_value(graph, values[name], *(end * factor for end in ranges[name]))
    return Model(graph, f"{model.name}-int8")


def round_value(graph, value, low, high):
    scale = np.float32((high - low) / 255 or 1)
    zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
    grid = [
        store(graph, f"{value.name}.{part}", np.array(array))
        for part, array in (("scale", scale), ("zero", zero))
    ]
    codes = insert(graph, value, "QuantizeLinear", *grid, name=f"{value.name}.q")
    insert(graph, codes, "DequantizeLinear", *grid, name=f"{value.name}.dq")


def round_weights(graph, node, how):
    per_tensor = node.name in how.per_tensor
    for place in (1, 2) if node.op_type == "GRU" else (1,):
        value = node.inputs[place]
        if value.name not in graph.graph.initializers:
            continue
        weight = stored(graph, value)
        axis = {"Conv": 0, "GRU": 1}.get(node.op_type, weight.ndim - 1)
        others = tuple(i for i in range(weight.ndim) if per_tensor or i != axis)
        scale = np.abs(weight).max(axis=others, keepdims=True) / how.top
        scale[scale == 0] = 1
        codes = store(graph, f"{value.name}.codes", np.rint(weight / scale).astype(np.int8))
        flat = np.array(scale.reshape(()) if per_tensor else scale.reshape(-1), np.float32)
        sizes = store(graph, f"{value.name}.scale", flat)
        kind = {} if per_tensor else {"axis": axis}
        restored = ir.node(
            "DequantizeLinear", [codes, sizes], attributes=kind, name=f"{value.name}.restored"
        )
        restored.outputs[0].name = f"{value.name}.float"
        graph.graph.insert_before(node, restored)
        node.replace_input_with(place, restored.outputs[0])


def in_half(model, name):
    """A model in which one operator computes in float16."""
    graph = model.clone()
    node = named(graph, name)
    for place, value in enumerate(list(node.inputs)):
        if value.name in graph.graph.initializers:
            with np.errstate(over="ignore"):
                half = stored(graph, value).astype(np.float16)
            node.replace_input_with(place, store(graph, f"{value.name}.half", half))
        else:
            cast = ir.node("Cast", [value], attributes={"to": int(ir.DataType.FLOAT16)})
            cast.outputs[0].name = f"{value.name}.half"
            graph.graph.insert_before(node, cast)
            node.replace_input_with(place, cast.outputs[0])
    uses = list(node.outputs[0].uses())
    back = ir.node("Cast", node.outputs, attributes={"to": int(ir.DataType.FLOAT)})
    back.outputs[0].name = f"{name}.whole"
    graph.graph.insert_after(node, back)
    node.outputs[0].type = None
    for reader, place in uses:
        reader.replace_input_with(place, back.outputs[0])
    return Model(graph, f"{model.name}-half")


def scaled_by(net, factor):
    """The network whose ``before`` gives numbers so many times as large, undone right behind."""
    graph = net.model.clone()
    node = named(graph, net.before)
    set_weight(graph, node, 1, stored(graph, node.inputs[1]) * factor)
    if len(node.inputs) > 2:
        set_weight(graph, node, 2, stored(graph, node.inputs[2]) * factor)
    undo = store(graph, "undo", np.array(1 / factor, np.float32))
    insert(graph, node.outputs[0], "Mul", undo, name="undone")
    return Model(graph, net.model.name)


# the defects


def outliers(net):
    graph = net.model.clone()
    node, behind = named(graph, net.before), named(graph, net.behind)
    is_conv = node.op_type == "Conv"
    adding = node if is_conv else node.outputs[0].consumers()[0]
    place = 2 if is_conv else 1
    bias = stored(graph, adding.inputs[place])
    bias[3] += 400
    set_weight(graph, adding, place, bias)
    weight = stored(graph, behind.inputs[1])
    if is_conv and weight.shape[1] == 1:
        weight[3] = 0
    elif is_conv:
        weight[:, 3] = 0
    else:
        weight[3] = 0
    set_weight(graph, behind, 1, weight)
    reference = Model(graph, net.model.name)
    samples = drawn(net)
    return Planted(reference, quantized(reference, samples), task_of(samples, drawn(net, 2)))


def imbalance(net):
    graph = net.model.clone()
    node = named(graph, net.before)
    weight = stored(graph, node.inputs[1])
    is_conv = node.op_type == "Conv"
    width = weight.shape[0 if is_conv else 1]
    factors = 2.0 ** np.random.default_rng(5).uniform(-9, 0, width)
    factors[0] = 1
    shape = (width, 1, 1) if is_conv else (width,)
    weight = weight * (factors.reshape(-1, 1, 1, 1) if is_conv else factors)
    set_weight(graph, node, 1, weight)
    if len(node.inputs) > 2:
        set_weight(graph, node, 2, stored(graph, node.inputs[2]) * factors)
    undo = store(graph, "undo", (1 / factors).reshape(shape).astype(np.float32))
    insert(graph, node.outputs[0], "Mul", undo, name="undone")
    reference = Model(graph, net.model.name)
    how = How(per_tensor=(net.before,))
    return Planted(reference, quantized(reference, drawn(net), how), task_of(drawn(net, 3)))


def calibration(net):
    narrow = drawn(net, 2, scale=0.25)
    return Planted(net.model, quantized(net.model, narrow), task_of(drawn(net), narrow))


def clipping(net):
    samples = drawn(net, 2)
    variant = quantized(net.model, samples, How(ranges={net.hidden: 0.2}))
    return Planted(net.model, variant, task_of(drawn(net), samples))


def sensitive(net):
    graph = net.model.clone()
    offset = store(graph, "offset", np.array(1000, np.float32))
    insert(graph, graph.graph.inputs[0], "Sub", offset, name="centred")
    reference = Model(graph, net.model.name)
    samples = drawn(net, 2, shift=1000)
    variant = quantized(reference, samples, How(inputs=False)).clone()
    lowest = min(float(sample[0]["x"].min()) for sample in samples)
    highest = max(float(sample[0]["x"].max()) for sample in samples)
    round_value(variant, variant.graph.inputs[0], min(lowest, 0), highest)
    return Planted(reference, Model(variant, "rough"), task_of(drawn(net, shift=1000), samples))


def before_softmax(net):
    """A softmax over numbers far from zero, whose steps are coarse beside their differences."""
    over_channels = len(shape_of(net, net.hidden)) == IMAGE
    return far_from_zero(net, "Softmax", {"axis": 1 if over_channels else -1})


def before_norm(net):
    """A normalisation that takes out what the grid is spent on."""
    return far_from_zero(net, "LayerNormalization", {"axis": -1})


def far_from_zero(net, op, attributes):
    """The network with an operator that a common distance from zero does not matter to."""
    graph = net.model.clone()
    value = next(v for node in graph.graph for v in node.outputs if v.name == net.hidden)
    width = shape_of(net, net.hidden)[-1]
    value = insert(graph, value, "Add", store(graph, "far", np.float32([1500])), name="far")
    ones = [store(graph, "gain", np.ones(width, np.float32))] if "Norm" in op else []
    insert(graph, value, op, *ones, name="sensitive", **attributes)
    reference = Model(graph, net.model.name)
    samples = drawn(net, 2)
    variant = quantized(reference, samples).clone()
    read = named(variant, "sensitive").inputs[0]
    low, high = ends(reference, str(read.name), samples)
    round_value(variant, read, low, high)
    return Planted(reference, Model(variant, "rough"), task_of(drawn(net), samples))


def shape_of(net, name):
    calls = stream(net.model, [name], drawn(net, count=1), {}, EXACT)
    return next(values[name].shape for values in calls)


def ends(model, name, samples):
    """The lowest and the highest number of a value, and 0."""
    low = high = 0.0
    for values in stream(model, [name], samples, {}, EXACT):
        low, high = min(low, float(values[name].min())), max(high, float(values[name].max()))
    return low, high


def few_bits(net):
    rest = f"^(?!{net.before}$)"
    recipe = f"weights:8,where={rest}+weights:2,where=^{net.before}$"
    return by_recipe(net, recipe)


def by_recipe(net, recipe):
    calls = [sample[0] for sample in drawn(net, 2)]
    variant = apply_recipe(net.model, parse_recipe(recipe), calls).model
    return Planted(net.model, variant, task_of(drawn(net), drawn(net, 2)))


def overflow(net):
    reference = scaled_by(net, 1e5)
    return Planted(reference, in_half(reference, net.before), task_of(drawn(net)))


def underflow(net):
    reference = scaled_by(net, 1e-7)
    return Planted(reference, in_half(reference, net.before), task_of(drawn(net)))


def export(net):
    graph = net.model.clone()
    value = next(v for node in graph.graph for v in node.outputs if v.name == net.hidden)
    relu = value.producer()
    other = ir.node("Sigmoid", [relu.inputs[0]], name=relu.name)
    graph.graph.insert_before(relu, other)
    value.replace_all_uses_with(other.outputs[0])
    graph.graph.remove(relu, safe=True)
    other.outputs[0].name = net.hidden
    return Planted(net.model, Model(graph, "exported"), task_of(drawn(net)))


def other_weights(net):
    graph = net.model.clone()
    node = named(graph, net.behind)
    weight = stored(graph, node.inputs[1])
    noise = np.random.default_rng(4).normal(0, weight.std(), weight.shape)
    set_weight(graph, node, 1, weight + noise)
    return Planted(net.model, Model(graph, "trained"), task_of(drawn(net)))


def preprocessing(net):
    def prepared(mean, scale):
        graph = net.model.clone()
        less = store(graph, "mean", np.array(mean, np.float32))
        times = store(graph, "factor", np.array(scale, np.float32))
        value = insert(graph, graph.graph.inputs[0], "Sub", less, name="centred")
        insert(graph, value, "Mul", times, name="scaled")
        return Model(graph, net.model.name)

    samples = drawn(net, shift=0.5)
    return Planted(prepared(0.5, 1.0), prepared(0.0, 2.0), task_of(samples))


def no_preprocessing(net):
    """The variant expects inputs that are prepared outside."""
    made = preprocessing(net)
    return Planted(made.reference, net.model, made.task)


def skipped(net):
    heaviest = max(
        (node for node in net.model.graph.graph if node.op_type in WEIGHTED),
        key=lambda node: sum(v.const_value.size for v in node.inputs[1:] if v and v.const_value),
    )
    return by_recipe(net, f"weights:8,where=^(?!{heaviest.name}$)")


def tables(net):
    return by_recipe(net, "weights:8,block=4,expand=load,scales=32")


def unpacked(net):
    return by_recipe(net, "weights:8")


def fused(net):
    """Weights that 4 bits hold exactly, in blocks, and activations with outliers behind."""
    graph = net.model.clone()
    products = [n for n in graph.graph if n.op_type == "MatMul" and n.inputs[1].const_value]
    random = np.random.default_rng(6)
    for node in products:
        weight = stored(graph, node.inputs[1])
        codes = random.integers(-7, 8, weight.shape)
        codes[0] = 7
        scale = np.float32(1 / (4 * np.sqrt(len(weight))))
        set_weight(graph, node, 1, codes * scale)
    last = products[-1]
    gain = np.ones(last.inputs[1].const_value.shape[0], np.float32)
    gain[5] = 3000
    hole = stored(graph, last.inputs[1])
    hole[5] = 0
    set_weight(graph, last, 1, hole)
    uses = last.inputs[0]
    insert(graph, uses, "Mul", store(graph, "gain", gain), name="wide")
    reference = Model(graph, net.model.name)
    made = reference.clone()
    made.opset_imports[""] = 21
    for node in [n for n in made.graph if n.op_type == "MatMul" and n.inputs[1].const_value]:
        in_blocks(made, node)
    return Planted(reference, Model(made, "blocks"), task_of(drawn(net)))


def in_blocks(graph, node, block=16):
    import ml_dtypes

    value = node.inputs[1]
    weight = stored(graph, value)
    if len(weight) % block:
        return
    step = np.float32(1 / (4 * np.sqrt(len(weight))))
    codes = np.rint(weight / step).astype(ml_dtypes.int4)
    scales = np.full((len(weight) // block, weight.shape[1]), step, np.float32)
    parts = [store(graph, f"{value.name}.{name}", array)
             for name, array in (("codes", codes), ("scale", scales))]  # fmt: skip
    restored = ir.node(
        "DequantizeLinear", parts, attributes={"axis": 0, "block_size": block},
        name=f"{value.name}.restored",
    )  # fmt: skip
    restored.outputs[0].name = f"{value.name}.float"
    graph.graph.insert_before(node, restored)
    node.replace_input_with(1, restored.outputs[0])


def saturating(net):
    """Weights all near the ends of their grid, which integer kernels without VNNI cannot add."""
    graph = net.model.clone()
    random = np.random.default_rng(7)
    for node in graph.graph:
        if node.op_type in ("Conv", "MatMul") and node.inputs[1].const_value is not None:
            weight = stored(graph, node.inputs[1])
            top = np.abs(weight).max()
            signs = np.sign(weight) * top * random.choice([1.0, 126 / 127], weight.shape)
            set_weight(graph, node, 1, signs)
    reference = Model(graph, net.model.name)
    samples = drawn(net, 2)
    return Planted(
        reference, quantized(reference, samples, How(top=127)), task_of(drawn(net), samples)
    )


def pruned(net):
    """Half of each weight's numbers, the smallest, are zero, and the rest is as it was."""
    graph = net.model.clone()
    for node in [node for node in graph.graph if node.op_type in ("Conv", "MatMul", "Gemm")]:
        if node.inputs[1].const_value is not None:
            weight = stored(graph, node.inputs[1])
            kept = np.abs(weight) >= np.median(np.abs(weight))
            set_weight(graph, node, 1, weight * kept)
    return Planted(net.model, Model(graph, "pruned"), task_of(drawn(net)))


def pruned_in_codes(net):
    """The same in 8 bits."""
    zeros = pruned(net)
    variant = quantized(zeros.variant, drawn(net), How(activations=False))
    return Planted(net.model, variant, zeros.task)


DIVIDING = {"conv": 16, "depthwise": 32, "perceptron": 64, "transformer": 32, "recurrent": 32}
"""By network, a block that divides the inputs of some weights and not of the largest other."""


def indivisible(net):
    """Weights in blocks of 8 bits, and those that blocks do not divide as they were."""
    block = DIVIDING[net.model.name]
    graph = net.model.clone()
    for node in [node for node in graph.graph if node.op_type == "GRU"]:
        round_weights(graph, node, How(top=127))
    graph.opset_imports[""] = 21
    for node in [node for node in graph.graph if node.op_type in ("Conv", "MatMul")]:
        axis = 1 if node.op_type == "Conv" else 0
        weight = node.inputs[1].const_value
        if weight is not None and weight.shape[axis] % block == 0:
            in_codes(graph, node, axis, block)
    return Planted(net.model, Model(graph, "blocks"), task_of(drawn(net)))


def in_codes(graph, node, axis, block):
    value = node.inputs[1]
    weight = stored(graph, value)
    shape = list(weight.shape)
    split = [*shape[:axis], shape[axis] // block, block, *shape[axis + 1 :]]
    scale = np.abs(weight.reshape(split)).max(axis=axis + 1) / 127
    codes = np.rint(weight / np.repeat(scale, block, axis=axis)).astype(np.int8)
    arrays = {"codes": codes, "scale": scale.astype(np.float32)}
    parts = [store(graph, f"{value.name}.{name}", array) for name, array in arrays.items()]
    restored = ir.node(
        "DequantizeLinear", parts, attributes={"axis": axis, "block_size": block},
        name=f"{value.name}.restored",
    )  # fmt: skip
    restored.outputs[0].name = f"{value.name}.float"
    graph.graph.insert_before(node, restored)
    node.replace_input_with(1, restored.outputs[0])
    if not value.uses():
        graph.graph.initializers.pop(value.name)


DEFECTS: Mapping[str, tuple[str, Callable[[Net], Planted]]] = {
    "outliers": ("activation-outliers", outliers),
    "imbalance": ("channel-imbalance", imbalance),
    "calibration": ("calibration-mismatch", calibration),
    "clipping": ("clipped-ranges", clipping),
    "sensitive": ("sensitive-operators", sensitive),
    "sensitive softmax": ("sensitive-operators", before_softmax),
    "sensitive norm": ("sensitive-operators", before_norm),
    "few bits": ("not-enough-bits", few_bits),
    "overflow": ("float16-overflow", overflow),
    "underflow": ("float16-underflow", underflow),
    "another operator": ("export-mismatch", export),
    "other weights": ("export-mismatch", other_weights),
    "other preprocessing": ("preprocessing-mismatch", preprocessing),
    "no preprocessing": ("preprocessing-mismatch", no_preprocessing),
    "skipped": ("skipped-operators", skipped),
    "pruned": ("pruned-weights", pruned),
    "pruned codes": ("pruned-weights", pruned_in_codes),
    "indivisible": ("indivisible-blocks", indivisible),
    "tables": ("scales-and-tables", tables),
    "unpacked": ("unpacked-at-load", unpacked),
    "fusion": ("runtime-fusion", fused),
    "saturation": ("integer-saturation", saturating),
}
"""By name, the cause and what plants it."""


def well(net):
    samples = drawn(net, 2, count=64)
    return Planted(net.model, quantized(net.model, samples), task_of(drawn(net), samples))


HEALTHY: Mapping[str, Callable[[Net], Planted]] = {
    "simplify": lambda net: by_recipe(net, "simplify"),
    "float16": lambda net: by_recipe(net, "float16"),
    "weights": lambda net: by_recipe(net, "weights:8"),
    "palette": lambda net: by_recipe(net, "palette:8"),
    "int8": well,
}
"""What does a model no harm."""
