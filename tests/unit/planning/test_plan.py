"""Plans: can it ship, how, what does it cost, what will it hurt, and why."""

from dataclasses import replace

import onnx
import pytest

import packlight
from packlight.compression import compress
from packlight.compression.calibration_data import uses_data
from packlight.errors import DeviceError, InputError, RecipeError
from packlight.model import file_size, load, save
from packlight.model.size import skeleton
from packlight.planning.routes import ROUTES
from packlight.records import Plan, from_json, parse_recipe, to_json
from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info
from packlight.zoo import model_path

FASHION = str(model_path("fashion"))


@pytest.fixture(scope="module")
def tight():
    return packlight.plan("zoo:fashion", ["size<=300kB", "drop<=1%"], "raspberry-pi-5")


def test_every_route_is_predicted_and_judged(tight):
    assert [option.name for option in tight.options] == [route.name for route in ROUTES]
    for option in tight.options:
        assert set(option.predicted) >= {"size", "download", "latency", "peak_memory", "energy"}
        assert option.meets["size<=300kB"] in ("yes", "no", "unclear")
        for cost in option.predicted.values():
            assert cost.low <= cost.value <= cost.high
        assert option.damage.source


def test_sizes_are_exact_and_the_rest_is_an_estimate(tight):
    model = compress(load(FASHION), parse_recipe("simplify")).model
    for option in tight.options:
        size = option.predicted["size"]
        assert size.how == "counted"
        if not uses_data(parse_recipe(option.recipe)):
            made = compress(model, parse_recipe(option.recipe)).model
            assert size.value == file_size(made.graph)
        assert option.predicted["latency"].how == "estimated"
        assert option.predicted["download"].high <= size.high


@pytest.mark.parametrize("read", [str, load], ids=["file", "value"])
def test_as_it_is_is_the_file_that_the_user_has_not_what_simplifying_would_make_of_it(
    tmp_path, read
):
    path = with_unused_weights(tmp_path / "m.onnx")
    whole = path.stat().st_size

    plan = packlight.plan(read(path), ["size<=50kB", "size<=0.1x", "download<=0.9x"], "pixel-8")

    assert plan.original["size"].value == whole > 400_000
    assert plan.original["download"].low > 0.8 * whole
    assert plan.meets["size<=50kB"] == "no"
    (half,) = [one for one in plan.options if one.recipe == "float16"]
    assert half.predicted["size"].value < 0.05 * whole
    assert half.meets["size<=0.1x"] == half.meets["download<=0.9x"] == "yes"
    (narrow,) = [one for one in plan.options if one.name == "low rank + distill"]
    assert narrow.predicted["size"].high < 0.05 * whole


def with_unused_weights(path):
    """A file of 400 kB, of which 8 kB are read."""
    sketch = Sketch(opset=17)
    y = sketch.add("MatMul", "x", sketch.weight(32, 64))
    sketch.weight(1000, 100)
    save(sketch.model("m", [value_info("x", (1, 32))], {y: (1, 64)}), path)
    return path


def test_external_data_is_part_of_the_file_as_it_is(tmp_path):
    path = tmp_path / "m.onnx"
    proto = onnx.load(with_unused_weights(path))
    onnx.save(proto, path, save_as_external_data=True, location="beside", size_threshold=0)

    plan = packlight.plan(path, device="pixel-8")

    assert plan.original["size"].value == sum(file.stat().st_size for file in tmp_path.iterdir())


@pytest.mark.slow
def test_routes_with_samples_have_the_size_of_the_file_too(tmp_path, tight):
    from packlight.zoo import task

    for name in ("8-bit integers", "4 bits by samples"):
        (option,) = [one for one in tight.options if one.name == name]
        made = packlight.compress("zoo:fashion", f"simplify+{option.recipe}", task=task("fashion"))
        assert option.predicted["size"].value == made.after


@pytest.mark.slow
@pytest.mark.parametrize(
    "route", [route for route in ROUTES if "distill" in route.recipe], ids=lambda route: route.name
)
def test_routes_that_learn_have_the_size_of_the_file_too(route, tight):
    from packlight.zoo import task

    few = replace(task("fashion"), calibration=list(task("fashion").calibration)[:60])
    recipe = f"simplify+{route.recipe.replace('distill', 'distill,steps=2')}"
    (option,) = [one for one in tight.options if one.name == route.name]

    made = packlight.compress("zoo:fashion", recipe, task=few)

    assert option.predicted["size"].value == made.after
    assert option.predicted["size"].how == "counted"


def test_routes_with_fewer_channels_cost_what_the_smaller_model_costs(tight):
    halved = next(o for o in tight.options if o.recipe.startswith("channels,share=0.5+distill"))

    for cost in ("latency", "energy", "peak_memory"):
        assert halved.predicted[cost].value < 0.6 * tight.original[cost].value
    ratio = halved.predicted["latency_ratio"]
    assert 0.3 < ratio.value < 0.6  # 0.47 was measured
    assert any("64,000 samples take" in note for note in halved.notes)


