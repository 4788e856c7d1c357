"""LiteRT: written directly, read again, and run in its interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from packlight.errors import InputError
from packlight.exporting.bookkeeping import count_forms, exported_weights
from packlight.exporting.formats import (
    Array,
    Feeds,
    Format,
    WriteOptions,
    Written,
    refuse,
    refuse_operators,
)
from packlight.exporting.keeping import describe, reader_types
from packlight.exporting.litert.conversion import LiteRTFile, convert
from packlight.exporting.litert.examples import examples
from packlight.exporting.litert.micro import (
    arena_bytes,
    c_header,
    c_source,
    missing_operators,
    parsed,
)
from packlight.exporting.neutral import Neutral
from packlight.exporting.quiet import quiet_output
from packlight.exporting.weights import GridWeight, StoredWeight
from packlight.records.export import (
    ExportRefusal,
    FloatForm,
    GridForm,
    Reread,
    WeightForm,
)

ENTRY = "model.tflite"
MICROCONTROLLER = "microcontroller"
HEADER = "model.h"
SOURCE = "model.cc"
FLOAT_BYTES = 4
WIDEST_CODE = 8
KERNELS = {
    True: OpResolverType.AUTO,
    False: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}
"""Kernels with and without XNNPACK."""


def _write(neutral: Neutral, folder: Path, options: WriteOptions) -> Written:
    """Write ``model.tflite``, and a C array of it for microcontrollers.

    Raises:
        ExportError: LiteRT, or the interpreter of microcontrollers, lacks an operator, or an
            operator needs a weight's codes as floats.
        InputError: an option is unknown.
    """
    micro = _is_for_microcontrollers(options.options)
    file = convert(neutral)
    lost = [
        weight
        for weight in neutral.encoded.values()
        if _is_code(weight) and weight.name not in file.weights
    ]
    if lost:
        raise refuse("litert", [_refusal(neutral, weight) for weight in lost])
    (folder / ENTRY).write_bytes(file.content)

    def stored(weight: StoredWeight) -> tuple[WeightForm, int]:
        return file.weights.get(weight.name, (FloatForm(), FLOAT_BYTES * weight.size))

    weights = exported_weights(neutral, options.source or neutral, stored, options.expanded)
    written = Written(entry=ENTRY, weights=weights, notes=_notes(file))
    if micro:
        written = _with_array(written, file.content, folder)
    return written


def _is_for_microcontrollers(options: Mapping[str, str]) -> bool:
    if options not in ({}, {"target": MICROCONTROLLER}):
        raise InputError(
            f"LiteRT takes the option target={MICROCONTROLLER}; got "
            + ", ".join(f"{name}={text}" for name, text in options.items())
        )
    return bool(options)


def _with_array(written: Written, content: bytes, folder: Path) -> Written:
    """Add the C array and its header.

    Raises:
        ExportError: the interpreter of microcontrollers lacks an operator.
    """
    model = parsed(content)
    missing = missing_operators(model)
    if missing:
        raise refuse_operators("litert", missing)
    arena = arena_bytes(model)
    (folder / HEADER).write_text(c_header(arena), "utf-8")
    (folder / SOURCE).write_text(c_source(content), "utf-8")
    note = f"tensors take {arena:,} bytes of the arena; what else the interpreter needs there"
    return replace(written, extra=(HEADER, SOURCE), notes=(*written.notes, note))


def _is_code(weight: StoredWeight) -> bool:
    encoding = weight.encoding
    return isinstance(encoding, GridWeight) and encoding.bits <= WIDEST_CODE


def _refusal(neutral: Neutral, weight: StoredWeight) -> ExportRefusal:
    operators = reader_types(neutral, weight.name)
    return ExportRefusal(
        format="litert",
        subject=weight.name,
        operator=", ".join(operators),
        form=weight.form(),
        reason=f"{' or '.join(operators)} needs its {describe(weight.form())} as floats",
    )


def _notes(file: LiteRTFile) -> tuple[str, ...]:
    if any(form == "grid 4" for form in file.labels()):
        return (
            "XNNPACK does not take convolutions with 4-bit codes: they run in LiteRT's own "
            "kernels, about three times slower than floats",
        )
    return ()


def _reread(folder: Path, neutral: Neutral, written: Written) -> Reread:
    """Count numbers by their type among the tensors that the file stores."""
    content = (folder / written.entry).read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    forms: list[tuple[WeightForm, int]] = []
    stored_bytes = 0
    for tensor in graph.tensors:
        buffer = model.buffers[tensor.buffer].data
        if buffer is None:
            continue
        stored_bytes += len(buffer)
        form = _stored_form(tensor)
        if form is not None:
            forms.append((form, int(np.prod(tensor.shape, dtype=np.int64))))
    signature = model.signatureDefs[0]
    return Reread(
        weights=count_forms(forms),
        bytes={"weights": stored_bytes, "graph": len(content) - stored_bytes},
        inputs=_names(signature.inputs, neutral.inputs),
        outputs=_names(signature.outputs, neutral.outputs),
    )


FORMS: Mapping[int, WeightForm] = {
    schema.TensorType.FLOAT32: FloatForm(),
    schema.TensorType.FLOAT16: FloatForm(16),
    schema.TensorType.INT8: GridForm(8),
    schema.TensorType.INT4: GridForm(4),
    schema.TensorType.INT32: GridForm(32),
}


def _stored_form(tensor: Any) -> WeightForm | None:
    """Storage of a tensor; None for sizes, positions and sums that no weight of the model is."""
    form = FORMS.get(tensor.type)
    if not isinstance(form, GridForm):
        return form
    has_scale = tensor.quantization is not None and tensor.quantization.scale is not None
    if not has_scale or not tensor.name:
        return None
    return form


def _names(tensors: Any, names: Any) -> dict[str, str]:
    """Names in the signature, which are those of ONNX."""
    present = {bytes(tensor.name).decode("utf-8") for tensor in tensors}
    return {name: name for name in names if name in present}


class InterpreterRunner:
    """A file that is open in LiteRT's interpreter, on one thread.

    Args:
        path: of the file.
        delegate: whether XNNPACK computes what it can.
    """

    def __init__(self, path: Path, *, delegate: bool = True) -> None:
        with quiet_output():
            self.interpreter = Interpreter(
                model_path=str(path),
                num_threads=1,
                experimental_op_resolver_type=KERNELS[delegate],
            )
            self.interpreter.allocate_tensors()
        signature = self.interpreter._get_full_signature_list()["serving_default"]
        self.inputs: dict[str, int] = signature["inputs"]
        self.outputs: dict[str, int] = signature["outputs"]

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call."""
        for name, index in self.inputs.items():
            self.interpreter.set_tensor(index, np.ascontiguousarray(feeds[name]))
        self.interpreter.invoke()
        return {name: self.interpreter.get_tensor(index) for name, index in self.outputs.items()}

    def close(self) -> None:
        """Release it."""
        del self.interpreter


def _open(folder: Path, _neutral: Neutral, written: Written) -> InterpreterRunner:
    return InterpreterRunner(folder / written.entry)


def _open_without_xnnpack(folder: Path, _neutral: Neutral, written: Written) -> InterpreterRunner:
    return InterpreterRunner(folder / written.entry, delegate=False)


def _runtime() -> str:
    return f"LiteRT {version('ai-edge-litert')} with XNNPACK"


FORMAT = Format(
    name="litert",
    write=_write,
    reread=_reread,
    open=_open,
    runtime=_runtime,
    other_ways={"without XNNPACK": _open_without_xnnpack},
    times=True,
    examples=examples,
    unmeasured=(
        "no phone or microcontroller has run this file; the interpreter ran on this machine",
    ),
)
