"""This machine, as far as it decides how fast and how exactly a model runs."""

from __future__ import annotations

import platform
from functools import cache

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from packlight.model import Model, to_bytes
from packlight.records.machine import Machine
from packlight.records.session import SessionOptions
from packlight.runtime.calls import start
from packlight.runtime.isolation.limits import cores, physical_memory
from packlight.runtime.processor import features, stated


@cache
def machine() -> Machine:
    """What this machine is."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=str(stated().get("name") or platform.processor() or platform.machine()),
        architecture=platform.machine(),
        cores=cores(),
        memory=physical_memory(),
        features=features(),
        saturates=saturates(),
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
    )


PRODUCTS, COLUMNS = 64, 16
CODE, WEIGHT = 255, 127
EXPECTED = PRODUCTS * CODE * WEIGHT
"""A sum whose neighbouring products exceed 16 bits in pairs."""


def saturates() -> bool:
    """Whether sums of 8-bit products saturate: tried, for flags do not tell under emulation."""
    session = start(to_bytes(probe()), "probe", SessionOptions())
    return bool((session.run(codes())["y"] != EXPECTED).any())


def codes() -> dict[str, NDArray[np.generic]]:
    """What to feed to the probe."""
    return {"x": np.full((1, PRODUCTS), CODE, np.uint8)}


def probe() -> Model:
    """The product of unsigned codes with a stored signed weight; each sum is ``EXPECTED``."""
    x = ir.val("x", ir.DataType.UINT8, (1, PRODUCTS))
    y = ir.val("y", ir.DataType.INT32, (1, COLUMNS))
    weight = np.full((PRODUCTS, COLUMNS), WEIGHT, np.int8)
    w = ir.val("w", const_value=ir.tensor(weight, name="w"))
    node = ir.Node("", "MatMulInteger", [x, w], outputs=[y])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[w], opset_imports={"": 13}, name="probe")
    return Model(ir.Model(graph, ir_version=8), "probe")
