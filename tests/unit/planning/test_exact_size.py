"""Sizes counted without writing files are those of the files."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from packlight.compression import compress
from packlight.model import Model, save, to_bytes
from packlight.planning.routes import ROUTES
from packlight.planning.size.exact_size import ExactSizes, Simplified, least_opset, weight_clusters
from packlight.planning.size.files import Files
from packlight.records import parse_recipe
from packlight.testing.cases import apply_recipe, sample_calls
from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info

RECIPES = [
    "float16",
    "weights:8",
    "weights:4,block=32",
    "weights:4,block=100000",
    "weights:3,symmetric=false,scales=16",
    "palette:6",
    "palette:2,scaled=true",
    "sparse:5,share=0.7",
    "palette:4+float16",
]


def simplified(name):
    return compress(NETWORKS[name](), parse_recipe("simplify")).model


@pytest.mark.parametrize("name", NETWORKS)
def test_the_foreseen_size_is_that_of_the_file_to_the_byte(name):
    model = NETWORKS[name]()
    sizes = ExactSizes(Simplified(model))

    for text in RECIPES:
        recipe = parse_recipe(text)
        made = compress(model, parse_recipe(f"simplify+{text}"))
        assert sizes.apply(recipe).size == len(to_bytes(made.model)), text


def test_a_step_that_changes_nothing_raises_no_opset():
    net = Sketch(17)
    value = net.add("MatMul", "x", net.keep(net.array(12, 12, fan_in=12)))
    value = net.add("ReduceMean", value, axes=[1])  # from opset 18 on axes are an input
    model = net.model("small", [value_info("x", [1, 12])], {value: [1, 1]})
    recipe = parse_recipe("palette:6+float16")

    made = compress(model, parse_recipe("simplify+palette:6+float16"))

    assert {change.method for change in made.changes} == {"float16"}
    assert made.model.opset() == 17 < least_opset(recipe)
    assert ExactSizes(Simplified(model)).apply(recipe).size == len(to_bytes(made.model))


@pytest.mark.parametrize("name", NETWORKS)
def test_changes_and_refusals_are_those_of_the_file(name):
    model = NETWORKS[name]()
    recipe = parse_recipe("weights:4,block=32")

    applied = ExactSizes(Simplified(model)).apply(recipe)
    made = compress(model, parse_recipe("simplify+weights:4,block=32"))

    assert applied.changes == tuple(one for one in made.changes if one.method != "simplify")
    assert applied.refusals == tuple(one for one in made.refusals if one.method != "simplify")


def test_operators_that_share_a_weight_are_one_cluster():
    found = [cluster.names for cluster in weight_clusters(NETWORKS["shared-17"]().graph)]

    assert any(len(names) > 1 for names in found)
    assert len({name for names in found for name in names}) == sum(map(len, found))


def test_a_recipe_is_applied_once():
    sizes = ExactSizes(Simplified(NETWORKS["shared-17"]()))
    recipe = parse_recipe("palette:4")

    assert sizes.apply(recipe) is sizes.apply(recipe)


@pytest.mark.parametrize("seen", ["fed", "given"])
def test_alike_operators_differ_where_the_weight_of_one_is_seen_from_outside(seen):
    net, value, stored = Sketch(17), "x", list[str]()
    for _ in range(3):
        stored.append(net.keep(net.array(40, 40, fan_in=40)))
        value = net.add("MatMul", value, stored[-1])
    inputs, outputs = [value_info("x", [1, 40])], {value: [1, 40]}
    if seen == "fed":
        inputs.append(value_info(stored[2], [40, 40]))
    else:
        outputs[stored[2]] = [40, 40]
    model = net.model("seen", inputs, outputs)

    made = compress(model, parse_recipe("simplify+weights:8"))

    assert len([one for one in made.changes if one.method == "weights"]) == 2
    recipe = parse_recipe("weights:8")
    assert ExactSizes(Simplified(model)).apply(recipe).size == len(to_bytes(made.model))


@pytest.mark.parametrize("number", [np.nan, np.inf, -1e38, 1e5, -1e5, 1e-8])
def test_weights_that_methods_refuse_for_their_numbers_are_foreseen(number):
    net, value = Sketch(17), "x"
    for place in range(4):
        array = net.array(40, 40, fan_in=40)
        if place == 2:
            array[3, 5] = number
            array *= np.float32(1e-8 if number == 1e-8 else 1)
        value = net.add("MatMul", value, net.keep(array))
    model = net.model("numbers", [value_info("x", [1, 40])], {value: [1, 40]})
    sizes = ExactSizes(Simplified(model))

    for text in ("weights:8", "palette:4", "sparse", "float16"):
        recipe = parse_recipe(text)
        made = compress(model, parse_recipe(f"simplify+{text}"))
        applied = sizes.apply(recipe)
        assert applied.size == len(to_bytes(made.model)), text
        assert set(applied.refusals) == set(made.refusals), text


def test_each_weight_is_read_once_to_know_all_sizes():
    model = simplified("perceptron-21")
    sizes, watched = ExactSizes(Simplified(model)), dict[int, Watched]()
    for cluster in weight_clusters(sizes.model.graph):
        for node in cluster.nodes:
            for value in node.inputs:
                if value is not None and value.const_value is not None:
                    tensor = watched.setdefault(id(value), Watched(value.const_value))
                    value.const_value = tensor

    for text in ("palette:4", "weights:8", "sparse"):
        foreseen = sizes.apply(parse_recipe(text)).size
        assert len(to_bytes(compress(model, parse_recipe(text)).model)) == foreseen

    assert max(tensor.reads for tensor in watched.values()) == 1


class Watched:
    """A stored tensor that counts how often its numbers are read."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.reads = 0

    def __getattr__(self, name):
        if name in ("numpy", "tobytes", "__array__"):
            self.reads += 1
        return getattr(self.tensor, name)


