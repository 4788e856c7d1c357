"""Write a PyTorch model as ONNX, as anyone would: torch.onnx, opset 18, weights inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from packlight.records import SessionOptions
from packlight.runtime import open_session

if TYPE_CHECKING:
    import torch

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference to PyTorch, as a share of the largest output."""


def export(
    model: torch.nn.Module,
    example: Mapping[str, torch.Tensor],
    free: Mapping[str, Mapping[int, str]],
    output: str,
    path: Path,
) -> None:
    """Export a model; the file appears whole or not at all.

    Args:
        model: with one output.
        example: inputs, in the order of the model's arguments; no tensor twice, which the
            exporter would take for one input.
        free: by input, names of the axes whose size is free.
        output: name of the output.
        path: where to.
    """
    import torch

    dims = {name: torch.export.Dim(name) for axes in free.values() for name in axes.values()}
    shapes = tuple({axis: dims[name] for axis, name in free[key].items()} for key in example)
    program = torch.onnx.export(
        model.eval(),
        tuple(example.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(example),
        output_names=[output],
        dynamic_shapes=shapes,
        verbose=False,
    )
    assert program is not None
    draft = path.with_suffix(".draft")
    program.save(str(draft), external_data=False)
    check(model, example, output, draft)
    draft.replace(path)


def check(
    model: torch.nn.Module, example: Mapping[str, torch.Tensor], output: str, path: Path
) -> None:
    """Refuse a file that computes something else than the model."""
    import torch

    with torch.no_grad():
        wanted = model(*example.values()).numpy()
    session = open_session(path, SessionOptions())
    found = session.run({name: value.numpy() for name, value in example.items()})[output]
    gap = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    if gap > TOLERANCE:
        raise SystemExit(f"'{path.name}' differs from the PyTorch model by {gap:.1e} of its range")
