"""What packlight never uses of others' modules does not load in its own processes."""

import subprocess
import sys

import pytest

from packlight.runtime.isolation.child import run_child

LOADED = "print('sympy.core' in sys.modules)"


def said(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_a_command_does_not_load_what_only_named_dimensions_need():
    code = f"""
from packlight.cli import main
sys.argv = ["packlight", "profile", "zoo:fashion", "--json"]
sys.stdout, kept = open("/dev/null", "w"), sys.stdout
main()
import packlight.model
sys.stdout = kept
{LOADED}"""
    assert said(code) == ["False"]


def test_children_do_not_load_it_either(tmp_path, monkeypatch):
    (tmp_path / "looking.py").write_text(
        f"import sys, packlight.model\ndef main(arguments): {LOADED}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert run_child("looking", [], 60).output.split() == ["False"]


def test_a_library_loads_as_always():
    assert said(f"import packlight.model\n{LOADED}") == ["True"]


def test_a_verb_in_a_program_does_not_load_it_and_leaves_imports_as_they_were():
    code = f"""
import packlight
packlight.load("zoo:fashion")
{LOADED}
print(any(type(finder).__name__ == 'Postponing' for finder in sys.meta_path))
import sympy
print(sympy.Integer(2) + 1)"""
    assert said(code) == ["False", "False", "3"]


@pytest.mark.parametrize("first", ["", "import sympy", "import packlight.model"])
def test_postponed_modules_work_when_they_are_used(first):
    code = f"""
{first}
from packlight.postponed import postpone
postpone()
postpone()
import onnx_ir, packlight.model
print(sum(type(finder).__name__ == 'Postponing' for finder in sys.meta_path))
print((onnx_ir.SymbolicDim('rows') * 2 + 1).value.replace(' ', ''))"""
    assert said(code) == ["1", "2*rows+1"]
