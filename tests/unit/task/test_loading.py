"""Tasks come from arrays, images and Python; what is wrong with them is said in one sentence."""

import runpy

import numpy as np
import onnx_ir as ir
import pytest

from packlight.errors import TaskError
from packlight.evaluation import evaluate
from packlight.model import Model
from packlight.records import SessionOptions
from packlight.task import check_task, init_task, load_task

FLOAT, INT = ir.DataType.FLOAT, ir.DataType.INT64


def identity(dims=("batch", 3, 4, 4), dtype=FLOAT, name="x", extra=None):
    """A model that gives back its input, flattened, and takes others that it does not need."""
    value = ir.val(name, dtype, ir.Shape(list(dims)))
    others = [ir.val(key, kind, ir.Shape(list(shape))) for key, kind, shape in extra or []]
    node = ir.node("Flatten", [value], name="flatten")
    node.outputs[0].name = "y"
    node.outputs[0].dtype, node.outputs[0].shape = dtype, ir.Shape(["batch", 48])
    graph = ir.Graph([value, *others], [node.outputs[0]], nodes=[node], name="g",
                     opset_imports={"": 18})  # fmt: skip
    return Model(ir.Model(graph, ir_version=10), 'odd "name" \\ ')


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 4)).astype(np.uint8)


@pytest.fixture
def arrays(tmp_path):
    def write(**given):
        path = tmp_path / "data.npz"
        np.savez(path, **given)
        return str(path)

    return write


