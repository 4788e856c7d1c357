"""What a recipe is applied to: a file or a value, and which files are left alone."""

import onnx
import pytest

from packlight import compress
from packlight.errors import InputError
from packlight.model import load, save, stored_size
from packlight.testing import NETWORKS


@pytest.fixture
def external(tmp_path):
    """A model with its weights in a file beside it."""
    save(NETWORKS["residual-17"](), tmp_path / "inline.onnx")
    path = tmp_path / "m.onnx"
    onnx.save_model(
        onnx.load(tmp_path / "inline.onnx"), path, save_as_external_data=True,
        location="m.onnx.data", size_threshold=0,
    )  # fmt: skip
    return path


def test_a_file_and_its_value_are_compressed_to_the_same_bytes(external, tmp_path):
    first = compress(external, "weights:8", tmp_path / "first.onnx")
    second = compress(load(external), "weights:8", tmp_path / "second.onnx")

    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
    assert first.variant.id == second.variant.id
    assert first.before == stored_size(external)
    assert second.before == (tmp_path / "inline.onnx").stat().st_size
    assert first.after == second.after == (tmp_path / "first.onnx").stat().st_size


@pytest.mark.parametrize("name", ["m.onnx.data", "m.onnx"])
def test_what_a_value_reads_its_weights_from_is_never_written_over(external, name):
    """Past 2 GB, m.onnx would put its weights where those that are read lie."""
    before = {path: path.read_bytes() for path in external.parent.iterdir()}

    with pytest.raises(InputError, match="is what is read"):
        compress(load(external), "weights:8", external.with_name(name))

    assert {path: path.read_bytes() for path in external.parent.iterdir()} == before
