"""Weights that several integer operators read: stored once for all of them, or left in float."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Protocol, TypeVar

import numpy as np
import onnx_ir as ir

from packlight.compression.qdq.integer_weights import Reader
from packlight.compression.sites.weight_sites import Weight, weight_site
from packlight.records.variant import Refusal


class WeightedSite(Protocol):
    """An operator with a weight."""

    @property
    def node(self) -> ir.Node:
        """The operator."""

    @property
    def weight(self) -> Weight:
        """The weight that it reads."""


W = TypeVar("W", bound=WeightedSite)


def by_weight(sites: Iterable[W]) -> list[list[W]]:
    """Sites that read the same weight, in the order of the first of them."""
    groups: dict[int, list[W]] = {}
    for site in sites:
        groups.setdefault(id(site.weight.value), []).append(site)
    return list(groups.values())


def refuse_divided_weights(sites: Sequence[W]) -> tuple[list[W], list[Refusal]]:
    """The sites whose weights have no other reader than these, and refusals of the remaining ones.

    A weight that is read in float too would be stored twice.
    """
    refusals = {
        id(site): _refusal(group, site)
        for group in by_weight(sites)
        for site in group
        if len(site.weight.value.uses()) > 1
    }
    kept = [site for site in sites if refusals.get(id(site)) is None]
    return kept, [refusal for refusal in refusals.values() if refusal is not None]


def _refusal(readers: Collection[W], site: W) -> Refusal | None:
    value = site.weight.value
    name = str(site.node.name)
    integer = {id(reader.node) for reader in readers}
    others = [str(node.name) for node, _ in value.uses() if id(node) not in integer]
    if others:
        reason = f"its weight would be stored twice: {', '.join(others)} reads it in float"
        return Refusal(name, "shared", reason, "store it twice, or use weights: for all readers")
    roles = tuple(role for reader in readers for role in reader.weight.roles)
    whole = weight_site(value, roles)
    if isinstance(whole, Refusal):
        return replace(whole, operator=name)
    return None


def with_common_scales(readers: Sequence[Reader]) -> list[Reader]:
    """Readers of which those of one weight have the same least scales."""
    least = {
        id(reader): reduce(np.maximum, [other.least for other in group])
        for group in by_weight(readers)
        for reader in group
    }
    return [Reader(reader.weight, least[id(reader)]) for reader in readers]
