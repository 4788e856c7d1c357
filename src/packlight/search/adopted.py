"""Models that were made elsewhere, measured like variants of a base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from packlight.errors import ModelError
from packlight.model import Model
from packlight.records import Recipe, SessionOptions, Variant, digest
from packlight.runtime.progress import Progress, silent
from packlight.search.bench import Bench, copy_model, environment
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.task import Task

if TYPE_CHECKING:
    import onnx_ir as ir

SIDES = ("inputs", "outputs")


@contextmanager
def scratch(
    base: Opened,
    task: Task,
    options: SessionOptions,
    *,
    seed: int = 0,
    seconds: float = 2.0,
    progress: Progress = silent,
) -> Iterator[Bench]:
    """A bench whose project goes when it is left."""
    with TemporaryDirectory(prefix="packlight-") as folder, Store.open(Path(folder)) as store:
        yield Bench(store, base, task, options, seed, seconds, progress)


def adopted(bench: Bench, opened: Opened, name: str) -> Variant:
    """A model made elsewhere as a variant beside the bench's original.

    Equal content gives equal ids, the original's included.

    Raises:
        ModelError: it takes or gives something else than the original.
    """
    check_alike(bench.opened.model, opened.model, name)
    key, base = digest({"original": opened.model.digest}), bench.original
    if key == base.id:
        return base
    file = bench.store.put_model(lambda path: copy_model(opened, path))
    recipe = Recipe()
    return Variant(key, base.id, name, recipe, opened.model.digest, file, environment=environment())


def check_alike(base: Model, other: Model, name: str) -> None:
    """Refuse a model that cannot stand in for the base.

    Raises:
        ModelError: naming what differs.
    """
    for side in SIDES:
        wanted, found = getattr(base, side)(), getattr(other, side)()
        if list(wanted) != list(found) or not all(
            alike(wanted[key], found[key], typed=side == "inputs") for key in wanted
        ):
            raise ModelError(
                f"models are compared on the same samples, so their {side} must be alike; "
                f"'{base.name}' has {described(wanted)}, '{name}' has {described(found)}. "
                "Export it again with the same names, types and shapes"
            )


def alike(one: ir.Value, other: ir.Value, *, typed: bool) -> bool:
    """Whether what fits one value fits the other; open dimensions fit all."""
    if typed and one.dtype != other.dtype:
        return False
    if one.shape is None or other.shape is None:
        return True
    sizes = zip(one.shape, other.shape, strict=False)
    fixed = ((a, b) for a, b in sizes if isinstance(a, int) and isinstance(b, int))
    return len(one.shape) == len(other.shape) and all(a == b for a, b in fixed)


def described(values: dict[str, ir.Value]) -> str:
    """Names, types and shapes, in one line."""
    return ", ".join(
        f"{name} {value.dtype.name.lower() if value.dtype else 'unknown'}"
        f"[{', '.join(map(str, value.shape)) if value.shape is not None else '?'}]"
        for name, value in values.items()
    )
