"""``prepare``: a network whose weights are compressed while it is trained, and its file after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from packlight.api.compress import compress
from packlight.compression.methods.table import METHODS
from packlight.compression.recipe_text import AnyRecipe, read_recipe
from packlight.disk.writing import scratch_folder
from packlight.errors import ModelError
from packlight.model import Model, load
from packlight.runtime.progress import Progress, silent
from packlight.sources.opening import AnyTask, open_model

if TYPE_CHECKING:
    import torch

    from packlight.compression.training.prepared import Prepared

NEEDS_TORCH = "prepare needs PyTorch: pip install 'packlight[torch]'"


def prepare(
    model: torch.nn.Module | Model | str | Path,
    recipe: AnyRecipe,
    inputs: torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor] | None = None,
    *,
    task: AnyTask | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Prepared:
    """Prepare a network for training with its weights in the form of a recipe.

    Train what comes back like any module, then call its ``finish``.

    Args:
        model: a PyTorch network, as it computes in inference; or an ONNX model.
        recipe: steps that store weights, remove channels or compute in integers by Q/DQ.
        inputs: examples for a PyTorch network: a tensor, tensors in the order of its arguments, or
            by their names; the first axis of each is the batch, of any size.
        task: calibration samples for steps that need them.
        seed: of everything random.
        progress: told what is being done.

    Raises:
        ModelError: PyTorch is not installed, or cannot export the network.
        RecipeError: no gradient can reach what a step stores.
        InputError: the model, the recipe or the task cannot be used.
    """
    if find_spec("torch") is None:
        raise ModelError(NEEDS_TORCH)
    from packlight.compression.training.prepared import Prepared, check_trainable  # noqa: PLC0415
    from packlight.compression.training.student import build_student  # noqa: PLC0415  PyTorch

    original = _float_model(model, inputs)
    steps = read_recipe(recipe, seed)
    stored = compress(original, steps, task=task, progress=progress).model
    check_trainable(stored)
    ahead = tuple(takewhile(lambda step: not METHODS[step.method].replaces, steps.steps))
    floats = original
    if ahead:
        floats = compress(original, replace(steps, steps=ahead), task=task, progress=progress).model
    return Prepared(build_student(stored, floats.graph), original, stored)


def _float_model(
    model: torch.nn.Module | Model | str | Path,
    inputs: torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor] | None,
) -> Model:
    """The model before the recipe; a PyTorch network is exported for batches of any size."""
    if isinstance(model, Model):
        return model
    if isinstance(model, str | Path):
        return open_model(model).model
    from packlight.sources.torch_export import export  # noqa: PLC0415  loads PyTorch

    name = type(model).__name__
    was_training = model.training
    with scratch_folder() as folder:
        path = folder / f"{name}.onnx"
        try:
            export((model, inputs), name, {}, path, batched=True)
        finally:
            model.train(was_training)
        return load(path)
