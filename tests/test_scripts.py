"""Benchmarks, tools and examples name only what packlight has."""

import ast
import importlib
from pathlib import Path

import pytest

import packlight

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "tools", "examples")
SCRIPTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def resolves(module: str, name: str) -> bool:
    """Whether a module has a name, or a package a module of that name."""
    found = importlib.import_module(module)
    return hasattr(found, name) or bool(importlib.util.find_spec(f"{module}.{name}"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_script_takes_from_packlight_is_there(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("packlight."):
            missing = [name.name for name in node.names if not resolves(node.module, name.name)]
            assert not missing, f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "packlight":
            assert hasattr(packlight, node.attr), f"line {node.lineno}: packlight.{node.attr}"
