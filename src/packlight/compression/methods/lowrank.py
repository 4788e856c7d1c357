"""Low rank: a weight becomes the product of two, where these are smaller together.

A dense layer becomes two, a convolution becomes one with fewer filters and a 1x1 convolution behind
it. Both are ordinary operators, so that arithmetic shrinks with the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.stored_values import UniqueNames
from packlight.compression.method import Method
from packlight.compression.reconstruction.bias_correction import bias_of
from packlight.compression.sites.weight_matrix import weight_layout
from packlight.compression.sites.weight_roles import MATRIX, Role, is_standard
from packlight.compression.sites.weight_sites import (
    Weight,
    WeightSite,
    every_weight_site,
    float32_refusal,
    weight_defect,
)
from packlight.compression.structure.low_rank import Spectrum, choose_ranks, spectra
from packlight.model import Model, infer_shapes, nodes, owning_graph
from packlight.model.shapes import Shape
from packlight.records.storage import StoredLowRank
from packlight.records.structure_configs import LowRank
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

Doubles = NDArray[np.float64]
WORTH = 0.9
"""Share of a weight's numbers that two may have together: with more there is little to gain."""

SPATIAL = 2


@dataclass(frozen=True, slots=True)
class Site(WeightSite):
    """A weight that two can stand in for.

    Attributes:
        outputs: of the operator.
        inputs: that each sums over.
        places: times that each number is multiplied at a call; open sizes count as 1.
    """

    outputs: int
    inputs: int
    places: int

    @property
    def largest_rank(self) -> int:
        """The largest rank with which two weights are notably smaller than one."""
        return int(WORTH * self.outputs * self.inputs / (self.outputs + self.inputs))


def sites(graph: ir.Model, config: LowRank) -> Iterator[Site | Refusal]:
    """Every weight that two can stand in for, and refusals of all others."""
    del config
    shapes = infer_shapes(Model(graph, "low rank"), {})
    for weight in every_weight_site(graph):
        yield weight if isinstance(weight, Refusal) else _decide(weight, shapes)


def _decide(weight: Weight, shapes: Mapping[str, Shape]) -> Site | Refusal:
    refusal = float32_refusal(weight) or _unsuited(weight)
    if refusal is not None:
        return refusal
    role = weight.roles[0]
    _, outputs, inputs = weight_layout(weight).sizes()
    site = Site(weight, outputs, inputs, _places(role, shapes))
    if site.largest_rank < 1:
        reason = f"two weights of {outputs} outputs and {inputs} inputs would be no smaller"
        return Refusal(weight.operator, "not-smaller", reason)
    return site


def _unsuited(weight: Weight) -> Refusal | None:
    """Refusal of a weight that has no form with two; None where it has one."""
    role = weight.roles[0]
    node = role.node
    if len(weight.roles) > 1:
        names = ", ".join(role.operator for role in weight.roles)
        return Refusal(weight.operator, "shared", f"its weight is shared by {names}")
    if not is_standard(node, *WRITERS):
        reason = f"a {node.op_type} has no form with two weights"
        return Refusal(weight.operator, "unsupported-operator", reason)
    if node.attributes.get_int("transA", 0):
        return Refusal(weight.operator, "unsupported-attributes", "it reads transposed inputs")
    if node.attributes.get_int("group", 1) > 1:
        return Refusal(weight.operator, "unsupported-attributes", "it computes in groups")
    if node.op_type == "MatMul" and (role.index != 1 or role.rank != MATRIX):
        reason = "its weight is no matrix on the right of a product"
        return Refusal(weight.operator, "unsupported-shape", reason)
    return None


def _places(role: Role, shapes: Mapping[str, Shape]) -> int:
    shape = shapes.get(str(role.node.outputs[0].name), ())
    kept = shape[SPATIAL:] if role.node.op_type == "Conv" else shape[:-1]
    return math.prod(size or 1 for size in kept)


def apply(
    graph: ir.Model, sites: Sequence[Site], calibrator: Calibrator, config: LowRank
) -> list[Change | Refusal]:
    """Choose a rank for every weight, and write the two that stand in for it."""
    if calibrator.sizes_only:
        ranks = [max(1, int(config.share * _full_rank(site))) for site in sites]
        found: list[Spectrum | None] = [None] * len(sites)
    else:
        observed = spectra(graph, sites, calibrator if config.weighted else None)
        ranks = _ranks(sites, observed, config)
        found = [*observed]
    names = UniqueNames(graph)
    operators = {str(node.name) for node in nodes(graph)}
    results: list[Change | Refusal] = []
    for site, rank, spectrum in zip(sites, ranks, found, strict=True):
        if rank > site.largest_rank:
            reason = f"it needs rank {rank}, with which two weights would be no smaller"
            results.append(
                Refusal(site.operator, "no-gain", reason, "use a smaller share for less")
            )
            continue
        results += _write(site, rank, spectrum, names, operators)
    return results


def _full_rank(site: Site) -> float:
    """The rank at which two weights have as many numbers as one."""
    return site.outputs * site.inputs / (site.outputs + site.inputs)


def _ranks(sites: Sequence[Site], found: Sequence[Spectrum], config: LowRank) -> list[int]:
    """Ranks within the budget; those above the largest that gains mean to leave a weight."""
    places = [site.places if config.cost == "macs" else 1 for site in sites]
    costs = [
        float((site.outputs + site.inputs) * count)
        for site, count in zip(sites, places, strict=True)
    ]
    limits = [math.ceil(_full_rank(site)) for site in sites]
    if not config.sensitive:
        return [max(1, int(config.share * _full_rank(site))) for site in sites]
    total = sum(
        site.outputs * site.inputs * count for site, count in zip(sites, places, strict=True)
    )
    return choose_ranks(found, costs, config.share * total, limits)