def test_the_cheapest_sufficient_route_comes_first(tight):
    enough = [option for option in tight.options if option.recipe and option.verdict == "yes"]

    assert tight.feasible == "yes"
    assert f"Take {enough[0].name}" in " ".join(tight.recommendation)
    assert f'"simplify+{enough[0].recipe}"' in " ".join(tight.recommendation)
    assert enough[0].damage.text in " ".join(tight.recommendation)
    assert "packlight fit" in tight.recommendation[-1]


def test_where_nothing_suffices_it_says_how_far_to_shrink():
    plan = packlight.plan("zoo:fashion", ["size<=50kB"], "raspberry-pi-5")

    assert plan.feasible == "no"
    smallest = min(option.predicted["size"].value for option in plan.options)
    assert plan.shrink["size<=50kB"] == pytest.approx(50_000 / smallest)
    assert "No route" in " ".join(plan.recommendation)
    graph = skeleton(compress(load(FASHION), parse_recipe("simplify")).model.graph).operators()
    share = int((50_000 - graph) / (smallest - graph) * 100)
    assert f"at most {share}% of its weights" in " ".join(plan.recommendation)


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ("size<=500B", "its operators and names alone take"),
        ("size<=900B", "% of its weights, compressed in the same way"),
        ("download<=10B", "its operators and names alone take"),
    ],
)
def test_operators_and_names_stay_however_few_weights_there_are(budget, told):
    sketch = Sketch(17)
    value = "x"
    for _ in range(4):
        value = sketch.add("MatMul", value, sketch.weight(8, 16))
        value = sketch.add("MatMul", value, sketch.weight(16, 8))
    model = sketch.model("m", [value_info("x", (1, 8))], {value: (1, 8)})
    assert 500 < skeleton(model.graph).operators() < 900

    plan = packlight.plan(model, [budget], "pixel-8")

    assert told in " ".join(plan.recommendation)


def test_where_nothing_can_be_compressed_or_runs_it_says_so():
    sketch = Sketch(17)
    model = sketch.model("m", [value_info("x", (1, 8))], {sketch.add("Relu", "x"): (1, 8)})
    still = Sketch(17)
    given = still.add("Relu", still.weight(8, 8))
    idle = still.model("i", [], {given: (8, 8)})

    told = " ".join(packlight.plan(model, ["size<=30B"], "pixel-8").recommendation)
    assert "size<=30B is out of reach: no route changes a weight" in told
    assert "Why" in told
    assert "Why" not in " ".join(packlight.plan(idle, device="pixel-8").recommendation)


def test_budgets_that_only_different_routes_keep_are_told_apart():
    sketch = Sketch(17)  # whose channels all stay: they are those of its output
    y = sketch.add("Conv", "x", sketch.weight(64, 64, 3, 3))
    model = sketch.model("m", [value_info("x", (1, 64, 30, 30))], {y: (1, 64, 28, 28)})
    plan = packlight.plan(model, ["size<=0.2x", "latency<=0.7x"], "raspberry-pi-5")

    told = " ".join(plan.recommendation)
    assert plan.feasible == "no"
    assert "size<=0.2x alone is within reach:" in told
    assert "latency<=0.7x alone may be within reach: 8-bit integers" in told


def test_what_is_not_known_is_not_said_to_be_within_reach(tmp_path):
    sketch = Sketch(17)
    y = sketch.add("MatMul", "x", sketch.weight(64, 64))
    save(sketch.model("m", [value_info("x", (1, "n", 64))], {y: (1, "n", 64)}), tmp_path / "m.onnx")

    wanted = ["size<=1kB", "latency<=1us", "peak_memory<=1B"]
    told = " ".join(packlight.plan(tmp_path / "m.onnx", wanted, "pixel-8").recommendation)

    assert "within reach" not in told
    for budget in wanted[1:]:
        assert f"{budget} cannot be predicted without the shape of x" in told


def test_what_an_interval_spans_must_be_measured():
    plan = packlight.plan("zoo:fashion", ["size<=50kB", "latency<=250us"], "pixel-8")

    told = " ".join(plan.recommendation)
    assert "latency<=250us alone is within reach" not in told
    assert "latency<=250us alone may be within reach: 16-bit floats" in told
    assert "must be measured on the device" in told


def test_ratios_of_times_have_the_digits_that_tell_their_ends_apart():
    plan = packlight.plan("zoo:fashion", ["size<=300kB"], "raspberry-pi-5")

    assert "0.97 to 1.03x the original's latency" in " ".join(plan.recommendation)


