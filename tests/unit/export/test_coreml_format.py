"""Packages of Core ML: encodings, names, bytes, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import onnx_ir as ir
import pytest

import packlight
from packlight.errors import ExportError, InputError
from packlight.model import Model

pytest.importorskip(
    "coremltools", reason="coremltools is not installed: pip install 'packlight[coreml]'"
)

RECIPES = {
    "weights:8": "grid 8",
    "weights:4,block=32": "grid 4",
    "palette:4": "palette 4",
    "palette:4,per=group,group=16": "palette 4",
    "palette:4,scaled=true": "palette 4",
    "sparse": "sparse float 16",
    "sparse,values=grid": "sparse grid 8",
    "sparse,values=palette": "sparse palette 8",
    "float16": "float 16",
}


@pytest.fixture(scope="module")
def network() -> Model:
    """A convolution and a product, between values whose names MIL does not allow."""
    numbers = np.random.default_rng(0)
    stored = {
        "kernel": numbers.standard_normal((32, 16, 3, 3)) * 0.1,
        "bias": numbers.standard_normal(32),
        "matrix": numbers.standard_normal((32, 64)) * 0.1,
    }
    nodes = [
        oh.make_node("Conv", ["a/image", "kernel", "bias"], ["features"], pads=[1, 1, 1, 1]),
        oh.make_node("Relu", ["features"], ["positive"]),
        oh.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        oh.make_node("Flatten", ["pooled"], ["flat"]),
        oh.make_node("MatMul", ["flat", "matrix"], ["state"]),
    ]
    graph = oh.make_graph(
        nodes,
        "network",
        [oh.make_tensor_value_info("a/image", 1, (1, 16, 8, 8))],
        [oh.make_tensor_value_info("state", 1, (1, 64))],
        [
            onnx.numpy_helper.from_array(array.astype(np.float32), name)
            for name, array in stored.items()
        ],
    )
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 18)], ir_version=10)
    return Model(ir.from_proto(model), "network")


@pytest.mark.parametrize(("recipe", "label"), RECIPES.items())
def test_an_encoding_is_kept(network: Model, recipe: str, label: str, tmp_path: Path) -> None:
    model = packlight.compress(network, recipe).model
    bundle = packlight.export(model, "coreml", tmp_path / "bundle", samples=3)
    assert bundle.reread.weights[label] >= 4608
    assert bundle.parity is not None
    assert bundle.parity.passed
    assert bundle.parity.evaluated
    assert [run.worst >= 40 for run in bundle.parity.other_runs] == [True]
    encoded = [weight for weight in bundle.weights if weight.elements > 64]
    assert sum(weight.bytes for weight in encoded) <= bundle.reread.bytes["weights"]


def test_the_record_says_what_names_became_and_that_no_device_ran_it(
    network: Model, tmp_path: Path
) -> None:
    bundle = packlight.export(network, "coreml", tmp_path / "bundle", samples=1)
    assert bundle.renamed == {"a/image": "a_image", "state": "state_"}
    assert bundle.reread.outputs == {"state": "state_"}
    assert "no Apple device has run this package" in bundle.unmeasured[0]


def test_the_same_model_gives_the_same_bytes(network: Model, tmp_path: Path) -> None:
    bundles = [
        packlight.export(network, "coreml", tmp_path / name, samples=1, parity=False)
        for name in ("first", "second")
    ]
    assert bundles[0].files == bundles[1].files


def test_float32_inside_is_an_option(network: Model, tmp_path: Path) -> None:
    bundle = packlight.export(
        network, "coreml", tmp_path / "b", samples=2, format_options=["precision=float32"]
    )
    assert bundle.parity is not None
    assert bundle.parity.worst >= 100
    with pytest.raises(InputError, match="precision=float16"):
        packlight.export(network, "coreml", tmp_path / "c", format_options=["precision=int8"])


def test_an_encoding_that_core_ml_lacks_is_refused_with_the_nearest_recipe(
    network: Model, tmp_path: Path
) -> None:
    model = packlight.compress(network, "palette:5").model
    with pytest.raises(ExportError) as refused:
        packlight.export(model, "coreml", tmp_path / "refused")
    assert {refusal.remedy for refusal in refused.value.refusals} == {"palette:6"}
    bundle = packlight.export(model, "coreml", tmp_path / "bundle", expand=True, samples=1)
    expanded = {weight.name for weight in bundle.weights if weight.expanded}
    assert expanded == {refusal.subject for refusal in refused.value.refusals}
