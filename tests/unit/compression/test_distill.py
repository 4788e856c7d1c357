"""Distillation: what is stored is learned, in the same bytes, and again to the same result."""

import importlib.util
import itertools

import numpy as np
import onnx_ir as ir
import pytest

from packlight.compression import compress
from packlight.errors import RecipeError
from packlight.model import Model, to_bytes
from packlight.records import SessionOptions, parse_recipe
from packlight.runtime import open_session
from packlight.runtime.calibration import Calibrator
from packlight.runtime.progress import silent
from packlight.testing.networks import NETWORKS
from packlight.testing.sketch import Sketch, value_info

pytest.importorskip("torch")

from packlight.compression.qdq.integer_weights import (
    PairLayout,
    excess,
    hold_pairs,
    in_pairs,
)
from packlight.compression.training import checkpoint
from packlight.compression.training.batches import split_samples, step_samples
from packlight.compression.training.stored_forms import held_pairs
from packlight.compression.training.student import build_student

EXACT = SessionOptions(arithmetic="exact", matmul_accuracy=1)
STEPS = 12
ONES = np.ones((1, 16), np.float32)


@pytest.fixture(autouse=True)
def states(tmp_path, monkeypatch):
    """Folder of the states of trainings."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "packlight" / "training"


def network():
    """Convolutions with a shortcut, a depthwise one, and a linear head."""
    net = Sketch(17)
    first = net.add("Conv", "x", net.weight(24, 8, 3, 3), net.weight(24), pads=[1, 1, 1, 1])
    first = net.add("Relu", first)
    second = net.add("Conv", first, net.weight(24, 1, 3, 3), group=24, pads=[1, 1, 1, 1])
    second = net.add("Conv", net.add("Relu", second), net.weight(24, 24, 1, 1), net.weight(24))
    value = net.add("Flatten", net.add("GlobalAveragePool", net.add("Add", first, second)))
    value = net.add("Gemm", value, net.weight(16, 24), net.weight(16), transB=1)
    return net.model("network", [value_info("x", ["n", 8, 6, 6])], {value: ["n", 16]})


MODEL = network()
CALLS = [
    [{"x": np.random.default_rng(index).standard_normal((1, 8, 6, 6), np.float32)}]
    for index in range(24)
]


def apply(text, progress=silent, model=MODEL, calls=CALLS, state=None):
    calibrator = Calibrator(calls, EXACT, progress, state=state or {})
    return compress(model, parse_recipe(text), calibrator)


def learned(result):
    """The record of what was learned."""
    return next(change.storage for change in result.changes if change.method == "distill")


FORMS = [
    "simplify+weights:3,expand=load",
    "simplify+weights:8,symmetric=false,scales=16",
    "simplify+weights:4,per=tensor",
    "simplify+weights:2,block=9,expand=load",
    "simplify+palette:1",
    "simplify+palette:3,group=8,scaled=true,scales=16",
    "simplify+palette:2,entry=8",
    "simplify+palette,mixed=2.5",
    "simplify+sparse,inputs=8",
    "simplify+sparse:5,values=grid,inputs=8",
    "simplify+sparse:3,values=palette,share=0.75,scaled=true,inputs=8,run=4",
    "simplify+channels",
    "simplify+lowrank",
    "simplify+float16",
    "simplify+static",
    "simplify+static,portable=false,per=tensor",
]


@pytest.mark.parametrize("text", FORMS)
def test_a_student_computes_what_the_file_does_and_writes_the_same_bytes(text):
    result = apply(text)
    student = build_student(result.model, None)
    written = result.model.clone()
    student.write(written)

    expected = open_session(result.model, EXACT).run(CALLS[0][0])
    (name,) = expected
    actual = student.module(**CALLS[0][0])[0].detach().numpy()
    np.testing.assert_allclose(actual, expected[name], rtol=1e-4, atol=1e-5)
    assert to_bytes(Model(written, "")) == to_bytes(result.model)


@pytest.mark.parametrize("text", FORMS)
def test_learning_gives_other_numbers_in_as_many_bytes(text):
    before = apply(text)
    after = apply(f"{text}+distill,steps={STEPS},rate=3")

    assert len(to_bytes(after.model)) == len(to_bytes(before.model))
    storage = learned(after)
    assert storage.after >= storage.before


def signal_to_noise(result, calls):
    """In exact arithmetic, against the float model."""
    sessions = [open_session(model, EXACT) for model in (MODEL, result.model)]
    (name,) = MODEL.outputs()
    expected, actual = (np.concatenate([s.run(c[0])[name] for c in calls]) for s in sessions)
    return 10 * np.log10(np.square(expected).sum() / np.square(expected - actual).sum())


@pytest.mark.parametrize(
    "text", ["simplify+palette:2", "simplify+weights:3", "simplify+channels,refit=false"]
)
def test_what_is_learned_is_nearer_to_the_float_model_on_samples_held_out(text):
    held = [CALLS[index] for index in split_samples(len(CALLS)).held]
    before = apply(text)
    after = apply(f"{text}+distill,steps=60,batch=8")

    assert signal_to_noise(after, held) > signal_to_noise(before, held) + 1
    assert learned(after).after == pytest.approx(signal_to_noise(after, held), abs=0.1)


def test_the_same_steps_give_the_same_bytes_and_another_seed_gives_others():
    text = f"simplify+palette:2+distill,steps={STEPS},batch=8"
    recipe = parse_recipe(text, 1)
    first, again = (apply(text) for _ in range(2))

    assert to_bytes(first.model) == to_bytes(again.model)
    assert first.changes == again.changes
    other = compress(MODEL, recipe, Calibrator(CALLS, EXACT))
    assert to_bytes(other.model) != to_bytes(first.model)


class Stop(BaseException):
    """A kill, as far as a test can send one to itself."""


def stop_at(step, error):
    def progress(what, done, total):
        if what.startswith("distilling") and done == step:
            raise error

    return progress


@pytest.mark.parametrize("step", [1, 5, 11])
def test_a_killed_training_goes_on_to_the_same_file(step, states, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "WRITING_SHARE", 1e9)
    text = f"simplify+weights:3+distill,steps={STEPS},batch=8"
    whole = apply(text)
    assert list(states.iterdir()) == []

    with pytest.raises(Stop):
        apply(text, stop_at(step, Stop))
    assert len(list(states.iterdir())) == 1

    seen = []
    resumed = apply(text, lambda what, done, total: seen.append((what, done)))
    assert min(done for what, done in seen if what.startswith("distilling")) == step
    assert to_bytes(resumed.model) == to_bytes(whole.model)
    assert resumed.changes == whole.changes
    assert list(states.iterdir()) == []


def test_a_spoilt_state_is_not_used(states):
    text = f"simplify+weights:3+distill,steps={STEPS}"
    states.mkdir(parents=True)
    name = checkpoint.Checkpoint("name")
    name.path.write_bytes(b"PK spoilt")

    assert name.read() is None
    assert learned(apply(text)).steps == STEPS


def test_where_no_state_can_be_written_training_goes_on(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)

    assert learned(apply(f"simplify+weights:3+distill,steps={STEPS}")).steps == STEPS


def test_ctrl_c_keeps_the_best_so_far():
    result = apply("simplify+palette:2+distill,steps=60,batch=8", stop_at(30, KeyboardInterrupt))

    storage = learned(result)
    assert (storage.steps, storage.of) == (30, 60)
    assert storage.after > storage.before


def test_minutes_give_a_number_of_steps_that_gives_the_same_file():
    timed = apply("simplify+palette:2+distill,minutes=0.01,batch=8")
    steps = learned(timed).of

    assert steps >= 1
    again = apply(f"simplify+palette:2+distill,steps={steps},batch=8")
    assert to_bytes(again.model) == to_bytes(timed.model)


def test_pairs_of_integer_weights_stay_safe():
    result = apply(f"simplify+static+distill,steps={STEPS},rate=30")
    layouts = 0
    for node in result.model.graph.graph:
        if node.op_type != "Conv" or node.attributes.get_int("group", 1) > 1:
            continue
        codes = node.inputs[1].producer().inputs[0].const_value.numpy().astype(np.float32)
        form = PairLayout(codes.shape, (0, 2, 3, 1))
        assert not excess(in_pairs(form.rows(codes))).any()
        layouts += 1
    assert layouts == 2


def test_pairs_are_held_as_they_are_when_weights_are_rounded():
    import torch

    codes = np.random.default_rng(0).integers(-127, 128, (4, 3, 3, 5)).astype(np.float32)
    form = PairLayout(codes.shape, (0, 2, 3, 1))

    expected = form.weight(hold_pairs(form.rows(codes)))
    assert np.array_equal(held_pairs(torch.from_numpy(codes), form).numpy(), expected)


def test_scales_and_biases_of_integer_operators_keep_their_relation():
    before = apply("simplify+static")
    after = apply(f"simplify+static+distill,steps={STEPS},rate=10")

    scales = [
        {
            name: value.const_value.numpy()
            for name, value in result.model.graph.graph.initializers.items()
            if name.endswith("scale") and value.const_value.dtype == ir.DataType.FLOAT
        }
        for result in (before, after)
    ]
    assert len(scales[0]) > len(MODEL.inputs())
    assert scales[0].keys() == scales[1].keys()
    assert all(np.array_equal(scales[0][name], scales[1][name]) for name in scales[0])


def stateful():
    """A state that is mixed with every input."""
    net = Sketch(17)
    mixed = net.add("MatMul", "x", net.weight(16, 24, fan_in=16))
    state = net.add("Tanh", net.add("Add", mixed, net.add("MatMul", "h", net.weight(24, 24))))
    value = net.add("MatMul", state, net.weight(24, 16))
    sizes = [value_info("x", ["n", 16]), value_info("h", ["n", 24])]
    model = net.model("stateful", sizes, {value: ["n", 16], state: ["n", 24]})
    return model, {state: "h"}


@pytest.mark.parametrize("length", [3, 20])
def test_a_state_is_carried_from_call_to_call(length):
    model, state = stateful()
    random = np.random.default_rng(0)
    calls = [
        [
            {"x": random.standard_normal((1, 16), np.float32), "h": np.zeros((1, 24), np.float32)}
            for _ in range(length)
        ]
        for _ in range(6)
    ]
    storage = learned(apply("weights:2+distill,steps=20", model=model, calls=calls, state=state))

    assert storage.after > storage.before


def test_samples_of_several_lengths_are_learned_from():
    net = Sketch(17)
    value = net.add("Tanh", net.add("MatMul", "x", net.weight(16, 24, fan_in=16)))
    value = net.add("MatMul", value, net.weight(24, 16))
    sizes = ["n", "time", 16]
    model = net.model("lengths", [value_info("x", sizes)], {value: sizes})
    random = np.random.default_rng(0)
    calls = [[{"x": random.standard_normal((1, 3 + i % 3, 16), np.float32)}] for i in range(12)]
    storage = learned(apply("weights:2+distill,steps=20", model=model, calls=calls))

    assert storage.after > storage.before


def refusals(result):
    return [entry for entry in result.refusals if entry.method == "distill"]


def test_a_model_that_nothing_changed_is_refused():
    result = apply("distill")

    assert {entry.code for entry in refusals(result)} == {"no-gain"}
    assert to_bytes(result.model) == to_bytes(MODEL)


def test_integer_operators_without_gradients_are_refused():
    model = NETWORKS["perceptron-21"]()
    calls = [[{"x": np.ones((1, 32), np.float32)}]]
    result = apply("dynamic+distill", model=model, calls=calls)

    assert {entry.code for entry in refusals(result)} == {"already-integer"}


def test_operators_that_pytorch_cannot_compute_are_refused_by_name():
    net = Sketch(17)
    value = net.add("MatMul", "x", net.weight(16, 24, fan_in=16))
    value = net.add("RandomNormalLike", value)
    model = net.model("unknown", [value_info("x", ["n", 16])], {value: ["m"]})
    entries = refusals(apply("weights:4+distill", model=model, calls=[[{"x": ONES}]]))

    assert {entry.code for entry in entries} == {"unsupported-operator"}


def test_without_samples_the_step_is_refused():
    with pytest.raises(RecipeError, match="calibration samples"):
        apply("weights:4+distill,steps=2", calls=[])


def test_without_pytorch_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(RecipeError, match=r"pip install 'packlight\[torch\]'"):
        apply("weights:4+distill,steps=2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distill,minutes=0", "minutes= is above 0"),
        ("distill,steps=-1", "steps= is a number of steps"),
        ("distill,rate=0", "rate= is a factor above 0"),
        ("distill,batch=0", "batch= is at least 1"),
        ("distill,where=a", "where"),
    ],
)
def test_options_are_checked(text, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe(text)


def test_every_sample_is_seen_once_before_any_a_second_time():
    learned_from = [3, 5, 8, 9, 11]
    steps = [step_samples(learned_from, step, 2, 0) for step in range(5)]

    assert sorted(itertools.chain(*steps)) == sorted(learned_from * 2)
    assert sorted([*steps[0], *steps[1], steps[2][0]]) == learned_from


@pytest.mark.parametrize("count", [1, 2, 3, 10, 100, 5000])
def test_samples_that_decide_are_not_learned_from(count):
    split = split_samples(count)

    assert split.learned
    assert split.held
    if count > 1:
        assert not set(split.learned) & set(split.held)
        assert sorted([*split.learned, *split.held]) == list(range(count))
