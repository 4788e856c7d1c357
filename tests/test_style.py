"""The size figures of the house style, and what its names and comments never hold."""

import ast
import itertools
import re
import statistics
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "packlight"
MODULES = sorted(SOURCE.rglob("*.py"))
BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def share_within(numbers, limit):
    return sum(number <= limit for number in numbers) / len(numbers)


def functions(path):
    tree = ast.parse(path.read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def body_lines(function):
    """Lines of a function below its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_modules_are_short():
    lines = {path: len(path.read_text().splitlines()) for path in MODULES}

    assert statistics.median(lines.values()) <= 150
    assert share_within(lines.values(), 300) >= 0.9
    assert {str(path): count for path, count in lines.items() if count > 400} == {}


def test_function_bodies_are_short():
    named = [(path, node) for path in MODULES for node in functions(path)]
    lines = {f"{path.relative_to(SOURCE)}:{n.lineno} {n.name}": body_lines(n) for path, n in named}

    assert statistics.median(lines.values()) <= 6
    assert share_within(lines.values(), 22) >= 0.9
    assert {name: count for name, count in lines.items() if count > 40} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_says_what_it_is_and_leaves_nothing_undone(path):
    text = path.read_text()
    parts = itertools.chain(*(part.lower().split("_") for part in path.relative_to(SOURCE).parts))

    assert ast.get_docstring(ast.parse(text)), "a module starts with a docstring"
    assert not BANNED & {part.removesuffix(".py") for part in parts}
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_exception_is_swallowed(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: an except names what it catches"
            silent = all(isinstance(entry, ast.Pass) for entry in node.body)
            assert not silent, f"line {node.lineno}: an exception passes in silence"
