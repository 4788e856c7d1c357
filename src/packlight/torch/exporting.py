"""A PyTorch network as an ONNX file, with whatever weights it has.

The exporter notes for every operator the module and the line of Python that it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import torch

from packlight.errors import ModelError

OPSET = 21
PAINT = re.compile(r"\x1b\[[0-9;]*m")
"""How terminals are told a colour."""

Inputs = Mapping[str, torch.Tensor]


def export(made: object, text: str, shapes: Mapping[str, Sequence[int]], path: Path) -> None:
    """Export what a user's function gave.

    Args:
        made: a ``torch.nn.Module``, or that and its example inputs: a tensor, a sequence of
            tensors, or a mapping by name, in the order of the network's arguments.
        text: what the user called it.
        shapes: of float32 inputs, where there are no examples.
        path: where to.

    Raises:
        ModelError: it is no network, has no example inputs, or cannot be exported.
    """
    module, inputs = parts_of(made, text, shapes)
    try:
        with redirect_stdout(StringIO()):
            program = torch.onnx.export(
                module.eval(), tuple(inputs.values()), dynamo=True, opset_version=OPSET,
                input_names=list(inputs), verbose=False,
            )  # fmt: skip
        assert program is not None
        program.save(str(path), external_data=False)
    except Exception as error:  # the exporter raises many types; all mean that it cannot
        reason = " ".join(PAINT.sub("", str(root(error))).split())[:300]
        raise ModelError(f"PyTorch could not export '{text}': {reason}") from error


def root(error: BaseException) -> BaseException:
    """What an error was first caused by."""
    return error if error.__cause__ is None else root(error.__cause__)


def parts_of(
    made: object, text: str, shapes: Mapping[str, Sequence[int]]
) -> tuple[torch.nn.Module, Inputs]:
    """A network and example inputs by name."""
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
        return module, {name: torch.rand(*shape) for name, shape in shapes.items()}
    if isinstance(examples, torch.Tensor):
        return module, {"input": examples}
    if isinstance(examples, Mapping):
        return module, {str(name): value for name, value in examples.items()}
    return module, {f"input_{place}": value for place, value in enumerate(examples)}
