"""A prepared model as the bytes of a ``.pte``: exported by PyTorch, lowered to XNNPACK."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch.fx.traceback import preserve_node_meta

from packlight.errors import ExportError
from packlight.exporting.executorch.lowering import Lowered
from packlight.exporting.formats import refuse_operators
from packlight.exporting.quiet import quiet_libraries
from packlight.torch.quantized import OPERATOR_LABEL, QuantizedModule
from packlight.torch.values import as_tensor

MISSING_VARIANTS = re.compile(r"Missing out variants: \{(.*?)\}")
REASON_LENGTH = 300
ATEN_NAME = re.compile(r"[\w.]+::[\w.]+")


@dataclass(frozen=True, slots=True)
class ProgramFile:
    """A written program.

    Attributes:
        content: its bytes.
        outside: names of operators ``Weight`` whose codes XNNPACK does not compute with.
    """

    content: bytes
    outside: tuple[str, ...]


def build_program(
    lowered: Lowered, inputs: Mapping[str, ir.Value], outputs: Sequence[str]
) -> ProgramFile:
    """Write a model.

    Names of inputs and outputs are constants that methods ``input_names`` and ``output_names`` of
    the program return, since those of a method have numbers only.

    Args:
        lowered: the model.
        inputs: of a call, by name.
        outputs: names.

    Raises:
        ExportError: PyTorch cannot export the graph, or ExecuTorch has no kernel of an operator.
    """
    with quiet_libraries():
        module = QuantizedModule(
            lowered.model, lowered.weights, lowered.activations, lowered.ranges
        )
        edge = _edge_program(module, inputs, outputs)
        outside = tuple(_outside(edge.exported_program(), module.keys))
        program = _executorch_program(edge)
    return ProgramFile(bytes(program.buffer), outside)


def _edge_program(
    module: QuantizedModule, inputs: Mapping[str, ir.Value], outputs: Sequence[str]
) -> Any:
    """Export a module, and let XNNPACK take what it computes.

    Raises:
        ExportError: the graph depends on numbers of its inputs, or a part has no translation.
    """
    from executorch.exir import (  # noqa: PLC0415  slow, and prints
        EdgeCompileConfig,
        to_edge_transform_and_lower,
    )

    examples = tuple(_example(value) for value in inputs.values())
    names = {"input_names": list(inputs), "output_names": list(outputs)}
    try:
        with torch.no_grad(), preserve_node_meta():
            exported = torch.export.export(module.eval(), examples, strict=False)
        return to_edge_transform_and_lower(
            exported,
            partitioner=[_partitioner()],
            constant_methods=names,
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
    except Exception as error:  # the exporters raise many types; all mean failure
        place = "; ".join(getattr(error, "__notes__", ()))
        reason = " ".join(f"{error} {place}".split())[:REASON_LENGTH]
        raise refuse_operators("executorch", {"the graph": reason}) from error


def _example(value: ir.Value) -> torch.Tensor:
    assert value.dtype is not None
    assert value.shape is not None
    example: torch.Tensor = as_tensor(np.zeros(value.shape.numpy(), value.dtype.numpy()))
    return example


def _partitioner() -> Any:
    """XNNPACK's partitioner with as few parts as the graph allows.

    Its own grouping keeps every operator's quantized neighbors apart from the next one's: twelve
    parts for zoo:fashion where one computes all.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # noqa: PLC0415
        XnnpackPartitioner,
    )
    from executorch.exir.backend.canonical_partitioners import (  # noqa: PLC0415
        pattern_op_partitioner,
    )

    class MergingPartitioner(XnnpackPartitioner):  # type: ignore[misc]
        def generate_partitions(self, program: Any) -> list[Any]:
            matched = self.get_matched_nodes_from_configs(program)
            parts: list[Any] = pattern_op_partitioner.generate_partitions_from_list_of_nodes(
                program.graph_module, matched
            )
            return parts

    return MergingPartitioner()


def _outside(program: Any, keys: Mapping[str, str]) -> Iterator[str]:
    """Weights whose codes no delegate has taken."""
    remaining = {*program.state_dict, *program.constants}
    for name, key in keys.items():
        if f"{key}_codes" in remaining:
            yield name


def _executorch_program(edge: Any) -> Any:
    """Plan the program's memory and choose kernels.

    Raises:
        ExportError: there are none of an operator.
    """
    import executorch.kernels.quantized  # noqa: F401, PLC0415  defines operators
    from executorch.runtime import Runtime  # noqa: PLC0415

    sources = _sources(edge.exported_program())
    try:
        program = edge.to_executorch()
    except RuntimeError as error:
        missing = MISSING_VARIANTS.search(str(error))
        if missing is None:
            raise
        raise _refusal(ATEN_NAME.findall(missing.group(1)), sources) from error
    registered = Runtime.get().operator_registry.operator_names
    plan = program.executorch_program.execution_plan[0]
    names = {
        f"{operator.name}.{operator.overload}".rstrip("."): operator.name
        for operator in plan.operators
    }
    unknown = [name for full, name in names.items() if full not in registered]
    if unknown:
        raise _refusal(unknown, sources)
    return program


def _sources(program: Any) -> dict[str, str]:
    """Types of operators in ONNX by the names in PyTorch that they became."""
    return {
        node.target._schema.name: node.meta.get("custom", {}).get(OPERATOR_LABEL, "")
        for node in program.graph.nodes
        if hasattr(node.target, "_schema")
    }


def _refusal(names: Sequence[str], sources: Mapping[str, str]) -> ExportError:
    """The error of operators that no kernel computes."""
    reasons = {}
    for name in names:
        base = name.partition(".")[0]
        reasons[sources.get(base) or base] = f"ExecuTorch has no kernel for its {base}"
    return refuse_operators("executorch", reasons)