def _write(
    site: Site,
    rank: int,
    spectrum: Spectrum | None,
    names: UniqueNames,
    operators: set[str],
) -> Iterator[Change]:
    """Two operators in place of one; the second keeps its name."""
    weight = site.weight
    role = weight.roles[0]
    left = np.zeros((site.outputs, rank))
    right = np.zeros((rank, site.inputs))
    matrix = np.zeros((site.outputs, site.inputs))
    if spectrum is not None:
        matrix = weight_layout(weight).matrices(weight.read())[0].astype(np.float64)
        left = spectrum.directions()[:, :rank]
        right = left.T @ matrix
        scale = np.sqrt(np.maximum(np.linalg.norm(right, axis=1), 1e-30))
        left = left * scale
        right = right / scale[:, None]
    bias = bias_of(role, site.outputs) if spectrum is None or spectrum.observed else None
    if bias is not None and spectrum is not None:
        bias.shift(((matrix - left @ right) @ spectrum.mean)[None])
    elif bias is not None:
        bias.shift(np.zeros((1, site.outputs)))
    first = _free_name(f"{role.operator}.reduce", operators)
    stored = _Stored(weight, names)
    WRITERS[role.node.op_type](role.node, left, right, first, stored)
    before = weight.tensor.nbytes
    item = weight.tensor.nbytes // max(weight.tensor.size, 1)
    full = min(site.outputs, site.inputs)
    yield Change(first, "lowrank", StoredLowRank(rank, full), 0, right.size * item)
    yield Change(role.operator, "lowrank", StoredLowRank(rank, full), before, left.size * item)


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


@dataclass(frozen=True, slots=True)
class _Stored:
    """Stores arrays beside a weight, under names that no other value has."""

    weight: Weight
    names: UniqueNames

    def store(self, mark: str, array: NDArray[np.floating]) -> ir.Value:
        """A stored value of the weight's type."""
        graph = owning_graph(self.weight.value)
        name = self.names.fresh(f"{self.weight.value.name}.{mark}")
        typed = np.ascontiguousarray(array).astype(self.weight.dtype.numpy())
        value = ir.Value(
            name=name, const_value=ir.Tensor(typed, dtype=self.weight.dtype, name=name)
        )
        graph.register_initializer(value)
        return value


def _insert(node: ir.Node, first: ir.Node, stored: _Stored) -> ir.Value:
    """Put an operator before another; returns its result."""
    graph = node.graph
    assert graph is not None
    graph.insert_before(node, first)
    output: ir.Value = first.outputs[0]
    output.name = stored.names.fresh(f"{first.name}.out")
    if stored.weight.value.type is not None or node.outputs[0].type is not None:
        output.type = node.outputs[0].type
    return output


def _write_conv(node: ir.Node, left: Doubles, right: Doubles, name: str, stored: _Stored) -> None:
    """A convolution with fewer filters, and a 1x1 convolution behind it."""
    kernel = stored.weight.shape[1:]
    rank = len(kernel) - 1
    filters = stored.store("reduce", right.reshape(-1, *kernel))
    first = ir.Node("", "Conv", [node.inputs[0], filters], node.attributes.values(), name=name)
    reduced = _insert(node, first, stored)
    for attribute in ("pads", "strides", "dilations", "auto_pad", "kernel_shape"):
        node.attributes.pop(attribute, None)
    node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", [1] * rank)
    node.replace_input_with(0, reduced)
    node.replace_input_with(1, stored.store("expand", left.reshape(*left.shape, *(1,) * rank)))


def _write_gemm(node: ir.Node, left: Doubles, right: Doubles, name: str, stored: _Stored) -> None:
    """Two products; the second has the factors and the bias."""
    transposed = node.attributes.get_int("transB", 0)
    attributes = [ir.AttrInt64("transB", 1)] if transposed else []
    reduce, expand = (right, left) if transposed else (right.T, left.T)
    weight = stored.store("reduce", reduce)
    first = ir.Node("", "Gemm", [node.inputs[0], weight], attributes, name=name)
    node.replace_input_with(0, _insert(node, first, stored))
    node.replace_input_with(1, stored.store("expand", expand))


def _write_matmul(node: ir.Node, left: Doubles, right: Doubles, name: str, stored: _Stored) -> None:
    """Two products."""
    first = ir.Node("", "MatMul", [node.inputs[0], stored.store("reduce", right.T)], name=name)
    node.replace_input_with(0, _insert(node, first, stored))
    node.replace_input_with(1, stored.store("expand", left.T))


WRITERS: Mapping[str, Callable[[ir.Node, Doubles, Doubles, str, _Stored], None]] = {
    "Conv": _write_conv,
    "Gemm": _write_gemm,
    "MatMul": _write_matmul,
}
"""Forms with two weights, by operator."""


def _inspect(site: Site) -> Refusal | None:
    return weight_defect(site.weight)


METHOD = Method(
    summary="store weights as products of two smaller ones, and compute with those",
    config=LowRank,
    opset=lambda _: 1,
    sites=sites,
    apply=apply,
    uses_data=lambda config: config.weighted,
    inspect=_inspect,
)
