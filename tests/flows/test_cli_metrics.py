"""Metrics of libraries by name, in every verb that takes a task: a detector and a recognizer."""

import json
import re
from pathlib import Path

import jiwer
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.metrics import METRICS
from packlight.records import Evaluation, from_json

OBJECTS, WIDTH, CLASSES, IMAGES = 8, 16, 3, 60

RECOGNIZER = """
import numpy as np
from packlight import Task
from packlight.metrics import greedy_ctc, metric_by_name
from packlight.task import ArraySamples

LETTERS = " abcdefgh "

def decode(outputs):
    return "".join(LETTERS[symbol] for symbol in greedy_ctc(outputs))

def task():
    with np.load("sound.npz") as arrays:
        x, texts = arrays["x"], arrays["texts"]
    samples = ArraySamples({"x": x}, {"x": np.dtype(np.float32)})
    return Task("sound", samples, metric_by_name("wer", decode=decode), [*map(str, texts)])
"""


def write_model(path, nodes, weights, outputs, inputs):
    values = {
        name: helper.make_tensor_value_info(name, kind, shape)
        for name, (kind, shape) in {**inputs, **outputs}.items()
    }
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(
        nodes, "net", [values[name] for name in inputs], [values[name] for name in outputs], stored
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)


def mixing(rng, count):
    """A weight that mixes numbers and, for each size, one that takes some of them back."""
    mix, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
    parts = np.split(mix.T, np.cumsum(count)[:-1], axis=1)
    return [array.astype(np.float32) for array in (mix, *parts)]


def write_detector(folder):
    """A detector that reads its boxes, scores and classes from mixed numbers, and its task."""
    rng = np.random.default_rng(0)
    mix, boxes, score, classes, _ = mixing(rng, [4, 1, CLASSES, WIDTH - 5 - CLASSES])
    float_, int_ = TensorProto.FLOAT, TensorProto.INT64
    write_model(
        folder / "detector.onnx",
        [
            helper.make_node("MatMul", ["x", "mix"], ["h"], "mix_all"),
            helper.make_node("MatMul", ["h", "to_boxes"], ["boxes"], "boxes_out"),
            helper.make_node("MatMul", ["h", "to_score"], ["logit"], "score_out"),
            helper.make_node("Sigmoid", ["logit"], ["scores"], "sigmoid"),
            helper.make_node("MatMul", ["h", "to_classes"], ["kinds"], "classes_out"),
            helper.make_node("ArgMax", ["kinds"], ["labels"], "label", axis=2, keepdims=0),
        ],
        {"mix": mix, "to_boxes": boxes, "to_score": score, "to_classes": classes},
        {"boxes": (float_, [1, OBJECTS, 4]), "scores": (float_, [1, OBJECTS, 1]),
         "labels": (int_, [1, OBJECTS])},
        {"x": (float_, [1, OBJECTS, WIDTH])},
    )  # fmt: skip
    x = rng.normal(0, 0.3, (IMAGES, OBJECTS, WIDTH))
    corner = rng.uniform(0, 4, (IMAGES, OBJECTS, 2))
    x[..., :4] = np.concatenate([corner, corner + rng.uniform(2, 5, corner.shape)], axis=2)
    kinds = rng.integers(0, CLASSES, (IMAGES, OBJECTS))
    x[..., 5 : 5 + CLASSES] += 2 * np.eye(CLASSES)[kinds]
    real = rng.random((IMAGES, OBJECTS)) < 0.6
    real[:8] = False
    x[..., 4] += np.where(real, 1, -1)
    target = np.concatenate([x[..., :4], np.where(real, kinds, -1)[..., None]], axis=2)
    target[..., :4] += rng.normal(0, 0.4, target[..., :4].shape)
    target[..., 2:4] = np.maximum(target[..., 2:4], target[..., :2])
    light = np.array(["none"] * 8 + ["day"] * 26 + ["night"] * 26)
    np.savez(folder / "scenes.npz", x=x.astype(np.float32), target=target.astype(np.float32),
             metric=np.array("map50"), group_light=light)  # fmt: skip