def test_every_route_with_a_recipe_makes_a_file_of_the_planned_size(tmp_path):
    model = NETWORKS["depthwise-13"]()
    sizes = ExactSizes(Simplified(model))
    for route in ROUTES:
        recipe = route.recipe.replace(",rounding=gptq", "").replace(",weighted=true", "")
        recipe = recipe.replace("+distill", "").replace("lowrank,", "lowrank,weighted=false,")
        recipe = recipe.replace("channels,", "channels,importance=l2,refit=false,")
        if "static" not in recipe:
            full = parse_recipe(recipe)
            path = tmp_path / "made.onnx"
            made = compress(model, parse_recipe(f"simplify+{recipe}")).model
            assert save(made, path) == sizes.apply(full).size, route.name


def named_as_biases_are():
    """Convolutions without biases, and results that are called as their biases would be."""
    net, value = Sketch(17), "x"
    for name in ("first", "second"):
        weight = net.weight(8, 8, 3, 3)
        conv = helper.make_node("Conv", [value, weight], [f"{name}.out"], name=name)
        net.nodes += [conv, helper.make_node("Relu", [f"{name}.out"], [f"{name}.bias"])]
        value = f"{name}.bias"
    return net.model("named", [value_info("x", [1, 8, 8, 8])], {value: [1, 8, 4, 4]})


def told():
    """A product and a convolution whose biases are outputs of the model, too."""
    net = Sketch(17)
    biases = net.keep(net.array(8), "bias"), net.keep(net.array(64), "bias")
    value = net.add("Conv", "x", net.weight(8, 8, 3, 3), biases[0])
    value = net.add("Add", net.add("MatMul", value, net.weight(6, 64)), biases[1])
    outputs = {value: [1, 8, 6, 64], biases[0]: [8], biases[1]: [64]}
    return net.model("told", [value_info("x", [1, 8, 8, 8])], outputs)


BODIES = ("branches-16", "around-17")
"""Networks with weights in bodies, which samples may not reach."""

WITH_BIASES = {name: NETWORKS[name] for name in NETWORKS if name not in BODIES} | {
    "named": named_as_biases_are,
    "told": told,
}


def alike():
    """Operators that share a stored bias, and one whose weight is another's, too."""
    net, value = Sketch(17), "x"
    bias, twice = net.keep(net.array(40, fan_in=40)), net.keep(net.array(40, 40, fan_in=40))
    for weight in (*[net.weight(40, 40, fan_in=40) for _ in range(3)], twice, twice):
        value = net.add("Add", net.add("MatMul", value, weight), bias)
    value = net.add("Gemm", value, net.weight(40, 40, fan_in=40))
    return net.model("alike", [value_info("x", [1, 40])], {value: [1, 40]})


WITH_BIASES["alike"] = alike
LEARNING = [
    "palette:4,rounding=gptq",
    "weights:8,rounding=gptq",
    "weights:4,rounding=gptq,bias=false",
    "weights:4,range=moments",
    "palette:3,weighted=true",
    "sparse:4,weighted=true",
    "palette:4,rounding=gptq+float16",
]


