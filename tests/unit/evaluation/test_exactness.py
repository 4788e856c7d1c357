"""A variant is labelled where the runtime adds more error than compression did."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from packlight.evaluation import RUNTIME_DIFFERS, runtime_differs
from packlight.evaluation.exactness import evenly_spread
from packlight.model import save
from packlight.records import SessionOptions

ON_OLD_CPU = """
import json, sys
from pathlib import Path
from packlight.evaluate import runtime_differs
from packlight.model import load
from packlight.records import SessionOptions
from packlight.task import load_arrays
rows = []
for folder in map(Path, sys.argv[1:]):
    variant, reference = load(folder / "variant.onnx"), load(folder / "reference.onnx")
    task = load_arrays(folder / "data.npz", reference)
    found = runtime_differs(variant, reference, task, SessionOptions())
    rows.append([found.labels, found.snr_exact.value, found.snr_runtime.value, found.sentence])
print(json.dumps(rows))
"""


def has_vnni():
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else "vnni"
    return "vnni" in flags


def test_eight_bit_activations_in_a_fused_product_are_labelled(blocked_case):
    found = runtime_differs(*blocked_case, SessionOptions(matmul_accuracy=4))

    assert found.labels == (RUNTIME_DIFFERS,)
    assert found.snr_exact.value > 100
    assert found.snr_runtime.value < 60


def test_the_same_file_computed_in_float_is_not_labelled(blocked_case):
    found = runtime_differs(*blocked_case, SessionOptions(matmul_accuracy=1))

    assert found.labels == ()
    assert not found.differs
    assert found.difference < 1e-5


@pytest.mark.parametrize("case", ["static_case", "dynamic_case"])
def test_where_the_kernel_is_right_an_integer_model_is_not_labelled(case, request):
    if not has_vnni():
        pytest.skip("this processor saturates; the next test covers it")
    found = runtime_differs(*request.getfixturevalue(case), SessionOptions())

    assert found.labels == ()
    assert found.snr_exact.value > 30


def test_saturating_kernels_are_labelled(static_case, dynamic_case, tmp_path):
    for labels, exact, runtime, sentence in on_old_cpu([static_case, dynamic_case], tmp_path):
        assert labels == [RUNTIME_DIFFERS]
        assert exact > 30
        assert runtime < 15
        assert "runtime adds more error" in sentence


def on_old_cpu(cases, folder):
    """What ``runtime_differs`` finds on a processor without VNNI: this one, or an emulated one."""
    if not has_vnni():
        found = [runtime_differs(*case, SessionOptions()) for case in cases]
        return [
            (list(one.labels), one.snr_exact.value, one.snr_runtime.value, one.sentence)
            for one in found
        ]
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("this processor has VNNI and qemu-x86_64 is not installed (apt: qemu-user)")
    places = [folder / task.name for _, _, task in cases]
    for place, (variant, reference, task) in zip(places, cases, strict=True):
        place.mkdir()
        save(variant, place / "variant.onnx")
        save(reference, place / "reference.onnx")
        np.savez(place / "data.npz", **task.samples.arrays)
    command = [emulator, "-cpu", "Haswell", sys.executable, "-W", "ignore", "-c", ON_OLD_CPU]
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        [*command, *map(str, places)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1",
             "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_samples_taken_are_spread_over_all():
    assert list(evenly_spread(5, 200)) == [0, 1, 2, 3, 4]
    taken = list(evenly_spread(1000, 200))
    assert len(taken) == 200
    assert taken[0] == 0
    assert taken[-1] == 999
    assert max(np.diff(taken)) <= 6
