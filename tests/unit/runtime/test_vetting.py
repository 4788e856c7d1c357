"""Children open what crashes, hangs or swallows memory; the parent gets a sentence."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from packlight.errors import CheckError, ModelError
from packlight.runtime import is_vetted, vet
from packlight.runtime.isolation.child import Finished, run_child
from packlight.runtime.isolation.confine import OPENS, child_answer
from packlight.runtime.isolation.limits import cores

info = helper.make_tensor_value_info
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def written(folder, nodes, inputs, outputs, weights=()):
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def good(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    return written(tmp_path, [node], [info("x", FLOAT, [None, 3])], [info("y", FLOAT, [None, 3])])


def test_a_good_model_passes_and_is_vetted_once_until_it_changes(good):
    vet(good)

    vet(good, seconds=0.001)  # no child could be that fast

    os.utime(good, ns=(1, 1))
    with pytest.raises(ModelError, match=r"times the 0\.001 s .* this machine is busy"):
        vet(good, seconds=0.001)


@pytest.mark.parametrize("content", [b"", b"hello, world"])
def test_what_is_no_model_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"m\.onnx") as caught:
        vet(path)
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_suit_zeros_passes(tmp_path):
    """Its open dimension is taken as 1, and it needs 35."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    path = written(
        tmp_path, [node], [info("x", FLOAT, [None])], [info("y", FLOAT, [None, None])],
        [("shape", np.array([5, 7], np.int64))],
    )  # fmt: skip

    vet(path)


def test_a_model_that_never_ends_is_stopped(tmp_path):
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go2"]),
            helper.make_node("Sin", ["h"], ["h2"]),
        ],
        "body",
        [info("i", INT64, []), info("go", BOOL, []), info("h", FLOAT, [3])],
        [info("go2", BOOL, []), info("h2", FLOAT, [3])],
    )
    path = written(
        tmp_path, [helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)],
        [info("x", FLOAT, [3])], [info("y", FLOAT, [3])], [("yes", np.array(True))],
    )  # fmt: skip

    start = time.monotonic()
    with pytest.raises(ModelError, match="did not open and run once within 2 s"):
        vet(path, seconds=2)
    assert time.monotonic() - start < 15


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
@pytest.mark.parametrize("fed", [True, False])
def test_a_small_file_that_asks_for_all_memory_is_refused(tmp_path, fed):
    """Stated by a constant (when it is opened) or computed from an input (when it runs)."""
    huge = np.array([2**18, 2**18], np.int64)
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["big"])]
    if fed:
        nodes.insert(0, helper.make_node("Add", ["huge", "x"], ["shape"]))
    nodes.append(helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["sum", "y"], ["z"]))
    path = written(
        tmp_path, nodes, [info("x", INT64, [2]), info("y", FLOAT, [])], [info("z", FLOAT, [])],
        [("huge" if fed else "shape", huge)],
    )  # fmt: skip

    with pytest.raises(ModelError, match="far more memory"):
        vet(path)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_of_the_child_becomes_a_sentence(good, number, tmp_path, monkeypatch):
    (tmp_path / "crashing.py").write_text(
        f"import os\ndef main(arguments):\n    os.kill(os.getpid(), {int(number)})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    ended = run_child("crashing", [], 10)

    with pytest.raises(ModelError, match=f"crash .{number.name}.: it is damaged"):
        child_answer(good, ended, 10, OPENS)


def test_a_fault_of_the_child_itself_is_not_blamed_on_the_model(good):
    ended = run_child("no_such_module_at_all", [], 10)

    with pytest.raises(CheckError, match="no_such_module_at_all"):
        child_answer(good, ended, 10, OPENS)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (Finished(-signal.SIGKILL, "", ""), "more memory than there is"),
        (Finished(-signal.SIGXCPU, "", ""), "did not open and run once within 15 s"),
    ],
)
def test_signals_of_limits_are_told_apart_from_crashes(good, ended, message):
    with pytest.raises(ModelError, match=message):
        child_answer(good, ended, 15, OPENS)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_ends_the_child(tmp_path):
    """Ctrl-C at the parent alone: the child must not outlive it."""
    marker = tmp_path / "pid"
    (tmp_path / "sleeping.py").write_text(
        "import os, pathlib, time\n"
        "def main(arguments):\n"
        "    pathlib.Path(arguments[0]).write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    code = (
        "from packlight.runtime.isolation.child import run_child\n"
        f"run_child('sleeping', [{str(marker)!r}], 60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stderr=subprocess.DEVNULL,
        # Shells start background commands, and so their children, deaf to interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait(lambda: marker.exists() and marker.read_text())
    parent.send_signal(signal.SIGINT)
    parent.wait(10)

    assert not alive(int(marker.read_text()))


def wait(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_child_finds_modules_as_the_parent_does_and_nothing_in_the_current_folder(
    tmp_path, monkeypatch
):
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the current folder was run')")
    monkeypatch.chdir(tmp_path)

    arguments = [str(tmp_path / "m.onnx"), "10"]
    ended = run_child("packlight.runtime.isolation.vetting_child", arguments, 20, "true")

    assert ended.code == 0
    assert "there is no file" in ended.output


def test_a_file_that_was_written_after_it_was_vetted_is_told_from_it(good):
    vet(good)
    assert is_vetted(good)

    good.write_bytes(good.read_bytes() + b"\0")

    assert not is_vetted(good)


@pytest.mark.parametrize(("load", "times"), [(0.0, 1.0), (3.0 * cores(), 3.0)])
def test_a_large_file_gets_more_time_and_so_does_any_on_a_busy_machine(
    good, monkeypatch, load, times
):
    """Its external data counts: it lies in files named after it."""
    seen = []
    monkeypatch.setattr(
        "packlight.runtime.isolation.confine.run_child",
        lambda module, arguments, seconds, given: seen.append(seconds) or Finished(0, "", ""),
    )
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    weights = good.with_name(f"{good.name}.data")
    for size in (0, 500 * 2**20):
        with weights.open("wb") as file:
            file.truncate(size)
        with pytest.raises(CheckError):
            vet(good, seconds=10)

    assert seen == [100 * times, 600 * times]


@pytest.mark.parametrize("megabytes", [1, 129])
def test_a_large_model_that_nobody_runs_is_read_and_not_opened(tmp_path, megabytes):
    """ONNX Runtime, which does not know the operator, would take memory for all the weights."""
    weight = TensorProto(name="w", data_type=FLOAT, dims=[megabytes, 2**18])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="m.onnx.data")
    with (tmp_path / "m.onnx.data").open("wb") as file:
        file.truncate(megabytes * 2**20)
    node = helper.make_node("Unheard", ["w"], ["y"], domain="of")
    graph = helper.make_graph([node], "g", [], [info("y", FLOAT, [1])], [weight])
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("of", 1)]
    path = tmp_path / "m.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()
    )

    vet(path, runs=False)
    with pytest.raises(ModelError, match="Unheard"):
        vet(path, runs=True)
