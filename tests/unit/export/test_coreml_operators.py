"""Each operator in a package of Core ML, read back and evaluated, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
from operator_cases import CASES, Case, model_of, normal

from packlight.errors import ExportError
from packlight.exporting.front_end import prepare
from packlight.exporting.parity import signal_to_noise
from packlight.records import SessionOptions
from packlight.runtime import open_session

pytest.importorskip(
    "coremltools", reason="coremltools is not installed: pip install 'packlight[coreml]'"
)

from packlight.exporting.coreml.conversion import write_package
from packlight.exporting.coreml.format import PackageRunner


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_computes_what_onnx_runtime_computes(case: Case, tmp_path: Path) -> None:
    model, feeds = model_of(case)
    neutral = prepare(model, {}, {})
    path = tmp_path / "model.mlpackage"
    write_package(neutral, path, "float32")
    expected = open_session(model, SessionOptions()).run(feeds)
    results = PackageRunner(path, neutral).run(feeds)
    for name, array in expected.items():
        assert results[name].shape == array.shape
        assert results[name].dtype == array.dtype
        assert signal_to_noise(array, results[name]) >= case.decibels


def test_an_operator_that_core_ml_lacks_is_refused_by_name(tmp_path: Path) -> None:
    model, _ = model_of(Case("Det", [normal(3, 3)]))
    with pytest.raises(ExportError, match="Det"):
        write_package(prepare(model, {}, {}), tmp_path / "model.mlpackage", "float16")
