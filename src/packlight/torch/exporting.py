"""A PyTorch network as an ONNX file, with whatever weights it has.

The exporter notes for every operator the module and the line of Python that it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir
import torch

from packlight.compression.encoding.stored_values import UniqueNames, graph_values
from packlight.errors import ModelError
from packlight.torch.calling import Given, arguments_of
from packlight.torch.quiet import quiet

OPSET = 21
PAINT = re.compile(r"\x1b\[[0-9;]*m")
"""How terminals are told a colour."""


def export(made: object, text: str, shapes: Mapping[str, Sequence[int]], path: Path) -> None:
    """Export what a user's function gave.

    Args:
        made: a ``torch.nn.Module``, or that and its example inputs: a tensor, a sequence of
            tensors in the order of the network's arguments, or a mapping by their names.
        text: what the user called it.
        shapes: of float32 inputs, where there are no examples; by the names of the network's
            arguments, or by other names in their order.
        path: where to.

    Raises:
        ModelError: it is no network, has no example inputs or others than it takes, or cannot be
            exported.
    """
    module, given = parts_of(made, text, shapes)
    called = arguments_of(module, given, text)
    try:
        with quiet():
            program = torch.onnx.export(
                module.eval(), called.args, kwargs=called.kwargs, dynamo=True,
                opset_version=OPSET, verbose=False,
            )  # fmt: skip
            assert program is not None
            name_inputs(program.model, called.names)
            program.save(str(path), external_data=False)
    except Exception as error:  # the exporter raises many types; all mean that it cannot
        reason = " ".join(PAINT.sub("", str(root(error))).split())[:300].rstrip(".")
        hint = FLOATS if shapes and OF_TYPES.search(reason) else ""
        raise ModelError(f"PyTorch could not export '{text}': {reason}{hint}") from error


FLOATS = ". --input gives float32 numbers; for others return (network, inputs)"
OF_TYPES = re.compile(r"dtype|scalar type|float32", re.IGNORECASE)
"""What helps where the reason is the type of an input, and what such reasons say."""


def root(error: BaseException) -> BaseException:
    """What an error was first caused by."""
    return error if error.__cause__ is None else root(error.__cause__)


def name_inputs(model: ir.Model, names: Sequence[str]) -> None:
    """Give the inputs of a graph the names that the user knows, in place.

    The exporter can do that too, and then leaves two values of one name where a value inside has
    the user's. Where an argument is no single tensor, its own names stay.
    """
    inputs = model.graph.inputs
    if len(names) != len(inputs):
        return
    free = UniqueNames(model)
    free.taken.update(names)
    for value in graph_values(model.graph):
        if value.name in names and value not in inputs:
            value.name = free.fresh(str(value.name))
    for place, value in enumerate(inputs):
        value.name = f"{place}\0"  # two may change their names
    for name, value in zip(names, inputs, strict=True):
        value.name = name


def parts_of(
    made: object, text: str, shapes: Mapping[str, Sequence[int]]
) -> tuple[torch.nn.Module, Given]:
    """A network and example inputs."""
    module, examples = made if isinstance(made, tuple) and len(made) == 2 else (made, None)  # noqa: PLR2004
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"'{text}' must return a torch.nn.Module, or one and its example inputs; it returns "
            f"{type(module).__name__}"
        )
    if examples is None and not shapes:
        raise ModelError(
            f"'{text}' returns no example inputs; name their shapes, as --input image=1,3,224,224, "
            "or return (network, inputs)"
        )
    if examples is None:
        return module, {name: random(name, shape) for name, shape in shapes.items()}
    if shapes:
        raise ModelError(
            f"'{text}' returns example inputs, so their shapes count and --input "
            f"{next(iter(shapes))} cannot be kept; leave --input out, or return the network alone"
        )
    if isinstance(examples, Mapping):
        return module, {str(name): value for name, value in examples.items()}
    if isinstance(examples, torch.Tensor):
        return module, (examples,)
    if not isinstance(examples, Sequence):
        raise ModelError(
            f"example inputs are a tensor, a tuple of tensors or a dict by name; '{text}' returns "
            f"{type(examples).__name__}"
        )
    return module, tuple(examples)


def random(name: str, shape: Sequence[int]) -> torch.Tensor:
    """An example input, of float32 numbers."""
    try:
        return torch.rand(*shape)
    except RuntimeError as error:
        raise ModelError(
            f"an input of shape {','.join(map(str, shape))} has to fit into memory, for PyTorch "
            f"runs the network with it; '{name}' does not"
        ) from error
