"""Models from other tools, measured like variants of a base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from packlight.disk import scratch_folder
from packlight.errors import ModelError
from packlight.model import Model
from packlight.records import Recipe, SessionOptions, Variant, digest
from packlight.runtime.environment import environment
from packlight.runtime.progress import Progress, silent
from packlight.search.bench import Bench, copy_model
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.task import Task
from packlight.task.declared import type_name

if TYPE_CHECKING:
    import onnx_ir as ir

SIDES = ("inputs", "outputs")


@contextmanager
def temporary_bench(
    base: Opened,
    task: Task,
    options: SessionOptions,
    *,
    seed: int = 0,
    seconds: float = 2.0,
    progress: Progress = silent,
) -> Iterator[Bench]:
    """Open a bench whose project is deleted at the end."""
    with scratch_folder() as folder, Store.open(folder) as store:
        yield Bench(store, base, task, options, seed, seconds, progress)


def adopt(bench: Bench, opened: Opened, name: str) -> Variant:
    """Add a model from another tool to a bench as a variant.

    Equal content gives equal ids, also with the original.

    Raises:
        ModelError: its inputs or outputs differ from the original's.
    """
    check_alike(bench.opened.model, opened.model, name)
    key = digest({"original": opened.model.digest})
    base = bench.original
    if key == base.id:
        return base
    file = bench.put_model(lambda path: copy_model(opened, path))
    recipe = Recipe()
    return Variant(key, base.id, name, recipe, opened.model.digest, file, environment=environment())


def check_alike(base: Model, model: Model, name: str) -> None:
    """Refuse a model whose inputs or outputs differ from the base's.

    Raises:
        ModelError: inputs or outputs differ; the message names them.
    """
    for side in SIDES:
        expected = getattr(base, side)()
        actual = getattr(model, side)()
        typed = side == "inputs"
        if list(expected) != list(actual) or not all(
            _is_compatible(expected[key], actual[key], typed=typed) for key in expected
        ):
            raise ModelError(
                f"models are compared on the same samples, so their {side} must be alike; "
                f"'{base.name}' has {_describe(expected)}, '{name}' has {_describe(actual)}. "
                "Export it again with the same names, types and shapes"
            )


def _is_compatible(expected: ir.Value, actual: ir.Value, *, typed: bool) -> bool:
    """Tell if arrays of one value fit another; open dimensions fit all."""
    if typed and expected.dtype != actual.dtype:
        return False
    if expected.shape is None or actual.shape is None:
        return True
    sizes = zip(expected.shape, actual.shape, strict=False)
    fixed = ((a, b) for a, b in sizes if isinstance(a, int) and isinstance(b, int))
    return len(expected.shape) == len(actual.shape) and all(a == b for a, b in fixed)


def _describe(values: dict[str, ir.Value]) -> str:
    texts = []
    for name, value in values.items():
        shape = ", ".join(map(str, value.shape)) if value.shape is not None else "?"
        texts.append(f"{name} {type_name(value)}[{shape}]")
    return ", ".join(texts)