def test_arrays_become_samples_targets_groups_and_calibration(arrays):
    path = arrays(x=IMAGES, target=np.arange(6), group_light=np.array(list("aabbcc")),
                  calibration_x=IMAGES[::-1] ^ 1,
                  calibration_group_photo=np.arange(6) // 2)  # fmt: skip

    task = load_task(path, identity())

    (feeds,) = task.samples[1]
    np.testing.assert_array_equal(feeds["x"], IMAGES[1:2].astype(np.float32))
    assert feeds["x"].dtype == np.float32
    assert task.metric.name == "top1"
    assert list(task.targets) == list(range(6))
    assert task.groups == {"light": tuple("aabbcc")}
    assert len(task.calibration) == 6
    assert task.notes == ()


def test_without_targets_the_task_measures_fidelity(arrays):
    task = load_task(arrays(x=IMAGES), identity())

    assert task.metric.name == "agreement"
    assert any("no calibration data" in note for note in task.notes)


def test_the_target_or_the_file_chooses_the_metric(arrays):
    values = np.zeros((6, 48), np.float32)

    assert load_task(arrays(x=IMAGES, target=values), identity()).metric.name == "mae"
    named = arrays(x=IMAGES, target=values, metric=np.array("rmse"))
    assert load_task(named, identity()).metric.name == "rmse"


def test_a_file_may_name_a_metric_of_texts_or_boxes(arrays):
    texts = np.array(["a", "", "b c", "d", "e", "f"])
    boxes = np.full((6, 4, 5), -1.0)

    words = load_task(arrays(x=IMAGES, target=texts, metric=np.array("wer")), identity())
    found = load_task(arrays(x=IMAGES, target=boxes, metric=np.array("map50")), identity())

    assert [*words.targets] == texts.tolist()
    assert found.metric.name == "map50"
    named = arrays(x=IMAGES, target=np.arange(6), metric=np.array("sklearn:f1_score,average=macro"))
    assert load_task(named, identity()).metric.name == "f1_score"


def test_an_input_without_batch_axis_gets_whole_rows(arrays):
    model = identity(extra=[("rate", INT, [])])

    task = load_task(arrays(x=IMAGES, rate=np.arange(6)), model)

    assert task.samples[3][0]["rate"] == np.array(3)
    assert task.samples[3][0]["rate"].shape == ()


def test_calibration_that_repeats_test_samples_is_noted(arrays):
    task = load_task(arrays(x=IMAGES, calibration_x=IMAGES[:3]), identity())

    assert any("3 calibration samples" in note for note in task.notes)


GOOD = {"x": IMAGES, "target": np.arange(6)}
BAD_ARRAYS = {
    "missing input": ({"target": np.arange(6)}, "none for x"),
    "unknown name": ({**GOOD, "labels": np.arange(6)}, "it holds labels"),
    "targets of another length": ({**GOOD, "target": np.arange(5)}, "array 'target' has shape"),
    "groups of another length": ({**GOOD, "group_a": np.arange(5)}, "array 'group_a' has shape"),
    "another shape": ({**GOOD, "x": IMAGES[:, :, :3]}, r"one row has shape \[3, 3, 4\]"),
    "another rank": ({**GOOD, "x": IMAGES[:, 0, 0, 0]}, r"one row has shape \[\]"),
    "no samples": ({"x": IMAGES[:0], "target": np.arange(0)}, "at least 1"),
    "not finite": ({**GOOD, "x": np.full((6, 3, 4, 4), np.nan)}, "row 0 does not"),
    "too large": ({**GOOD, "x": np.full((6, 3, 4, 4), 1e300)}, "finite numbers that fit float32"),
    "complex": ({**GOOD, "x": IMAGES * 1j}, "lose its fraction"),
    "text": ({**GOOD, "x": np.full((6, 3, 4, 4), "a")}, "is fed as float32"),
    "targets that are text": ({**GOOD, "target": np.array(list("abcdef"))}, "metric of texts"),
    "targets not finite": ({**GOOD, "target": np.full(6, np.inf)}, "'target' .* must be finite"),
    "unknown metric": ({**GOOD, "metric": np.array("best")}, "a metric is one of"),
    "metric without target": ({"x": IMAGES, "metric": np.array("top1")}, "has none"),
    "metric beside target": ({**GOOD, "metric": np.array("cosine")}, "has one"),
    "calibration of another shape": ({**GOOD, "calibration_x": IMAGES[:, :2]}, "calibration"),
    "a python object": ({**GOOD, "x": np.array([{}] * 6)}, "without Python objects"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_do_not_fit_are_refused(arrays, case):
    given, words = BAD_ARRAYS[case]
    with pytest.raises(TaskError, match=words):
        load_task(arrays(**given), identity())


def test_fractions_are_not_fed_to_integers_nor_large_numbers_to_small_types(arrays):
    model = identity(dtype=ir.DataType.UINT8)

    with pytest.raises(TaskError, match="lose its fraction"):
        load_task(arrays(x=IMAGES / 2), model)
    with pytest.raises(TaskError, match="numbers that fit uint8"):
        load_task(arrays(x=IMAGES.astype(np.int64) + 256), model)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "one array", "folder"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, **GOOD)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_text("hello")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "one array":
        with path.open("wb") as file:
            np.save(file, IMAGES)
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(TaskError, match=r"must be an \.npz"):
        load_task(str(path), identity())


def test_what_is_no_task_at_all_is_refused(tmp_path):
    with pytest.raises(TaskError, match="no file"):
        load_task(str(tmp_path / "none.npz"), identity())
    with pytest.raises(TaskError, match="a task is an"):
        load_task(str(tmp_path / "none"), identity())


def write_images(folder, names, size=(9, 7)):
    image = pytest.importorskip("PIL.Image")
    for index, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((*size, 3), index * 10, np.uint8)
        image.fromarray(pixels).save(path)


def test_a_folder_of_images_becomes_pixels_with_classes_in_sorted_order(tmp_path):
    write_images(tmp_path, [f"{name}/{i}.png" for name in ("dog", "cat") for i in range(5)])

    task = load_task(str(tmp_path), identity())

    assert (len(task.samples), len(task.calibration)) == (9, 1)
    assert set(task.groups["class"]) == {"cat", "dog"}
    assert [("cat", "dog")[label] for label in task.targets] == list(task.groups["class"])
    (feeds,) = task.samples[0]
    assert feeds["x"].shape == (1, 3, 4, 4)
    assert len(np.unique(feeds["x"])) == 1
    assert any("1 of 10 images were held back" in note for note in task.notes)
    assert not set(task.fingerprints) & set(task.calibration_fingerprints)


def test_folders_test_and_calibration_are_kept_apart(tmp_path):
    write_images(tmp_path, ["test/a/1.png", "test/b/1.jpg", "calibration/a/2.png"])

    task = load_task(str(tmp_path), identity(("batch", 4, 4, 1)))

    assert (len(task.samples), len(task.calibration)) == (2, 1)
    assert task.samples[0][0]["x"].shape == (1, 4, 4, 1)
    assert task.groups["class"] == ("a", "b")


def test_images_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(TaskError, match="holds none"):
        load_task(str(tmp_path), identity())
    write_images(tmp_path, ["a/1.png", "a/2.png"])
    with pytest.raises(TaskError, match="one input"):
        load_task(str(tmp_path), identity(("batch", 3, "h", "w")))
    for file in (tmp_path / "a").iterdir():
        file.write_text("no image")
    with pytest.raises(TaskError, match="must be an image"):
        load_task(str(tmp_path), identity())


GOOD_PYTHON = """
import numpy as np
from packlight.metrics import METRICS
from packlight.task import LazySamples, Task
from beside import COUNT

def task():
    sample = lambda index: ({"x": np.full((1, 3, 4, 4), index, np.float32)},)
    return Task("own", LazySamples(COUNT, sample), METRICS["cosine"])
"""


def test_a_function_in_a_file_makes_a_task_and_may_import_its_neighbours(tmp_path):
    (tmp_path / "beside.py").write_text("COUNT = 3")
    path = tmp_path / "own.py"
    path.write_text(GOOD_PYTHON)

    task = load_task(f"{path}:task", identity())
    path.write_text(GOOD_PYTHON + "# another metric could be behind this\n")

    assert (task.name, len(task.samples)) == ("own", 3)
    assert load_task(f"{path}:task", identity()).digest != task.digest


BAD_PYTHON = {
    "raises": ("def task():\n    return 1 / 0\n", r"own.py, line 2: ZeroDivisionError"),
    "does not parse": ("def task(:\n", r"own.py, line 1: SyntaxError"),
    "imports what is not there": ("import no_such_thing\n", "line 1: ModuleNotFoundError"),
    "exits": ("raise SystemExit(3)", "line 1: SystemExit"),
    "has no such function": ("other = 1", "must hold a function 'task'"),
    "gives something else": ("def task():\n    return 7\n", "it returns int"),
    "feeds another input": (GOOD_PYTHON.replace('"x"', '"z"'), "sample 0 of task 'own' feeds z"),
    "feeds another type": (GOOD_PYTHON.replace("float32", "float64"), "takes float32"),
    "feeds another shape": (GOOD_PYTHON.replace("3, 4, 4", "3, 4, 5"), r"got \[1, 3, 4, 5\]"),
    "feeds NaN": (GOOD_PYTHON.replace("index, np", "np.nan, np"), "NaN or infinity"),
    "feeds no steps": (GOOD_PYTHON.replace("({", "{").replace("},)", "}"), "put it in a tuple"),
    "fails in a sample": (GOOD_PYTHON.replace("index, np", "[][index], np"), "line 8: IndexError"),
    "names no state": (GOOD_PYTHON.replace('"])', '"], state={"a": "b"})'), "'a' -> 'b'"),
}


@pytest.mark.parametrize("case", BAD_PYTHON)
def test_python_that_fails_is_told_with_file_and_line(tmp_path, case):
    text, words = BAD_PYTHON[case]
    (tmp_path / "beside.py").write_text("COUNT = 3")
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(TaskError, match=words):
        load_task(f"{path}:task", identity())


def test_a_module_or_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TaskError, match="no Python module 'nowhere_at_all'"):
        load_task("nowhere_at_all:task", identity())
    with pytest.raises(TaskError, match="there is no file"):
        load_task(f"{tmp_path}/none.py:task", identity())


@pytest.mark.parametrize(
    "model",
    [
        identity(),
        identity(("batch", 48)),
        identity(("batch", 3, "height", "width"), extra=[("rate", INT, []), ("m", FLOAT, [2])]),
    ],
)
def test_a_task_to_fill_in_runs_as_it_is(tmp_path, model):
    path = tmp_path / "task.py"
    path.write_text(init_task(model))

    task = check_task(runpy.run_path(str(path))["task"](), model)
    found = evaluate(model, task, SessionOptions(), reference=model, variant="a", reference_id="a")

    assert found.evaluation.metrics["drop"].value == 0
    assert task.notes == ()
    text = path.read_text()
    assert text.count("RANDOM") == 2
    for name in (*model.inputs(), *model.outputs()):
        assert f"    {name}: " in text
