"""Bind the inputs that a user named to the arguments of a network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from packlight.errors import ModelError

ExampleInputs = Mapping[str, object] | Sequence[object]
"""Inputs by name, or in order."""

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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


def bind_inputs(module: torch.nn.Module, inputs: ExampleInputs, text: str) -> Arguments:
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
        return bind_in_order(signature, dict(zip(names, inputs, strict=True)), text)
    parameters = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind not in VARIADIC
    ]
    if not any(name in parameters for name in inputs) and can_bind(signature, *inputs.values()):
        return bind_in_order(signature, inputs, text)
    return bind_by_name(signature, inputs, text)


def bind_in_order(
    signature: inspect.Signature, inputs: Mapping[str, object], text: str
) -> Arguments:
    """Bind inputs in order, whatever their names."""
    if not can_bind(signature, *inputs.values()):
        raise ModelError(
            f"{inputs_text(signature, text)}; {len(inputs)} inputs in order do not fit that"
        )
    return Arguments(tuple(inputs.values()), {}, tuple(inputs))


def bind_by_name(
    signature: inspect.Signature, inputs: Mapping[str, object], text: str
) -> Arguments:
    """Bind inputs by the names of arguments, in the order of arguments."""
    order = {name: index for index, name in enumerate(signature.parameters)}
    ordered = sorted(inputs, key=lambda name: order.get(name, len(order)))
    positional = [name for name in ordered if positional_only(signature, name)]
    keyword_inputs = {name: inputs[name] for name in ordered if name not in positional}
    if not can_bind(signature, *(inputs[name] for name in positional), **keyword_inputs):
        named = ", ".join(f"'{name}'" for name in inputs)
        raise ModelError(
            f"{inputs_text(signature, text)}; got {named}: name every input that it needs as its "
            "forward does, or none of them, and then they count in order"
        )
    bound = signature.bind(*(inputs[name] for name in positional), **keyword_inputs)
    count = len(bound.args)
    return Arguments(bound.args, bound.kwargs, (*ordered[:count], *bound.kwargs))


def positional_only(signature: inspect.Signature, name: str) -> bool:
    """Test whether an argument cannot be passed by name."""
    parameter = signature.parameters.get(name)
    return parameter is not None and parameter.kind is inspect.Parameter.POSITIONAL_ONLY


def can_bind(signature: inspect.Signature, *args: object, **kwargs: object) -> bool:
    """Test whether a network accepts these arguments."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def inputs_text(signature: inspect.Signature, text: str) -> str:
    """A sentence with the parameters of a network."""
    if not signature.parameters:
        return f"the network of '{text}' takes no inputs"
    plain = [entry.replace(annotation=entry.empty) for entry in signature.parameters.values()]
    listed = inspect.Signature(plain, return_annotation=inspect.Signature.empty)
    return f"the network of '{text}' takes {str(listed)[1:-1]}"
