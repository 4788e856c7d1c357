"""Export a PyTorch network with its weights as an ONNX file.

The exporter records for every operator its module and line of Python.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import onnx_ir as ir
import torch

from packlight.compression.encoding.stored_values import UniqueNames, graph_values
from packlight.errors import ModelError

OPSET = 21
ANSI_COLOR = re.compile(r"\x1b\[[0-9;]*m")
"""Escape codes for colors of a terminal."""

NamedInputs = Mapping[str, object]
ExampleInputs = NamedInputs | Sequence[object]
"""Inputs by name, or in order."""

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

EXPORTERS = ("torch", "onnxscript", "onnx_ir")
"""First part of the names of the exporters' loggers."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments of a network.

    Attributes:
        args: in order.
        kwargs: by name.
        names: the user's names of all arguments; first those in order.
    """

    args: tuple[object, ...]
    kwargs: dict[str, object]
    names: tuple[str, ...]


def export(
    result: object,
    text: str,
    shapes: Mapping[str, Sequence[int]],
    path: Path,
    *,
    batched: bool = False,
) -> None:
    """Export the result of a user's function.

    Args:
        result: a ``torch.nn.Module``, or that and its example inputs: a tensor, a sequence of
            tensors in the order of the network's arguments, or a mapping by their names.
        text: the user's name of it.
        shapes: of float32 inputs, where there are no examples; by the names of the network's
            arguments, or by any names in their order.
        path: of the ONNX file.
        batched: whether the first axis of every input may have any size.

    Raises:
        ModelError: it is no network, has no or unsuitable example inputs, or cannot be exported.
    """
    module, inputs = _network_and_inputs(result, text, shapes)
    arguments = _bind_inputs(module, inputs, text)
    sizes = None
    if batched:
        arguments = _of_two(arguments)
        sizes = _open_batches(module, arguments)
    try:
        with _silenced_exporters():
            program = torch.onnx.export(
                module.eval(), arguments.args, kwargs=arguments.kwargs, dynamo=True,
                opset_version=OPSET, verbose=False, dynamic_shapes=sizes,
            )  # fmt: skip
            assert program is not None
            _name_inputs(program.model, arguments.names)
            program.save(str(path), external_data=False)
    except Exception as error:  # the exporter raises many types; all mean failure
        reason = " ".join(ANSI_COLOR.sub("", str(_first_cause(error))).split())[:300].rstrip(".")
        hint = FLOAT_HINT if shapes and TYPE_ERROR.search(reason) else ""
        raise ModelError(f"PyTorch could not export '{text}': {reason}{hint}") from error


def _of_two(arguments: Arguments) -> Arguments:
    """Arguments with batches of two at least: the exporter takes a size of one as fixed."""

    def widened(value: object) -> object:
        if isinstance(value, torch.Tensor) and value.ndim and len(value) == 1:
            return torch.cat([value, value])
        return value

    args = tuple(map(widened, arguments.args))
    kwargs = {name: widened(value) for name, value in arguments.kwargs.items()}
    return replace(arguments, args=args, kwargs=kwargs)


def _open_batches(module: torch.nn.Module, arguments: Arguments) -> dict[str, object]:
    """Sizes that may differ, by argument: the first of every tensor."""
    bound = inspect.signature(module.forward).bind(*arguments.args, **arguments.kwargs).arguments
    fixed = dict.fromkeys(bound)
    tensors = [name for name, value in bound.items() if isinstance(value, torch.Tensor)]
    return {**fixed, **{name: {0: torch.export.Dim.DYNAMIC} for name in tensors}}


FLOAT_HINT = ". --input gives float32 numbers; for others return (network, inputs)"
TYPE_ERROR = re.compile(r"dtype|scalar type|float32", re.IGNORECASE)
"""Pattern of reasons about the type of an input, to which the hint applies."""


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _name_inputs(model: ir.Model, names: Sequence[str]) -> None:
    """Give the inputs of a graph the user's names, in place.

    The exporter can do that too, but leaves two values of one name where an inner value has the
    user's name. Where an argument is no single tensor, the exporter's names stay.
    """
    inputs = model.graph.inputs
    if len(names) != len(inputs):
        return
    names_in_use = UniqueNames(model)
    names_in_use.taken.update(names)
    for value in graph_values(model.graph):
        if value.name in names and value not in inputs:
            value.name = names_in_use.fresh(str(value.name))
    for index, value in enumerate(inputs):
        value.name = f"{index}\0"  # two inputs may swap names
    for name, value in zip(names, inputs, strict=True):
        value.name = name


def _network_and_inputs(
    result: object, text: str, shapes: Mapping[str, Sequence[int]]
) -> tuple[torch.nn.Module, ExampleInputs]:
    """A network and example inputs."""
    module, examples = result if isinstance(result, tuple) and len(result) == 2 else (result, None)  # noqa: PLR2004
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
        return module, {name: _random_input(name, shape) for name, shape in shapes.items()}
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


def _random_input(name: str, shape: Sequence[int]) -> torch.Tensor:
    """An example input, of float32 numbers."""
    try:
        return torch.rand(*shape)
    except RuntimeError as error:
        raise ModelError(
            f"an input of shape {','.join(map(str, shape))} has to fit into memory, for PyTorch "
            f"runs the network with it; '{name}' does not"
        ) from error


def _bind_inputs(module: torch.nn.Module, inputs: ExampleInputs, text: str) -> Arguments:
    """Bind inputs to the arguments of a network, by name, or in order where no name matches.

    Args:
        module: the network.
        inputs: by name, or in order.
        text: the user's name of the network.

    Raises:
        ModelError: the network does not take such inputs.
    """
    signature = inspect.signature(module.forward)
    if not isinstance(inputs, Mapping):
        names = [f"input_{index}" for index in range(len(inputs))]
        if len(inputs) == 1:
            names = ["input"]
        return _bind_in_order(signature, dict(zip(names, inputs, strict=True)), text)
    parameters = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind not in VARIADIC
    ]
    if not any(name in parameters for name in inputs) and _can_bind(signature, *inputs.values()):
        return _bind_in_order(signature, inputs, text)
    return _bind_by_name(signature, inputs, text)


def _bind_in_order(signature: inspect.Signature, inputs: NamedInputs, text: str) -> Arguments:
    if not _can_bind(signature, *inputs.values()):
        expected = _inputs_text(signature, text)
        raise ModelError(f"{expected}; {len(inputs)} inputs in order do not fit that")
    return Arguments(tuple(inputs.values()), {}, tuple(inputs))


def _bind_by_name(signature: inspect.Signature, inputs: NamedInputs, text: str) -> Arguments:
    """Bind inputs by the names of arguments, in the order of arguments."""
    order = {name: index for index, name in enumerate(signature.parameters)}
    ordered = sorted(inputs, key=lambda name: order.get(name, len(order)))
    positional = [name for name in ordered if _positional_only(signature, name)]
    keyword_inputs = {name: inputs[name] for name in ordered if name not in positional}
    if not _can_bind(signature, *(inputs[name] for name in positional), **keyword_inputs):
        named = ", ".join(f"'{name}'" for name in inputs)
        raise ModelError(
            f"{_inputs_text(signature, text)}; got {named}: name every input that it needs as its "
            "forward does, or none of them, and then they count in order"
        )
    bound = signature.bind(*(inputs[name] for name in positional), **keyword_inputs)
    count = len(bound.args)
    return Arguments(bound.args, bound.kwargs, (*ordered[:count], *bound.kwargs))


def _positional_only(signature: inspect.Signature, name: str) -> bool:
    parameter = signature.parameters.get(name)
    return parameter is not None and parameter.kind is inspect.Parameter.POSITIONAL_ONLY


def _can_bind(signature: inspect.Signature, *args: object, **kwargs: object) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _inputs_text(signature: inspect.Signature, text: str) -> str:
    if not signature.parameters:
        return f"the network of '{text}' takes no inputs"
    plain = [entry.replace(annotation=entry.empty) for entry in signature.parameters.values()]
    listed = inspect.Signature(plain, return_annotation=inspect.Signature.empty)
    return f"the network of '{text}' takes {str(listed)[1:-1]}"


def _is_from_user(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] not in EXPORTERS


def _log_handlers() -> set[logging.Handler]:
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    if logging.lastResort is not None:
        handlers.add(logging.lastResort)
    return handlers


@contextlib.contextmanager
def _silenced_exporters() -> Iterator[None]:
    """Silence output and warnings of the exporter; its error has the reason of a failure."""
    handlers = _log_handlers()
    for handler in handlers:
        handler.addFilter(_is_from_user)
    try:
        with (
            contextlib.redirect_stdout(StringIO()),
            contextlib.redirect_stderr(StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(_is_from_user)
