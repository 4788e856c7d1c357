"""Events of ONNX Runtime's profiler, by hand and from a real session."""

import json

import numpy as np
import pytest

from packlight import zoo
from packlight.model import load
from packlight.records import SessionOptions
from packlight.runtime.kernel_times import Kernel, read_runs, time_kernels

US = 1e-6


def node(name, op, start, length, place=0):
    shapes = [{"float": [1, 2]}]
    args = {"op_name": op, "node_index": str(place), "input_type_shape": shapes}
    return {"cat": "Node", "ph": "X", "name": f"{name}_kernel_time", "ts": start, "dur": length,
            "args": args}  # fmt: skip


def session(name, start, length):
    return {"cat": "Session", "ph": "X", "name": name, "ts": start, "dur": length, "args": {}}


def a_run(at, inner=3):
    """Conv, a Loop that calls Add twice and an If that holds Relu, then Gemm: 100 us."""
    return [
        node("a", "Conv", at + 5, 20),
        node("b", "Add", at + 32, inner),
        node("d", "Relu", at + 44, 4),
        node("c", "If", at + 40, 10),
        node("b", "Add", at + 52, inner),
        node("l", "Loop", at + 30, 30),
        node("g", "Gemm", at + 65, 25),
        session("SequentialExecutor::Execute", at + 3, 94),
        session("model_run", at, 100),
    ]


A, B, C, D, G, L = (Kernel(name, op, 0) for name, op in (
    ("a", "Conv"), ("b", "Add"), ("c", "If"), ("d", "Relu"), ("g", "Gemm"), ("l", "Loop"),
))  # fmt: skip


def test_each_call_takes_until_the_next_begins_without_what_is_inside_it():
    (run,) = read_runs(json.dumps([session("model_loading", 0, 9), *a_run(1000)]))

    assert run.length == pytest.approx(100 * US)
    assert run.within == pytest.approx((20 + 30 + 25) * US)
    assert {kernel: round(seconds / US) for kernel, seconds in run.seconds.items()} == {
        A: 25,  # from 5 to 30
        L: 35 - (8 + 12 + 3),  # from 30 to 65, without its calls
        B: 8 + 3,  # from 32 to 40, and the last one's own length
        C: 12 - 4,  # from 40 to 52, without Relu
        D: 4,
        G: 25,
    }
    assert sum(run.seconds.values()) == pytest.approx((90 - 5) * US)
    assert run.calls == {A: 1, L: 1, B: 2, C: 1, D: 1, G: 1}


def test_runs_are_kept_apart_and_one_cut_short_is_left_out():
    told = [*a_run(1000), *a_run(2000, inner=1), *a_run(3000)[:-1]]

    first, second = read_runs(json.dumps(told))

    assert first.seconds[G] == second.seconds[G]
    assert second.seconds[B] < first.seconds[B]


def test_a_real_session_tells_of_every_kernel_in_every_run():
    model = load(zoo.model_path("fashion"))
    feeds = {"image": np.zeros((1, 1, 28, 28), np.float32)}

    found = time_kernels(model, [feeds, feeds], {}, SessionOptions(), seconds=0.05, rounds=2)

    assert found.plain.shape == found.profiled.shape
    assert len(found.runs) == 2 * len(found.plain)
    assert found.steps == 2
    kernels = {(str(node.name), str(node.op_type)) for node in found.graph.graph}
    for run in found.runs:
        assert {(kernel.name, kernel.op) for kernel in run.seconds} == kernels
        assert set(run.calls.values()) == {1}
        assert run.within <= sum(run.seconds.values()) + 1e-12 <= run.length + 2e-6
