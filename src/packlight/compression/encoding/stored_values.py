"""Stored values that one step adds to a model, each under a name that nothing else has."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from packlight.compression.encoding.unique_names import UniqueNames
from packlight.compression.sites.weight_roles import stored

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


class StoredValues:
    """Stores values once for each graph that reads them, under names that no other value has.

    Args:
        model: what they are added to.
    """

    def __init__(self, model: ir.Model) -> None:
        self.names = UniqueNames(model)
        self.kept: dict[tuple[int, str], ir.Value] = {}

    def fresh(self, name: str) -> str:
        """The name, or one like it that is not taken."""
        return self.names.fresh(name)

    def keep(self, graph: ir.Graph, name: str, array: Array) -> ir.Value:
        """Store an array, or give what was kept for this graph under this name if it is equal."""
        key = (id(graph), name)
        if key not in self.kept or not _holds(self.kept[key], array):
            own = self.fresh(name)
            self.kept[key] = ir.Value(name=own, const_value=ir.Tensor(array, name=own))
            graph.register_initializer(self.kept[key])
        return self.kept[key]


def _holds(value: ir.Value, array: Array) -> bool:
    """Whether this is what a value stores."""
    tensor = stored(value)
    return tensor is not None and np.array_equal(tensor.numpy(), array)
