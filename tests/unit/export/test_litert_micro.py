"""Files for microcontrollers: operators that they have, the arena, the C array."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from operator_cases import Case, model_of, normal

import packlight
from packlight.errors import ExportError, InputError

pytest.importorskip(
    "ai_edge_litert", reason="ai-edge-litert is not installed: pip install 'packlight[litert]'"
)

MICRO = ["target=microcontroller"]


def test_a_microcontroller_gets_the_same_bytes_as_an_array(tmp_path: Path) -> None:
    model, _ = model_of(Case("Conv", [normal(1, 4, 8, 8)], {1: normal(6, 4, 3, 3)}))
    bundle = packlight.export(model, "litert", tmp_path / "b", format_options=MICRO, samples=2)
    content = (tmp_path / "b" / "model.tflite").read_bytes()
    source = (tmp_path / "b" / "model.cc").read_text()
    numbers = [int(text, 16) for text in re.findall(r"0x([0-9a-f]{2})", source)]
    assert bytes(numbers) == content
    assert bundle.bytes == len(content)
    header = (tmp_path / "b" / "model.h").read_text()
    arena = int(re.findall(r"MODEL_TENSOR_ARENA_BYTES (\d+)", header)[0])
    assert arena >= 4 * (4 * 8 * 8 + 6 * 6 * 6)
    assert f"{arena:,} bytes of the arena" in bundle.unmeasured[-1]


def test_an_operator_that_microcontrollers_lack_is_refused_by_name(tmp_path: Path) -> None:
    model, _ = model_of(Case("TopK", [normal(3, 8)], {1: np.array([3])}, outputs=2))
    with pytest.raises(ExportError, match="TOPK_V2"):
        packlight.export(model, "litert", tmp_path / "b", format_options=MICRO)


def test_another_target_is_refused(tmp_path: Path) -> None:
    model, _ = model_of(Case("Relu", [normal(3, 8)]))
    with pytest.raises(InputError, match="target=microcontroller"):
        packlight.export(model, "litert", tmp_path / "b", format_options=["target=moon"])
