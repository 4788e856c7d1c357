"""The table of operators against the tests that the standard itself comes with."""

import collections

import numpy as np
import onnx
import pytest
from onnx.backend.test.loader import load_model_tests

from packlight.model import Model
from packlight.model.map_types import from_proto

torch = pytest.importorskip("torch")

from packlight.torch.interpreter import to_module, unsupported_operators  # noqa: E402
from packlight.torch.values import as_array, as_tensor  # noqa: E402

DIFFERENT = {
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
}
"""Tests that ONNX Runtime does not pass either: the size of a result is whole."""

SHARE = 0.7
"""Of the standard's tests, those whose operators are in the table."""

RELATIVE = 1e-3
COARSE = {"float16": 3e-3, "bfloat16": 2e-2}
SUB_BYTE = ("int4", "uint4", "int2", "uint2")


def plain(value):
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def tensors(value):
    if isinstance(value, list):
        return [as_tensor(np.array(entry)) for entry in value]
    return None if value is None else as_tensor(np.array(value))


def check_equal(expected, result):
    if isinstance(expected, list):
        assert len(expected) == len(result)
        for reference, value in zip(expected, result, strict=True):
            check_equal(reference, value)
        return
    reference = np.array(expected)
    array = as_array(result)
    kind = reference.dtype.name
    assert reference.shape == array.shape
    assert kind in SUB_BYTE or reference.dtype == array.dtype
    wide = np.complex128 if reference.dtype.kind == "c" else np.float64
    tolerance = COARSE.get(kind, RELATIVE)
    np.testing.assert_allclose(
        array.astype(wide), reference.astype(wide), rtol=tolerance, atol=tolerance / 100
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_operators_compute_what_the_standards_own_tests_expect():
    counts = collections.Counter()
    failures = {}
    for case in load_model_tests(kind="node"):
        if case.model is None or case.name in DIFFERENT:
            continue
        model = Model(from_proto(case.model), case.name)
        if unsupported_operators(model):
            counts["refused"] += 1
            continue
        counts["computed"] += 1
        names = [value.name for value in case.model.graph.input]
        try:
            for inputs, outputs in case.data_sets:
                values = [tensors(plain(value)) for value in inputs]
                results = to_module(model)(**dict(zip(names, values, strict=False)))
                for expected, result in zip(outputs, results, strict=False):
                    check_equal(plain(expected), result)
        except Exception as error:  # all failures are listed together
            failures[case.name] = repr(error)[:200]

    assert failures == {}
    assert counts["computed"] >= SHARE * counts.total()
