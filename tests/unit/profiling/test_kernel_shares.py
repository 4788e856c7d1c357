"""Times of kernels as times of operators, from runs that are written by hand."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

from packlight.model import Model
from packlight.profiling import profile
from packlight.profiling.kernel_shares import with_latency
from packlight.profiling.node_tags import tag_nodes
from packlight.runtime.kernel_times import Kernel, Kernels, Run

US = 1e-6


def model():
    """Four operators, of which the second is fused into the first."""
    proto = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[4] x) => (float[4] y) '
        "{ [a] p = Exp(x) [b] q = Relu(p) [c] r = Sqrt(q) [d] y = Neg(r) }"
    )
    return Model(ir.from_proto(proto), "g")


def optimised(copy):
    """Its kernels: a and b as one, c, an inserted Transpose, d."""
    one, two, last = (copy.operators[at].outputs[0].name for at in (1, 2, 3))
    nodes = (
        ("fused", "Exp", "x", one),
        (copy.operators[2].name, "Sqrt", one, two),
        ("Transpose", "Transpose", two, "laid"),
        (copy.operators[3].name, "Neg", "laid", last),
    )
    values = {"x": ir.val("x", ir.DataType.FLOAT, (4,))}
    made = []
    for name, op, read, given in nodes:
        values[given] = ir.val(given, ir.DataType.FLOAT, (4,))
        made.append(ir.Node("", op, [values[read]], outputs=[values[given]], name=name))
    graph = ir.Graph([values["x"]], [values[last]], nodes=made, opset_imports={"": 17})
    return ir.Model(graph, ir_version=9)


def kernels(copy, runs, plain, profiled, steps=1):
    return Kernels(optimised(copy), runs, steps, np.array(plain), np.array(profiled))


def run(copy, spent, more=0.0):
    """One run with these microseconds of each kernel, and more after each."""
    names = ("fused", copy.operators[2].name, "Transpose", copy.operators[3].name)
    keys = [Kernel(name, op, 0) for name, op in
            zip(names, ("Exp", "Sqrt", "Transpose", "Neg"), strict=True)]  # fmt: skip
    taken = {key: (us + more) * US for key, us in zip(keys, spent, strict=True)}
    whole = sum(taken.values())
    return Run(whole + 10 * US, sum(spent) * US, taken, dict.fromkeys(keys, 1))


def measured(runs, plain, profiled, steps=1, more=0.0):
    found = model()
    copy = tag_nodes(found)
    made = [run(copy, one, more) if isinstance(one, tuple) else one for one in runs]
    return with_latency(profile(found, {}), copy, kernels(copy, made, plain, profiled, steps))


def microseconds(found):
    return {one.name: one.latency and round(one.latency.value / US, 6) for one in found.operators}


def test_shares_are_of_the_time_without_profiler_and_add_up_to_it():
    found = measured([(40, 20, 10, 30)] * 40, [200 * US] * 40, [200 * US] * 40)

    assert microseconds(found) == {"a": 80, "b": None, "c": 40, "d": 80}
    assert found.totals["latency"].value == pytest.approx(200 * US)
    assert [(one.placement, one.into) for one in found.operators] == [
        ("kernel", ""), ("fused", "a"), ("kernel", ""), ("kernel", ""),
    ]  # fmt: skip
    assert {one.latency.how for one in found.operators if one.latency} == {"measured"}
    assert found.totals["between_kernels"].value == pytest.approx(10 / 110)
    assert found.totals["profiling_ratio"].value == pytest.approx(1)
    assert found.notes == ()


def test_what_profiling_adds_is_taken_off_each_call_evenly():
    # 5 us of each of 4 calls are profiling: without, 35 + 15 + 5 + 25
    found = measured([(40, 20, 10, 30)] * 40, [80 * US] * 40, [100 * US] * 40)

    assert microseconds(found) == {"a": 35, "b": None, "c": 15, "d": 30}


def test_no_call_is_left_without_time_however_much_profiling_seems_to_add():
    found = measured([(40, 20, 10, 30)] * 40, [50 * US] * 40, [150 * US] * 40)

    times = microseconds(found)
    assert min(value for value in times.values() if value is not None) > 0
    assert sum(value or 0 for value in times.values()) == pytest.approx(50)


@pytest.mark.parametrize(("profiled", "how"), [(119, "measured"), (121, "estimated")])
def test_shares_are_estimates_where_profiling_adds_more_than_a_fifth(profiled, how):
    found = measured([(40, 20, 10, 30)] * 40, [100 * US] * 40, [profiled * US] * 40)

    assert {one.latency.how for one in found.operators if one.latency} == {how}
    assert found.totals["latency"].how == "measured"
    assert any("estimates" in note for note in found.notes) == (how == "estimated")


def test_gaps_are_told_and_count_at_the_kernel_before_them():
    found = measured([(40, 20, 10, 30)] * 40, [200 * US] * 40, [200 * US] * 40, more=25)

    assert microseconds(found) == {"a": 65, "b": None, "c": 45, "d": 90}
    assert found.totals["between_kernels"].value == pytest.approx(110 / 210)
    assert "52% of a profiled run lie between kernels" in found.notes[0]


def test_disturbed_runs_do_not_matter():
    calm, wild = (40, 20, 10, 30), (40, 9000, 10, 30)

    found = measured([calm] * 30 + [wild] * 6, [100 * US] * 36, [100 * US] * 36)

    assert microseconds(found) == {"a": 40, "b": None, "c": 20, "d": 40}
    (own,) = (one.latency for one in found.operators if one.name == "c")
    assert own.low <= own.value <= own.high
    assert own.n < 36


def test_the_steps_of_a_sample_count_on_average():
    pairs = [(40, 20, 10, 30), (60, 40, 10, 50)] * 20

    found = measured(pairs, [130 * US] * 20, [130 * US] * 20, steps=2)

    assert microseconds(found) == {"a": 50, "b": None, "c": 30, "d": 50}


def test_a_kernel_that_no_run_calls_is_said_not_to_run():
    copy = tag_nodes(model())
    whole = run(copy, (40, 20, 10, 30))
    kept = {key: us for key, us in whole.seconds.items() if key.op != "Sqrt"}
    short = Run(whole.length, whole.within, kept, dict.fromkeys(kept, 1))

    found = measured([short] * 40, [80 * US] * 40, [80 * US] * 40)

    assert found.operators[2].placement == "not run"
    assert found.operators[2].latency is None


def test_a_kernel_that_cannot_be_placed_is_told_and_its_time_spread():
    copy = tag_nodes(model())
    whole = run(copy, (40, 20, 10, 30))
    strange = {**whole.seconds, Kernel("new", "Strange", 9): 100 * US}
    odd = Run(whole.length, whole.within, strange, dict.fromkeys(strange, 1))

    found = measured([odd] * 40, [200 * US] * 40, [200 * US] * 40)

    assert microseconds(found) == {"a": 80, "b": None, "c": 40, "d": 80}
    assert "kernels that could not be placed: 1" in found.notes[-1]
