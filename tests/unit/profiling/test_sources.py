"""Lines of Python and modules, from the notes that PyTorch's exporters leave."""

import onnx_ir as ir
import pytest

from packlight.presentation.source_paths import short_names
from packlight.profiling.source_lines import source_of
from packlight.records import SourceLine

TRACE = """File "/home/me/net/model.py", line 284, in forward
    x = self.extract_features(inputs)
  File "/home/me/net/parts/block.py", line 103, in forward
    x = self._swish(x)
  File "/venv/lib/python3.11/site-packages/torch/nn/modules/activation.py", line 294, in forward
    return F.hardtanh(input, self.min_val, self.max_val, self.inplace)"""
SCOPES = "['', '_blocks.0', '_blocks.0._swish', 'hardtanh_1']"


def node(name="n", **notes):
    """An operator with notes."""
    found = ir.node("Clip", [None], name=name)
    for key, text in notes.items():
        found.metadata_props[f"pkg.torch.onnx.{key}"] = text
    return found


def test_a_line_is_that_of_the_innermost_call_outside_pytorch():
    found = source_of(node(stack_trace=TRACE, name_scopes=SCOPES))

    assert found == SourceLine("/home/me/net/parts/block.py", 103, "_blocks.0._swish")


def test_where_all_calls_are_inside_pytorch_the_innermost_is_told():
    inside = TRACE[TRACE.index('File "/venv') :]

    assert source_of(node(stack_trace=inside)).line == 294


@pytest.mark.parametrize(
    ("scopes", "module"),
    [
        ("['', 'add']", "."),
        ("['', 'blocks.3', 'add']", "blocks.3"),
        ("['_empty_nn_module_stack_from_metadata_hook', 'sym_size_int']", ""),
        ("[]", ""),
        ("{'a': 1}", ""),
        ("['', ", ""),
    ],
)
def test_a_module_is_the_innermost_scope_around_the_operation(scopes, module):
    found = source_of(node(stack_trace=TRACE, name_scopes=scopes))

    assert found.module == module


def test_the_older_exporter_says_modules_in_names():
    assert source_of(node("/encoder/0/conv/Conv")) == SourceLine(module="encoder.0.conv")
    assert source_of(node("/Add_2")) == SourceLine(module=".")


def test_an_operator_without_notes_comes_from_nowhere():
    assert source_of(node("conv_1")) is None
    assert source_of(node("stage1/block0/conv")) is None


def test_paths_are_told_from_their_package_or_below_the_folder_that_all_share():
    files = [
        "/home/me/net/model.py",
        "/home/me/net/parts/block.py",
        "/v/lib/python3.11/site-packages/timm/layers/act.py",
        "",
    ]

    assert short_names(files) == dict(
        zip(files, ["model.py", "parts/block.py", "timm/layers/act.py"], strict=False)
    )
    windows = r"C:\me\net\model.py"
    assert short_names([windows]) == {windows: "model.py"}
