"""ExecuTorch's files: written, counted, run in its runtime, and what is refused."""

import numpy as np
import pytest
from onnx import TensorProto

from packlight.errors import ExportError
from packlight.exporting.formats import WriteOptions
from packlight.exporting.front_end import prepare
from packlight.exporting.keeping import keep_encodings
from packlight.exporting.parity import signal_to_noise
from packlight.records import SessionOptions, parse_recipe
from packlight.records.export import GridForm
from packlight.runtime import open_session
from packlight.testing.cases import apply_recipe, sample_calls
from packlight.testing.sketch import Sketch, value_info

pytest.importorskip("torch", reason="PyTorch is an extra: pip install 'packlight[executorch]'")
pytest.importorskip("executorch", reason="an extra: pip install 'packlight[executorch]'")

from packlight.exporting.executorch.counting import read_contents
from packlight.exporting.executorch.format import FORMAT

ENOUGH_DB = 100.0
ROUNDED_DB = 25.0
"""Activations of products are rounded to 8 bits at every call."""

OPTIONS = SessionOptions()
IMAGE = (1, 3, 8, 8)


def pictures():
    """A network of convolutions, a sum and a classifier."""
    draw = Sketch(17)
    stem = draw.add("Conv", "image", draw.weight(16, 3, 3, 3), draw.weight(16), pads=[1] * 4)
    stem = draw.add("Relu", stem)
    depthwise = draw.weight(16, 1, 3, 3)
    branch = draw.add("Conv", stem, depthwise, draw.weight(16), group=16, pads=[1] * 4)
    branch = draw.add("Conv", branch, draw.weight(16, 16, 1, 1), draw.weight(16))
    flat = draw.add("Flatten", draw.add("GlobalAveragePool", draw.add("Add", stem, branch)))
    logits = draw.add("Gemm", flat, draw.weight(5, 16), draw.weight(5), transB=1)
    return draw.model("pictures", [value_info("image", IMAGE)], {logits: (1, 5)})


def words():
    """A network of products, one without a bias and one with it."""
    draw = Sketch(17)
    hidden = draw.add("Tanh", draw.add("MatMul", "words", draw.weight(64, 32)))
    logits = draw.add("Gemm", hidden, draw.weight(32, 16), draw.weight(16))
    return draw.model("words", [value_info("words", (3, 64))], {logits: (3, 16)})


def neutral_of(model, recipe="", calls=4):
    if recipe:
        model = apply_recipe(model, parse_recipe(recipe), sample_calls(model, calls)).model
    return model, prepare(model, {}, {})


def written(neutral, folder, *, expand=False):
    kept = keep_encodings(neutral, "executorch", expand=expand, obstacle=FORMAT.obstacle)
    assert not kept.refusals
    return kept.neutral, FORMAT.write(
        kept.neutral, folder, WriteOptions(source=neutral, expanded=kept.expanded)
    )


def ratios(model, neutral, record, folder, calls):
    """Signal-to-noise ratio of each call, the worst of its outputs."""
    session = open_session(model, OPTIONS)
    runner = FORMAT.open(folder, neutral, record)
    for feeds in calls:
        results = runner.run(feeds)
        expected = session.run(feeds)
        assert list(results) == list(expected)
        assert all(results[name].dtype == array.dtype for name, array in expected.items())
        yield min(signal_to_noise(array, results[name]) for name, array in expected.items())
    runner.close()


def test_a_float_network_is_one_part_and_computes_what_onnx_runtime_does(tmp_path):
    model, neutral = neutral_of(pictures())
    neutral, record = written(neutral, tmp_path)
    contents = read_contents((tmp_path / record.entry).read_bytes())

    assert (contents.parts, contents.operators) == (1, ())
    assert min(ratios(model, neutral, record, tmp_path, sample_calls(model, 3))) >= ENOUGH_DB