@pytest.mark.parametrize("text", LEARNING)
@pytest.mark.parametrize("name", WITH_BIASES)
def test_biases_that_samples_make_are_foreseen_to_the_byte(name, text):
    model = WITH_BIASES[name]()
    told = Files(Simplified(model)).count(parse_recipe(text)).size

    made = apply_recipe(model, parse_recipe(f"simplify+{text}"), sample_calls(model))

    assert told.low == told.high == len(to_bytes(made.model))


WIDENED = [
    "palette:4,rounding=gptq+float16",
    "dynamic+weights:4,rounding=gptq",
    "dynamic+weights:8,mixed=4",
    "weights:8,mixed=3,bias=false",
    "weights:4,mixed=8",
    "palette:2,mixed=4.5",
]


@pytest.mark.parametrize("text", WIDENED)
@pytest.mark.parametrize("name", ["alike", *BODIES, "depthwise-13"])
def test_what_only_samples_say_widens_the_foreseen_size(name, text):
    model = {**WITH_BIASES, **NETWORKS}[name]()
    told = Files(Simplified(model)).count(parse_recipe(text)).size

    made = apply_recipe(model, parse_recipe(f"simplify+{text}"), sample_calls(model))

    assert told.low <= len(to_bytes(made.model)) <= told.high


@pytest.mark.parametrize(
    "text",
    [
        "simplify+static,first=float+weights:8",
        "simplify+static,last=float+weights:4",
        "simplify+static,sites={0}+palette:4,sites={1}",
    ],
)
def test_files_with_integers_in_part_and_small_weights_elsewhere_are_foreseen(text):
    model = NETWORKS["perceptron-21"]()
    plain = compress(model, parse_recipe("weights:8"))
    recipe = parse_recipe(text.format(*(change.operator for change in plain.changes)))

    made = apply_recipe(model, recipe, sample_calls(model))

    assert Files(Simplified(model)).count(recipe).size.value == len(to_bytes(made.model))


@pytest.mark.parametrize("text", ["weights:3", "palette:4", "sparse:6", "weights:8"])
def test_sizes_of_a_model_that_was_compressed_in_part_are_foreseen(text):
    net, names = Sketch(17), list[str]()
    value = "x"
    for _ in range(2):
        value = net.add("MatMul", value, net.keep(net.array(64, 64, fan_in=64)))
        names.append(net.nodes[-1].name)
    model = net.model("part", [value_info("x", [1, 64])], {value: [1, 64]})
    half = compress(model, parse_recipe(f"weights:8,where=^{names[0]}$")).model
    recipe = parse_recipe(text)

    made = compress(half, parse_recipe(f"simplify+{text}")).model

    onnx.checker.check_model(to_bytes(made))
    assert ExactSizes(Simplified(half)).apply(recipe).size == len(to_bytes(made))


def noted(proto, what):
    """A model of which something more is said, or whose names are longer."""
    graph, tensor = proto.graph, proto.graph.initializer[2]
    if what == "text of a tensor":
        tensor.doc_string = "said" * 50
    if what == "notes of a tensor":
        tensor.metadata_props.add(key="who", value="said" * 50)
    if what == "notes of a value":
        graph.value_info.append(value_info(tensor.name, [40, 40]))
        graph.value_info[-1].metadata_props.add(key="who", value="said" * 50)
    if what == "annotation":
        note = graph.quantization_annotation.add(tensor_name=tensor.name)
        note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    if what == "long names":
        tensor.name = graph.node[2].input[1] = "w99999"
    return proto


@pytest.mark.parametrize(
    "what",
    ["text of a tensor", "notes of a tensor", "notes of a value", "annotation", "long names"],
)
def test_what_is_said_of_a_weight_is_counted(what):
    net, value = Sketch(17), "x"
    for _ in range(4):
        value = net.add("MatMul", value, net.keep(net.array(40, 40, fan_in=40)))
    plain = net.model("noted", [value_info("x", [1, 40])], {value: [1, 40]})
    model = Model(ir.from_proto(noted(ir.to_proto(plain.graph), what)), "noted")
    sizes = ExactSizes(Simplified(model))

    for text in RECIPES:
        made = compress(model, parse_recipe(f"simplify+{text}"))
        foreseen = sizes.apply(parse_recipe(text)).size
        assert foreseen == len(to_bytes(made.model)), text