def write_recognizer(folder):
    """A recognizer of nine letters from mixed numbers, and its task in Python."""
    rng = np.random.default_rng(1)
    mix, letters, _ = mixing(rng, [10, WIDTH - 10])
    write_model(
        folder / "recognizer.onnx",
        [
            helper.make_node("MatMul", ["x", "mix"], ["h"], "mix_all"),
            helper.make_node("MatMul", ["h", "to_letters"], ["letters"], "letters_out"),
        ],
        {"mix": mix, "to_letters": letters},
        {"letters": (TensorProto.FLOAT, [1, 20, 10])},
        {"x": (TensorProto.FLOAT, [1, 20, WIDTH])},
    )
    symbols = rng.integers(1, 10, (IMAGES, 20))
    x = rng.normal(0, 0.35, (IMAGES, 20, WIDTH))
    x[..., :10] += np.eye(10)[symbols]
    texts = []
    for row in symbols:
        kept = row[np.append(True, row[1:] != row[:-1])]
        texts.append("".join(" abcdefgh "[symbol] for symbol in kept))
    np.savez(folder / "sound.npz", x=x.astype(np.float32), texts=np.array(texts))
    (folder / "sound.py").write_text(RECOGNIZER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("metrics")
    write_detector(path)
    write_recognizer(path)
    for name, recipe in {"detector": "weights:4", "recognizer": "weights:3"}.items():
        done = run(
            "compress", f"{name}.onnx", "--recipe", recipe, "-o", f"{name}-small.onnx", cwd=path
        )
        assert done.returncode == 0, done.stderr
    return path


def evaluated(run, folder, model, task, *more, file="evaluation.json"):
    done = run("evaluate", model, "--task", task, "--json", *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / file).write_text(done.stdout)
    return from_json(Evaluation, json.loads(done.stdout))


def test_a_detector_is_evaluated_by_its_average_precision_and_its_groups(run, folder):
    base = evaluated(run, folder, "detector.onnx", "scenes.npz", file="base.json")
    reference = ["--reference", "detector.onnx"]
    small = evaluated(
        run, folder, "detector-small.onnx", "scenes.npz", *reference, file="small.json"
    )

    whole, less = base.metrics["map50"], small.metrics["map50"]
    assert 0.6 < less.value < whole.value < 1
    loss = small.metrics["drop"]
    assert loss.value == pytest.approx(whole.value - less.value)
    assert 0 < loss.low < loss.value < loss.high
    assert {group.name for group in small.groups} == {"day", "night"}
    assert "no map50 in light = none" in small.labels
    assert small.contrast is not None
    assert {group.name for group in small.contrast.groups} == {"day", "night"}
    done = run("compare", "base.json", "small.json", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    others = json.loads(done.stdout)["others"]
    assert others[0]["metrics"]["drop"]["value"] == pytest.approx(loss.value)


@pytest.mark.slow
def test_budgets_on_a_metric_by_name_decide_check_and_fit(run, folder):
    pair = ["detector.onnx", "detector-small.onnx", "--task", "scenes.npz"]
    kept = run("check", *pair, "--budget", "map50>=40%", cwd=folder)
    broken = run("check", *pair, "--budget", "map50>=0.99", cwd=folder)

    assert (kept.returncode, broken.returncode) == (0, 1), kept.stderr + broken.stderr
    assert "map50" in kept.stdout
    wrong = run("check", *pair, "--budget", "map50<=0.4", cwd=folder)
    assert wrong.returncode == 2
    assert "higher is better for 'map50'" in wrong.stderr
    done = run(
        "fit", "detector.onnx", "--task", "scenes.npz", "--recipe", "weights:8", "--recipe",
        "weights:2", "--budget", "map50>=0.5", "--budget", "drop<=10%", "--seconds", "0.05",
        "--allow-slower", "--project", "P", "--json", cwd=folder,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    outcome = json.loads(done.stdout)
    meets = {result["name"]: result["meets"]["map50>=0.5"] for result in outcome["variants"]}
    assert meets == {"detector": "yes", "weights:8": "yes", "weights:2": "no"}
    plain = run("evaluate", pair[1], "--task", "scenes.npz", "--reference", pair[0], cwd=folder)
    assert plain.returncode == 0, plain.stderr
    assert "points" in plain.stdout


def test_a_recognizer_is_compared_by_its_word_error_rate(run, folder):
    done = run(
        "compare", "recognizer.onnx", "recognizer-small.onnx", "--task", "sound.py:task",
        "--budget", "wer<=100%", "--json", cwd=folder,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    comparison = json.loads(done.stdout)
    base, small = comparison["base"]["metrics"], comparison["others"][0]["metrics"]
    assert 0 < base["wer"]["value"] < small["wer"]["value"]
    assert small["drop"]["value"] == pytest.approx(small["wer"]["value"] - base["wer"]["value"])
    assert small["flips"]["value"] > 0


@pytest.mark.slow
def test_a_name_of_an_npz_may_be_a_function_of_scikit_learn(run, folder, few, smaller):
    with np.load(few, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != "metric"}
    np.savez(folder / "named.npz", **arrays, metric=np.array("sklearn:balanced_accuracy_score"))

    found = evaluated(run, folder, smaller, "named.npz", "--reference", "zoo:fashion")
    name = "balanced_accuracy_score"
    assert 0.5 < found.metrics[name].low < found.metrics[name].value < 1
    assert found.metrics["drop"].low <= 0 <= found.metrics["drop"].high


def test_the_guide_lists_every_metric():
    guide = Path(__file__).parents[2] / "docs" / "guide.md"
    table = guide.read_text("utf-8").partition("### Metrics by name")[2].partition("## Recipes")[0]
    names = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.split(" | ")[0])
    }

    assert names == {*METRICS, "topK", "sklearn:FUNCTION"}


def write_speaker(path, mix):
    """A model that gives texts: the word of the highest of four scores."""
    words = ["yes", "no", "not now", ""]
    encode = helper.make_node(
        "LabelEncoder", ["word"], ["text"], "encode", domain="ai.onnx.ml",
        keys_int64s=range(4), values_strings=words,
    )  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "mix"], ["scores"], "mix_all"),
        helper.make_node("ArgMax", ["scores"], ["word"], "highest", axis=1, keepdims=0),
        encode,
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, WIDTH])
    text = helper.make_tensor_value_info("text", TensorProto.STRING, [1])
    graph = helper.make_graph(nodes, "net", [x], [text], [numpy_helper.from_array(mix, "mix")])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return words


def test_a_model_that_gives_texts_is_judged_by_texts_in_an_npz(run, folder):
    rng = np.random.default_rng(2)
    mix = rng.normal(size=(WIDTH, 4)).astype(np.float32)
    words = write_speaker(folder / "speaker.onnx", mix)
    x = rng.normal(size=(IMAGES, WIDTH)).astype(np.float32)
    chosen = (x @ mix).argmax(axis=1)
    chosen[::5] = 0
    said = np.array([words[index] for index in chosen])
    np.savez(folder / "said.npz", x=x, target=said, metric=np.array("wer"))

    found = evaluated(run, folder, "speaker.onnx", "said.npz")

    heard = [words[index] for index in (x @ mix).argmax(axis=1)]
    assert found.metrics["wer"].value == pytest.approx(jiwer.wer([*said], heard))
