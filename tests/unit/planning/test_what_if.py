"""Predictions for choices per operator."""

import io
import re

import pytest
from rich.console import Console

import packlight
from packlight.cli.plan import refusal_parts
from packlight.compression import compress
from packlight.errors import RecipeError
from packlight.model import file_size, load, to_bytes
from packlight.planning.routes import Choice, parse_choice
from packlight.records import parse_recipe
from packlight.testing.cases import apply_recipe, sample_calls
from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info
from packlight.zoo import model_path


@pytest.fixture(scope="module")
def model():
    return load(str(model_path("fashion")))


@pytest.fixture(scope="module")
def what_if(model):
    found = packlight.what_if(model, "pixel-8")
    found.prepare(["weights:8", "palette:4", "weights:4", "static"])
    return found


def size_of(model, recipe):
    return file_size(compress(model, parse_recipe(f"simplify+{recipe}")).model.graph)


@pytest.mark.parametrize("step", ["weights:8", "palette:4", "weights:4"])
def test_one_step_for_all_is_the_recipe_to_the_byte(model, what_if, step):
    assert what_if.choose([Choice(".", step)])["size"].value == size_of(model, step)


def test_some_operators_are_the_recipe_with_where(model, what_if):
    found = what_if.choose([Choice("stage2", "palette:4")])

    assert found["size"].value == size_of(model, "palette:4,where=stage2")


def test_later_choices_go_before_earlier_ones(model, what_if):
    found = what_if.choose([Choice(".", "palette:4"), Choice("stage2", "weights:8")])

    assert found["size"].value == size_of(model, "weights:8,where=stage2+palette:4")


def test_what_is_kept_stays(model, what_if):
    nothing = what_if.choose([Choice(".", "weights:8"), Choice(".", "keep")])

    assert nothing["size"].value == size_of(model, "simplify")
    assert nothing["latency_ratio"].value == 1


@pytest.mark.slow
def test_integers_are_an_estimate_that_holds_the_file(what_if):
    from packlight.zoo import task

    found = what_if.choose([Choice(".", "static")])
    made = packlight.compress("zoo:fashion", "simplify+static+weights:8", task=task("fashion"))

    assert found["size"].how == "estimated"
    assert found["size"].low <= made.after <= found["size"].high
    assert found["latency_ratio"].value < 1


def test_operators_that_integer_methods_refuse_stay_as_they_are(what_if):
    choices = [Choice(".", "dynamic")]
    found = what_if.choose(choices)
    made = packlight.compress("zoo:fashion", "simplify+dynamic")

    changed = [change for change in made.variant.changes if change.method == "dynamic"]
    assert what_if.changed_count(choices) == len(changed) < len(made.variant.refusals)
    assert found["size"].low <= made.after <= found["size"].high
    assert found["size"].high < found["size"].low + 3000


def test_what_integers_leave_in_float_the_next_step_of_a_choice_takes(what_if):
    found = what_if.choose([Choice(".", "dynamic+palette:4")])
    made = packlight.compress("zoo:fashion", "simplify+dynamic+palette:4")

    assert found["size"].low <= made.after <= found["size"].high


@pytest.mark.parametrize(
    "recipe",
    [
        "dynamic",
        *(pytest.param(r, marks=pytest.mark.slow) for r in ("static", "static,bias=false")),
    ],
)
def test_the_size_of_integer_models_is_known_to_the_byte(what_if, recipe):
    from packlight.zoo import task

    size = what_if.planner.files.count(parse_recipe(recipe)).size
    made = packlight.compress("zoo:fashion", f"simplify+{recipe}", task=task("fashion"))

    assert (size.value, size.how) == (made.after, "counted")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("conv_3=weights:4", Choice("conv_3", "weights:4")),
        ("/blocks.*/=static", Choice("/blocks.*/", "static")),
        ("a=b=palette:4,group=8", Choice("a=b", "palette:4,group=8")),
        ("conv=keep", Choice("conv", "keep")),
    ],
)
def test_choices_are_read(text, choice):
    assert parse_choice(text) == choice


@pytest.mark.parametrize("text", ["conv", "conv=", "conv=nothing:4", "(=weights:4", "c=weights:9"])
def test_choices_that_say_nothing_are_refused(text):
    with pytest.raises(RecipeError):
        parse_choice(text)


def layers(shapes, opset=17):
    """Products one after the other, by the names of their weights."""
    sketch = Sketch(opset)
    value = "x"
    for rows, columns in shapes:
        value = sketch.add("MatMul", value, sketch.weight(rows, columns))
    return sketch.model("m", [value_info("x", (1, shapes[0][0]))], {value: (1, shapes[-1][1])})


def test_a_step_that_changes_nothing_raises_no_opset():
    """Blocks of 4 bits need opset 21; where they gain nothing the file stays as it was."""
    model = layers([(300, 1), (1, 256), (256, 30)])
    names = [n.name for n in model.graph.graph if n.op_type == "MatMul"]
    found = packlight.what_if(model, "pixel-8")
    first, second, _ = (re.escape(name) for name in names)
    choices = [Choice(f"^{first}$", "weights:8"), Choice(f"^{second}$", "weights:4,block=16")]

    chosen = found.choose(choices)
    refused = found.refusals(choices)

    written = f"weights:8,where=^{first}$"
    assert [left.operator for left in refused] == [names[1]]
    assert refused[0].reason
    assert chosen["size"].value == size_of(model, written)


@pytest.mark.parametrize("name", ["around-17", "branches-16"])
def test_choices_reach_weights_in_bodies(name):
    model = NETWORKS[name]()
    found = packlight.what_if(model, "pixel-8")

    chosen = found.choose([Choice(".", "palette:4")])
    made = compress(model, parse_recipe("simplify+palette:4"))

    changed = {change.operator for change in made.changes if change.method == "palette"}
    assert found.changed_count([Choice(".", "palette:4")]) == len(changed)
    assert chosen["size"].value == len(to_bytes(made.model))


def test_what_choices_leave_as_it_is_reaches_the_plan():
    model = layers([(300, 1), (1, 256)])
    last = [n.name for n in model.graph.graph if n.op_type == "MatMul"][-1]

    plan = packlight.plan(
        model, device="pixel-8", choices=[".=weights:8", f"{last}=weights:4,block=16"]
    )

    assert plan.options[0].name == "as chosen"
    assert [left.operator for left in plan.options[0].refusals] == [last]
    console = Console(width=200, file=io.StringIO())
    for part in refusal_parts(plan):
        console.print(part)
    assert last in console.file.getvalue()
    reason = plan.options[0].refusals[0].reason
    assert reason in console.file.getvalue()


@pytest.mark.parametrize(
    "step", ["weights:4,rounding=gptq", "weights:4,rounding=gptq,bias=false", "weights:4,mixed=4"]
)
def test_biases_that_samples_make_are_foreseen_for_choices(step):
    sketch, names, value = Sketch(21), list[str](), "x"
    for _ in range(3):
        value = sketch.add("Conv", value, sketch.weight(16, 16, 3, 3), pads=[1] * 4)
        names.append(sketch.nodes[-1].name)
    model = sketch.model("m", [value_info("x", (1, 16, 6, 6))], {value: (1, 16, 6, 6)})
    where = f"{names[0]}|{names[2]}"

    found = packlight.what_if(model, "pixel-8").choose([Choice(where, step)])["size"]

    recipe = parse_recipe(f"simplify+{step},where={where}")
    made = len(to_bytes(apply_recipe(model, recipe, sample_calls(model)).model))
    assert found.low <= made <= found.high
    assert (found.how == "counted") == ("mixed" not in step)
