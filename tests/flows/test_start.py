"""Large modules that verbs load, in their own process and in the child: no more than needed."""

import json
import subprocess
import sys

import pytest

LARGE = {
    "coverage", "numba", "numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "pandas", "scipy",
    "sqlalchemy", "sympy.core", "torch",
}  # fmt: skip
GRAPHS = {"numpy", "onnx", "onnx_ir"}
COMMAND = """
import json, os, sys
with open(os.devnull, "w") as sys.stdout, open(os.devnull, "w") as sys.stderr:
    from packlight.cli import main
    sys.argv = ["packlight", *json.loads(sys.argv[1])]
    code = main()
sys.stdout = sys.__stdout__
print(json.dumps([code, sorted(sys.modules)]))
"""
CHILD = """
import json, sys
from packlight.postponed import postpone
postpone()
from packlight.api.isolated_child import run_or_explain
answer = run_or_explain(sys.argv[1], 60, json.loads(sys.argv[2]))
assert "found" in answer, answer
print(json.dumps([0, sorted(sys.modules)]))
"""


def large(code, *arguments):
    """Exit code, and large modules that are loaded at the end."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    ended, modules = json.loads(done.stdout.splitlines()[-1])
    return ended, LARGE & set(modules)


@pytest.mark.parametrize(
    ("words", "ended", "expected"),
    [
        (["profile", "zoo:fashion"], 0, set()),
        (["profile", "zoo:fashion", "--device", "pixel-8"], 0, set()),
        (["plan", "zoo:fashion", "--device", "stm32h7"], 0, set()),
        (["plan", "zoo:fashion", "--device", "pixel-9x"], 2, set()),
        (["plan", "code.py:network", "--device", "pixel-9x"], 2, set()),
        (["profile", "zoo:fashion", "--device", "pixel-9x"], 2, set()),
        (["devices", "list"], 0, set()),
        (["lessons"], 0, set()),
        (["compress", "zoo:fashion", "--recipe", "float16", "-o", "{out}"], 0,
         GRAPHS),
        (["compress", "zoo:fashion", "--recipe", "simplify", "-o", "{out}"], 0,
         GRAPHS),
        (["compress", "zoo:fashion", "--recipe", "weights:8,range=minmax", "-o", "{out}"], 0,
         GRAPHS),
    ],
    ids=lambda value: " ".join(value[:2] + value[3:4]) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_command_loads_these_large_modules_only(words, ended, expected, tmp_path):
    words = [word.format(out=tmp_path / "small.onnx") for word in words]

    assert large(COMMAND, json.dumps(words)) == (ended, expected)


@pytest.mark.parametrize("device", ["", "pixel-8"])
def test_the_child_that_profiles_loads_no_kernels_and_no_database(device):
    request = {"inputs": {}, "download": False, "device": device, "unit": ""}
    message = json.dumps({"verb": "profile", "request": request})

    assert large(CHILD, "zoo:fashion", message) == (0, GRAPHS | {"onnxruntime"})


def test_a_verb_alone_brings_the_modules_of_no_other():
    code = "import sys; from packlight.cli.app import command; command(['profile', 'm.onnx'])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(*sys.modules)"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    modules = set(done.stdout.split())

    assert "packlight.cli.profile" in modules
    assert not {"packlight.cli.fit", "packlight.cli.compare", "packlight.cli.devices"} & modules
