"""Each operator in LiteRT's interpreter, with and without XNNPACK, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import pytest
from operator_cases import CASES, Case, model_of, normal

from packlight.errors import ExportError
from packlight.exporting.front_end import prepare
from packlight.exporting.parity import signal_to_noise
from packlight.records import SessionOptions
from packlight.runtime import open_session

pytest.importorskip("ai_edge_litert")

from packlight.exporting.litert.conversion import convert
from packlight.exporting.litert.format import InterpreterRunner


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_computes_what_onnx_runtime_computes(case: Case, tmp_path: Any) -> None:
    model, feeds = model_of(case)
    neutral = prepare(model, {}, {})
    path = tmp_path / "model.tflite"
    path.write_bytes(convert(neutral).content)
    expected = open_session(model, SessionOptions()).run(feeds)
    for delegate in (True, False):
        runner = InterpreterRunner(path, delegate=delegate)
        results = runner.run(feeds)
        for name, array in expected.items():
            assert results[name].shape == array.shape
            assert results[name].dtype == array.dtype
            assert signal_to_noise(array, results[name]) >= case.decibels
        runner.close()


def test_an_operator_that_litert_lacks_is_refused_by_name() -> None:
    model, _ = model_of(Case("Det", [normal(3, 3)]))
    with pytest.raises(ExportError, match="Det"):
        convert(prepare(model, {}, {}))
