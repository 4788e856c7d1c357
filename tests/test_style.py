"""The house style: sizes, names, docstrings, and no code that reads sentences."""

import ast
import functools
import itertools
import re
import statistics
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "packlight"
MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = Path(__file__).parent
RENDERING = ("presentation", "report", "flows", "cli")
DATA_TESTS = sorted(
    path for path in TESTS.rglob("test_*.py") if not set(RENDERING) & set(path.parts)
)
"""Tests of data; those of the terminal, the report and ``presentation`` read sentences."""

SENTENCES = {"reason", "remedy", "sentence", "next_step", "because", "recommendation"}
PARSING = {
    "startswith",
    "endswith",
    "split",
    "partition",
    "find",
    "index",
    "removeprefix",
    "removesuffix",
}
VAGUE = frozenset(
    [
        "found",
        "one",
        "given",
        "made",
        "told",
        "said",
        "few",
        "every",
        "taken",
        "place",
        "whole",
        "meant",
        "wanted",
        "known",
        "kept",
        "fed",
        "seen",
        "rest",
        "left",
        "others",
        "other",
        "each",
        "both",
        "some",
        "around",
        "near",
        "alone",
        "beside",
        "behind",
        "own",
    ]
)
VAGUE_SHARE = 0.015
CLAUSES = ("What ", "Which ", "How ", "Whether ", "By ", "Those ", "The same ")
CLAUSE_SHARE = 0.03
MOST_DUALS = 0
MOST_CONDITIONALS = 8.0
"""Conditional expressions (``a if b else c``) in 1,000 lines of a package."""
BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def share_within(numbers, limit):
    return sum(number <= limit for number in numbers) / len(numbers)


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


def functions(path):
    tree = parsed(path)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def body_lines(function):
    """Lines of a function below its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_modules_are_short():
    lines = {path: len(path.read_text().splitlines()) for path in MODULES}

    assert statistics.median(lines.values()) <= 150
    assert {str(path): count for path, count in lines.items() if count > 460} == {}


def test_function_bodies_have_a_ceiling():
    named = [(path, node) for path in MODULES for node in functions(path)]
    lines = {f"{path.relative_to(SOURCE)}:{n.lineno} {n.name}": body_lines(n) for path, n in named}

    assert {name: count for name, count in lines.items() if count > 50} == {}


def share_of_vague_names(trees):
    """Vague names among all that are assigned or are arguments."""
    names = [
        node.arg if isinstance(node, ast.arg) else node.id
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and stores(node))
    ]
    return sum(name in VAGUE for name in names) / len(names)


def stores(node):
    return isinstance(node.ctx, ast.Store)


def test_names_say_what_they_hold():
    assert share_of_vague_names(map(parsed, MODULES)) <= VAGUE_SHARE


def test_docstrings_begin_with_a_verb_or_a_noun():
    texts = [ast.get_docstring(node) or "" for path in MODULES for node in functions(path)]
    clauses = [text for text in texts if text.startswith(CLAUSES)]

    assert len(clauses) <= CLAUSE_SHARE * len(texts), clauses


def is_swap(node):
    """Whether an assignment only exchanges names."""
    targets = [ast.dump(item).replace("Store", "Load") for item in node.targets[0].elts]
    return sorted(targets) == sorted(map(ast.dump, node.value.elts))


def test_one_statement_stands_on_a_line():
    duals = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Tuple)
        and isinstance(node.targets[0], ast.Tuple)
        and not is_swap(node)
    ]

    assert len(duals) <= MOST_DUALS, duals


PACKAGES = sorted({path.relative_to(SOURCE).parts[0] for path in MODULES if path.parent != SOURCE})


@pytest.mark.parametrize("package", PACKAGES)
def test_conditional_expressions_are_few(package):
    paths = sorted((SOURCE / package).rglob("*.py"))
    lines = sum(len(path.read_text().splitlines()) for path in paths)
    places = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in paths
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.IfExp)
    ]

    assert len(places) <= MOST_CONDITIONALS * lines / 1000, places


def reads_a_sentence(node):
    """Whether code looks into a text that was written for people."""
    if isinstance(node, ast.Compare):
        return any(map(is_sentence, [node.left, *node.comparators]))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    asked = node.func.attr in PARSING and is_sentence(node.func.value)
    matched = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
    return asked or (matched and any(map(is_sentence, node.args)))


def is_sentence(node):
    return isinstance(node, ast.Attribute) and node.attr in SENTENCES


@pytest.mark.parametrize("path", [*MODULES, *DATA_TESTS], ids=str)
def test_no_code_reads_a_rendered_sentence(path):
    lines = [node.lineno for node in ast.walk(parsed(path)) if reads_a_sentence(node)]

    assert not lines, "read a field or a code instead of a sentence"


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
