"""How a network is called with the inputs that a user named."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from packlight.errors import ModelError

Given = Mapping[str, object] | Sequence[object]
"""Inputs by name, or in order."""

ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Called:
    """Arguments of a network.

    Attributes:
        args: in order.
        kwargs: by name.
        names: of all, as the user knows them; first those in order.
    """

    args: tuple[object, ...]
    kwargs: dict[str, object]
    names: tuple[str, ...]


def arguments_of(module: torch.nn.Module, given: Given, text: str) -> Called:
    """Where every input goes.

    Names that are those of arguments say which is which. Where none is, they count in order.

    Args:
        module: the network.
        given: inputs.
        text: what the user called the network.

    Raises:
        ModelError: the network does not take such inputs.
    """
    signature = inspect.signature(module.forward)
    if not isinstance(given, Mapping):
        names = ["input"] if len(given) == 1 else [f"input_{at}" for at in range(len(given))]
        return in_order(signature, dict(zip(names, given, strict=True)), text)
    known = [one.name for one in signature.parameters.values() if one.kind not in ANY]
    if not any(name in known for name in given) and fits(signature, *given.values()):
        return in_order(signature, given, text)
    return by_name(signature, given, text)


def in_order(signature: inspect.Signature, given: Mapping[str, object], text: str) -> Called:
    """Inputs one after the other, whatever their names."""
    if not fits(signature, *given.values()):
        raise ModelError(f"{taken(signature, text)}; {len(given)} inputs in order do not fit that")
    return Called(tuple(given.values()), {}, tuple(given))


def by_name(signature: inspect.Signature, given: Mapping[str, object], text: str) -> Called:
    """Inputs by the names of arguments; in the order of arguments, where they have one."""
    order = {name: place for place, name in enumerate(signature.parameters)}
    ordered = sorted(given, key=lambda name: order.get(name, len(order)))
    first = [name for name in ordered if positional_only(signature, name)]
    rest = {name: given[name] for name in ordered if name not in first}
    if not fits(signature, *(given[name] for name in first), **rest):
        named = ", ".join(f"'{name}'" for name in given)
        raise ModelError(
            f"{taken(signature, text)}; got {named}: name every input that it needs as its "
            "forward does, or none of them, and then they count in order"
        )
    bound = signature.bind(*(given[name] for name in first), **rest)
    placed = len(bound.args)
    return Called(bound.args, bound.kwargs, (*ordered[:placed], *bound.kwargs))


def positional_only(signature: inspect.Signature, name: str) -> bool:
    """Whether an argument cannot be given by name."""
    found = signature.parameters.get(name)
    return found is not None and found.kind is inspect.Parameter.POSITIONAL_ONLY


def fits(signature: inspect.Signature, *args: object, **kwargs: object) -> bool:
    """Whether a network can be called so."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def taken(signature: inspect.Signature, text: str) -> str:
    """What the inputs of a network are called."""
    if not signature.parameters:
        return f"the network of '{text}' takes no inputs"
    plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    listed = inspect.Signature(plain, return_annotation=inspect.Signature.empty)
    return f"the network of '{text}' takes {str(listed)[1:-1]}"