def test_a_model_is_no_better_than_itself():
    plan = packlight.plan("zoo:fashion", ["drop<=-1%"], "pixel-8")

    assert plan.meets["drop<=-1%"] == plan.verdict == "no"
    assert "does not fit" in plan.recommendation[0]
    assert "no better than itself (budget: drop<=-1%)" in plan.recommendation[0]
    assert "packlight fit" in plan.recommendation[-1]


def test_without_budgets_the_limits_of_the_device_count():
    plan = packlight.plan("zoo:fashion", device="stm32h7")

    assert plan.budgets == ("size<=1835kB", "peak_memory<=524kB")
    assert plan.feasible == "yes"


def test_a_microcontroller_refuses_what_its_runtime_cannot_keep():
    plan = packlight.plan("zoo:fashion", ["size<=1MB"], "stm32h7")

    by_name = {option.name: option for option in plan.options}
    assert by_name["palettes of 4 bits"].meets["runtime"] == "no"
    assert by_name["palettes of 4 bits"].refusals[0].code == "unsupported-storage"
    assert by_name["8-bit weights"].refusals[0].code == "not-expanded"
    assert by_name["8-bit integers"].verdict == "yes"


def test_integers_that_would_saturate_are_warned_of():
    plan = packlight.plan("zoo:fashion", device="x86-laptop-avx2")

    (integers,) = [option for option in plan.options if option.name == "8-bit integers"]
    assert any("saturate" in note for note in integers.notes)


def test_choices_for_single_operators_are_one_more_route():
    plan = packlight.plan(
        "zoo:fashion", device="pixel-8", choices=["conv=weights:4", "^stage1=keep"]
    )

    chosen = plan.options[0]
    assert chosen.name == "as chosen"
    assert plan.original["size"].value > chosen.predicted["size"].value


def chosen(*choices):
    return packlight.plan("zoo:fashion", device="pixel-8", choices=choices).options[0]


@pytest.mark.parametrize(
    "choices",
    [
        [".=palette:4+float16"],
        ["stage2=palette:4+float16"],
        [".=weights:2", ".=keep", "stage2=weights:4"],
        [".=weights:2", ".=weights:8"],
        [".=palette:4", "stage2=weights:8+palette:6", "stage1=keep"],
    ],
)
def test_the_recipe_of_choices_makes_the_file_that_is_predicted(choices):
    option = chosen(*choices)

    made = packlight.compress("zoo:fashion", f"simplify+{option.recipe}")

    assert option.predicted["size"].how == "counted"
    assert option.predicted["size"].value == made.after


def test_choices_that_leave_nothing_have_no_recipe():
    option = chosen(".=weights:2", ".=keep")

    assert (option.recipe, option.changed) == ("", 0)


@pytest.mark.parametrize(
    ("step", "needs"),
    [
        ("weights:4", "no data"),
        ("weights:4,mixed=4", "calibration samples"),
        ("weights:4,rounding=gptq", "calibration samples"),
        ("equalize", "calibration samples"),
        ("equalize,by=weights", "no data"),
        ("dynamic", "no data"),
    ],
)
def test_choices_need_samples_where_compressing_does(step, needs):
    option = chosen(f".={step}")

    assert option.effort.needs == needs
    assert uses_data(parse_recipe(option.recipe)) == (needs != "no data")


def test_a_plan_survives_json(tight):
    assert from_json(Plan, to_json(tight)) == tight


def test_a_model_whose_weights_lie_in_bodies_is_planned_as_exactly(tmp_path):
    path = tmp_path / "m.onnx"
    save(NETWORKS["branches-16"](), path)

    plan = packlight.plan(path, device="pixel-8")

    made = packlight.compress(path, "simplify+palette:4")
    (option,) = [one for one in plan.options if one.recipe == "palette:4"]
    assert option.predicted["size"].value == made.after


@pytest.mark.parametrize(
    ("error", "wanted", "arguments"),
    [
        (DeviceError, "pixel-8", {"device": "pixel8"}),
        (RecipeError, "there is no 'npu'", {"device": "pixel-8", "unit": "npu"}),
        (RecipeError, "METRIC<=VALUE", {"budget": ["small"], "device": "pixel-8"}),
        (
            RecipeError,
            "matches no operator",
            {"device": "pixel-8", "choices": ["none=weights:4"]},
        ),
        (
            RecipeError,
            "'simplify' works on the whole",
            {"device": "pixel-8", "choices": [".=simplify"]},
        ),
        (
            RecipeError,
            "leave where= out of",
            {"device": "pixel-8", "choices": [".=weights:4,where=a"]},
        ),
        (RecipeError, "OPERATOR=STEP", {"device": "pixel-8", "choices": ["conv"]}),
        (InputError, "NAME=SIZES", {"device": "pixel-8", "inputs": ["image"]}),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(error, wanted, arguments):
    with pytest.raises(error, match=wanted):
        packlight.plan("zoo:fashion", **arguments)