def test_static_integers_of_all_operators_are_one_part(tmp_path):
    model, neutral = neutral_of(pictures(), "simplify+static", calls=16)
    neutral, record = written(neutral, tmp_path)
    contents = read_contents((tmp_path / record.entry).read_bytes())
    grids = [weight.name for weight in record.weights if weight.stored.kind == "grid"]

    assert (contents.parts, contents.operators) == (1, ())
    assert len(grids) == 4
    assert not record.rounds
    found = list(ratios(model, neutral, record, tmp_path, sample_calls(model, 9)))
    assert np.median(found) >= ENOUGH_DB  # a sum in the middle between two codes may differ


@pytest.mark.parametrize(("recipe", "label"), [("weights:8", "grid 8"), ("weights:4", "grid 4"),
                                               ("weights:4,block=32", "grid 4")])  # fmt: skip
def test_codes_of_products_stay_codes(recipe, label, tmp_path):
    model, neutral = neutral_of(words(), recipe)
    neutral, record = written(neutral, tmp_path)
    reread = FORMAT.reread(tmp_path, neutral, record)

    assert reread.weights[label] >= 64 * 32 + 32 * 16
    assert record.rounds
    assert min(ratios(model, neutral, record, tmp_path, sample_calls(model, 3))) >= ROUNDED_DB


def test_codes_of_a_convolution_in_floats_are_refused_with_the_recipe_that_is_kept():
    _, neutral = neutral_of(pictures(), "weights:8")
    kept = keep_encodings(neutral, "executorch", expand=False, obstacle=FORMAT.obstacle)

    assert kept.refusals
    assert {refusal.operator for refusal in kept.refusals} == {"Conv"}
    assert {refusal.remedy for refusal in kept.refusals} == {"static"}


def test_what_is_refused_becomes_floats_where_the_user_allows_it(tmp_path):
    model, neutral = neutral_of(pictures(), "weights:8")
    neutral, record = written(neutral, tmp_path, expand=True)
    expanded = {weight.name for weight in record.weights if weight.expanded}

    assert expanded
    assert min(ratios(model, neutral, record, tmp_path, sample_calls(model, 2))) >= ROUNDED_DB


def test_blocks_that_xnnpack_does_not_compute_with_are_refused():
    _, neutral = neutral_of(words(), "weights:4,block=16")
    kept = keep_encodings(neutral, "executorch", expand=False, obstacle=FORMAT.obstacle)

    assert kept.refusals
    assert all(isinstance(refusal.form, GridForm) for refusal in kept.refusals)


def test_an_operator_without_a_kernel_is_refused_by_name(tmp_path):
    draw = Sketch(17)
    result = draw.add("Det", "x")
    _, neutral = neutral_of(draw.model("det", [value_info("x", (3, 3))], {result: ()}))

    with pytest.raises(ExportError, match="Det"):
        written(neutral, tmp_path)


def test_codes_that_come_in_are_not_moved(tmp_path):
    draw = Sketch(17)
    scale = draw.keep(np.float32(0.1))
    zero = draw.keep(np.uint8(7))
    result = draw.add("Neg", draw.add("DequantizeLinear", "codes", scale, zero))
    inputs = [value_info("codes", (2, 3), TensorProto.UINT8)]
    model, neutral = neutral_of(draw.model("codes", inputs, {result: (2, 3)}))
    neutral, record = written(neutral, tmp_path)
    calls = [{"codes": np.arange(6, dtype=np.uint8).reshape(2, 3) * 50}]

    assert min(ratios(model, neutral, record, tmp_path, calls)) >= ENOUGH_DB


def test_names_stand_in_the_file_and_the_same_model_gives_the_same_bytes(tmp_path):
    contents = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        _, neutral = neutral_of(words())
        neutral, record = written(neutral, folder)
        contents.append((folder / record.entry).read_bytes())
        reread = FORMAT.reread(folder, neutral, record)

    assert reread.inputs == {"words": "input 0"}
    assert list(reread.outputs.values()) == ["output 0"]
    assert contents[0] == contents[1]
