"""Compression, planning and diagnosis ask one table of what ONNX Runtime computes in integers."""

import ast
import shutil
from pathlib import Path

import numpy as np
import pytest

import packlight
from packlight.backends import capabilities as facts
from packlight.backends.capabilities import policy
from packlight.diagnosis.unfused_qdq import MISSING, UNFUSED, cause_of
from packlight.model import nodes
from packlight.planning.already_quantized import integer_operators
from packlight.profiling import profile
from packlight.records import parse_recipe
from packlight.testing import make_case
from packlight.testing.sketch import Sketch, value_info

SHAPE = [1, 8, 12, 12]
ATTRIBUTES = {"MaxPool": {"kernel_shape": [1, 1]}}


@pytest.fixture
def edit(monkeypatch, tmp_path):
    """Replaces a text in the file of ONNX Runtime, until the test ends."""

    def edit(old, new):
        folder = shutil.copytree(facts.FOLDER, tmp_path / "runtimes")
        text = (folder / "onnxruntime.toml").read_text("utf-8")
        assert old in text
        (folder / "onnxruntime.toml").write_text(text.replace(old, new), "utf-8")
        monkeypatch.setattr(facts, "FOLDER", folder)
        clear()

    yield edit
    monkeypatch.undo()
    clear()


def clear():
    facts.capabilities.cache_clear()
    policy.cache_clear()


def between_convolutions(op):
    net = Sketch(17)
    value = net.add("Conv", "x", net.weight(8, 8, 1, 1))
    value = net.add("Conv", net.add(op, value, **ATTRIBUTES.get(op, {})), net.weight(8, 8, 1, 1))
    return net.model("chain", [value_info("x", SHAPE)], {value: SHAPE})


def with_pairs(op):
    """The operator between pairs, as a tool might write them."""
    net = Sketch(17)
    grid = [
        net.keep(number, "grid") for number in (np.array(0.05, np.float32), np.array(128, np.uint8))
    ]

    def pair(value):
        return net.add("DequantizeLinear", net.add("QuantizeLinear", value, *grid), *grid)

    value = pair(net.add(op, pair("x"), **ATTRIBUTES.get(op, {})))
    return net.model("pairs", [value_info("x", SHAPE)], {value: SHAPE})


def answers(op):
    """What compression, planning and diagnosis say of an operator."""
    made = make_case(between_convolutions(op), parse_recipe("static,rounding=nearest")).result
    static = any(
        change.storage.kind == "integer" and not change.storage.bits for change in made.changes
    )
    model = with_pairs(op)
    plan = integer_operators(model.graph, profile(model, {})).by_pairs
    by_type = {node.op_type: node for node in nodes(model.graph)}
    cause = cause_of(by_type["QuantizeLinear"], [by_type[op]], {by_type[op]})
    return static, bool(plan), {MISSING: False, UNFUSED: True}[cause]


@pytest.mark.parametrize(
    ("op", "old", "new", "before"),
    [("Neg", '"Where",\n]', '"Where", "Neg",\n]', False),
     ("LeakyRelu", '"LeakyRelu", ', "", True),
     ("MaxPool", '"MaxPool", ', "", True)],
)  # fmt: skip
def test_static_plan_and_diagnose_follow_the_table(op, old, new, before, edit):
    assert answers(op) == (before,) * 3

    edit(old, new)

    assert answers(op) == (not before,) * 3


ASKING = (
    "compression/qdq", "compression/methods/static.py", "compression/methods/weights.py",
    "planning/already_quantized.py", "planning/feasibility.py", "planning/what_if.py",
    "planning/cost/kernels.py", "planning/cost/operator_latency.py", "diagnosis/unfused_qdq.py",
    "diagnosis/latency.py", "api/quantize_where_faster.py",
)  # fmt: skip
"""Modules that decide by what a runtime computes in integers."""


def collections(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.Set, ast.List, ast.Tuple)):
            yield {item.value for item in node.elts if isinstance(item, ast.Constant)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield set(node.value.split()) if "." not in node.value else set()


def test_no_module_that_asks_has_a_table_of_its_own():
    table = facts.capabilities("onnxruntime")
    named = {*table.weight_operators, *table.integer_operators, *table.code_movers}
    root = Path(packlight.__file__).parent
    files = [root / name for name in ASKING]
    modules = [path for file in files for path in ([file] if file.is_file() else file.glob("*.py"))]

    assert len(modules) > len(ASKING)
    for path in modules:
        for words in collections(ast.parse(path.read_text("utf-8"))):
            both = words & named
            assert len(both) < 3, (path, both)
