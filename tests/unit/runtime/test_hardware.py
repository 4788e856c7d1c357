import os
import subprocess
import sys

import onnxruntime
import pytest

from packlight.records import Machine, from_json, to_json
from packlight.runtime import machine
from packlight.runtime.hardware import from_cpuinfo

X86 = """processor\t: 0
model name\t: First CPU @ 2 GHz
flags\t\t: fpu sse4_1 avx2 avx512_vnni

processor\t: 1
model name\t: Second CPU
flags\t\t: fpu
"""
ARM = """processor\t: 0
Features\t: fp asimd asimddp i8mm

Hardware\t: Board
"""


@pytest.mark.parametrize(
    ("text", "name", "flags"),
    [
        (X86, "First CPU @ 2 GHz", "fpu sse4_1 avx2 avx512_vnni"),
        (ARM, "Board", "fp asimd asimddp i8mm"),
    ],
)
def test_name_and_flags_are_those_of_the_first_processor(text, name, flags):
    assert from_cpuinfo(text) == {"name": name, "flags": flags}


def test_this_machine_is_described_once_and_its_record_survives_json():
    found = machine()

    assert found is machine()
    assert from_json(Machine, to_json(found)) == found
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.memory > 2**28
    assert found.processor
    assert found.onnxruntime == onnxruntime.__version__
    assert found.features == tuple(sorted(found.features))


def test_a_machine_with_vnni_does_not_saturate():
    found = machine()
    if not {"avx512_vnni", "avx_vnni"} & set(found.features):
        pytest.skip("this machine has no VNNI")
    assert not found.saturates


def test_importing_the_runtime_by_name_loads_no_more_than_is_asked():
    """The child that measures memory must stay light."""
    code = (
        "import sys; import packlight.runtime.memory_child; "
        "print([n for n in ('onnx', 'onnx_ir', 'onnxscript', 'scipy') if n in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )

    assert done.stdout.strip() == "[]"
