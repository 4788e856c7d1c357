"""The exact size of integer models, without their weights.

Integer arithmetic changes the graph as a whole, so its parts do not add up over operators. The file
is made for a stand-in whose weights have a single input each; then every stand-in's codes are
counted as those of the weight. What may be refused for its numbers stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from packlight.backends.capabilities import capabilities
from packlight.compression import AppliedRecipe, compress
from packlight.compression.sites.weight_sites import Weight, weight_sites
from packlight.model import Model
from packlight.model.size import skeleton
from packlight.planning.value_checks import Numbers
from packlight.records.recipe import Recipe
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

CODES = ".codes"
"""How the names of a weight's codes end."""


def integer_size(
    model: Model, recipe: Recipe, numbers: Numbers, *, in_place: bool = False
) -> tuple[int, tuple[Change, ...], tuple[Refusal, ...]]:
    """Bytes of the file that a recipe with ``static`` makes, its changes and its refusals.

    Args:
        model: stays as it is, unless it is to be edited in place.
        recipe: one of its steps is ``static``.
        numbers: that are stored.
        in_place: whether the model may be edited, which saves a copy of a large graph.
    """
    stand_in = model.graph if in_place else model.clone()
    sites = [site for site in weight_sites(stand_in) if isinstance(site, Weight)]
    shapes = dict(stood_in(stand_in, [s for s in sites if not numbers.extreme(s.tensor)]))
    made = compress(
        Model(stand_in, model.name),
        recipe,
        Calibrator(sizes_only=True),
        held=0,
        in_place=True,
    )
    file = skeleton(made.model.graph)
    whole = replace(file, tensors=tuple(restored(tensor, shapes) for tensor in file.tensors))
    sizes = {site.operator: site.tensor.nbytes for site in sites}
    return whole.size(), tuple(widened(made, sizes)), made.refusals


def stood_in(graph: ir.Model, sites: Sequence[Weight]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give weights of integer operators a single input, in place; their shapes by name.

    Only those that the main graph stores: others are not counted by name.
    """
    stored = graph.graph.initializers
    integer = capabilities("onnxruntime").weight_operators
    for site in sites:
        if stored.get(str(site.value.name)) is site.value and site.roles[0].node.op_type in integer:
            shape = site.shape
            small = [1 if axis in site.summed else size for axis, size in enumerate(shape)]
            site.store(ir.Tensor(np.ones(small, np.float32), name=site.value.name))
            yield str(site.value.name), shape


def restored(tensor: ir.TensorProtocol, shapes: Mapping[str, tuple[int, ...]]) -> ir.TensorProtocol:
    """What is stored, of the shape that it has for the whole weight."""
    name = str(tensor.name)
    shape = shapes.get(name) or shapes.get(name.removesuffix(CODES) if CODES in name else "")
    if shape is None or len(shape) != len(tensor.shape):
        return tensor
    dtype = tensor.dtype
    return ir.LazyTensor(
        lambda: ir.Tensor(np.zeros(shape, dtype.numpy()), dtype=dtype),
        dtype=dtype, shape=ir.Shape(shape), name=name, cache=False,
    )  # fmt: skip


def widened(made: AppliedRecipe, sizes: Mapping[str, int]) -> Iterator[Change]:
    """The changes with the bytes of the whole weights, which are given by operator."""
    for change in made.changes:
        before = sizes.get(change.operator, change.before)
        scales = change.after - change.before // 4
        whole = change.method == "static" and change.before
        yield replace(change, before=before, after=before // 4 + scales) if whole else change
