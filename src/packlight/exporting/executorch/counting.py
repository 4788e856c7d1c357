"""What a ``.pte`` holds: weights by encoding, in XNNPACK's parts and beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from packlight.disk import scratch_folder
from packlight.exporting.bookkeeping import count_forms
from packlight.exporting.quiet import quiet_libraries
from packlight.records.export import FloatForm, GridForm, WeightForm

XNNPACK_FORMS: dict[str, WeightForm] = {
    "xnn_datatype_fp32": FloatForm(),
    "xnn_datatype_qint8": GridForm(8),
    "xnn_datatype_qcint8": GridForm(8),
    "xnn_datatype_qint32": GridForm(32),
    "xnn_datatype_qcint32": GridForm(32),
    "xnn_datatype_qbint4": GridForm(4),
    "xnn_datatype_qcint4": GridForm(4),
}
SCALAR_FORMS: dict[str, WeightForm] = {"FLOAT": FloatForm(), "CHAR": GridForm(8)}
BACKEND = "XnnpackBackend"
NOT_FINITE = re.compile(r"(?<=: )-?inf\b")
"""Ends of ranges that flatc writes as no JSON has them."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Contents of a file.

    Attributes:
        numbers: how many are stored in each way, by label.
        bytes: of stored numbers.
        parts: of the graph that XNNPACK computes.
        operators: names of operators that kernels of ExecuTorch compute.
    """

    numbers: dict[str, int]
    bytes: int
    parts: int
    operators: tuple[str, ...]


def read_contents(content: bytes) -> Contents:
    """Count what a file holds."""
    with quiet_libraries():
        return _contents(content)


def _contents(content: bytes) -> Contents:
    from executorch.exir._serialize._program import deserialize_pte_binary  # noqa: PLC0415

    file = deserialize_pte_binary(content)
    program = file.program
    plan = next(plan for plan in program.execution_plan if plan.name == "forward")
    forms = list(_plain_forms(plan))
    parts = [delegate for delegate in plan.delegates if delegate.id == BACKEND]
    for delegate in parts:
        data = program.backend_delegate_data[delegate.processed.index].data
        forms += _delegate_forms(bytes(data))
    named = file.named_data
    buffers = [] if named is None else named.buffers
    stored = sum(len(buffer.storage) for buffer in program.constant_buffer)
    return Contents(
        numbers=count_forms(forms),
        bytes=stored + sum(len(buffer) for buffer in buffers),
        parts=len(parts),
        operators=tuple(each.name for each in plan.operators),
    )


def _plain_forms(plan: Any) -> Iterator[tuple[WeightForm, int]]:
    """Stored tensors that kernels of ExecuTorch read."""
    for value in plan.values:
        tensor = value.val
        if not getattr(tensor, "data_buffer_idx", 0) or tensor.allocation_info is not None:
            continue
        form = SCALAR_FORMS.get(tensor.scalar_type.name)
        if form is not None:
            yield form, int(np.prod(tensor.sizes, dtype=np.int64))


def _delegate_forms(data: bytes) -> Iterator[tuple[WeightForm, int]]:
    """Stored tensors of a part that XNNPACK computes."""
    for value in _delegate_graph(data)["xvalues"]:
        tensor = value["xvalue_union"]
        tensor = tensor.get("tensor_value", tensor)
        form = XNNPACK_FORMS.get(tensor["datatype"])
        if tensor["constant_buffer_idx"] and form is not None:
            yield form, int(np.prod(tensor["dims"], dtype=np.int64))


def _delegate_graph(data: bytes) -> Any:
    """The graph of a part, as ExecuTorch's schema has it."""
    from executorch.backends.xnnpack import serialization  # noqa: PLC0415
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import (  # noqa: PLC0415
        XNNHeader,
    )
    from executorch.exir._serialize._flatbuffer import _flatc_decompile  # noqa: PLC0415

    header = XNNHeader.from_bytes(data[: XNNHeader.EXPECTED_LENGTH])
    start = header.flatbuffer_offset
    with scratch_folder() as folder:
        schema = folder / "schema.fbs"
        schema.write_bytes(resources.files(serialization).joinpath("schema.fbs").read_bytes())
        graph = folder / "graph.bin"
        graph.write_bytes(data[start : start + header.flatbuffer_size])
        _flatc_decompile(str(folder), str(schema), str(graph), ["--raw-binary"])
        text = (folder / "graph.json").read_text("utf-8")
    return json.loads(NOT_FINITE.sub("null", text))
