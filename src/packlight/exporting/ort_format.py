"""ORT's own format, for builds of ONNX Runtime that read no ONNX."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from packlight.exporting.bookkeeping import as_encoded, exported_weights, file_sizes
from packlight.exporting.examples import onnxruntime_example
from packlight.exporting.formats import Format, WriteOptions, Written
from packlight.exporting.keeping import is_bias
from packlight.exporting.neutral import Neutral
from packlight.exporting.sessions import open_file, runtime_name
from packlight.exporting.weights import FloatWeight
from packlight.records.export import Reread, form_label
from packlight.runtime.ort_files import stored_tensors, write_ort

ENTRY = "model.ort"
FLOATS = {1: "float 32", 10: "float 16", 11: "float 64"}
"""Labels of stored floats, by ONNX's number of their type."""

SLOW = (
    "ONNX Runtime restores the weights of a .ort file at every run, not once as it does with those "
    "of an ONNX file"
)


def _write(neutral: Neutral, folder: Path, options: WriteOptions) -> Written:
    """Write a model; operators are fused beforehand where that leaves all codes in place."""
    model = options.model
    if options.expanded or model is None:
        model = neutral.float_model()
    fuse = all(_stays(neutral, name) for name in neutral.encoded)
    write_ort(model, folder / ENTRY, fuse=fuse)
    weights = exported_weights(neutral, options.source or neutral, as_encoded, options.expanded)
    return Written(
        entry=ENTRY,
        weights=weights,
        timestamps=(ENTRY,),  # a hash with a random seed orders its table of operators
        notes=() if fuse else (SLOW,),
    )


def _stays(neutral: Neutral, name: str) -> bool:
    """Tell whether a weight's codes are those of an integer operator."""
    weight = neutral.weights[name]
    return is_bias(weight) or all(
        any(_is_dequantized(value) for value in node.inputs if value is not None)
        for node, _ in neutral.readers(name)
    )


def _is_dequantized(value: object) -> bool:
    producer = getattr(value, "producer", lambda: None)()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _reread(folder: Path, neutral: Neutral, written: Written) -> Reread:
    tensors = stored_tensors(folder / written.entry)
    names = {tensor.name for tensor in tensors if tensor.kind not in FLOATS}
    numbers: Counter[str] = Counter()
    for weight in neutral.encoded.values():
        if not isinstance(weight.encoding, FloatWeight) and weight.codes in names:
            numbers[form_label(weight.form())] += weight.size
    for tensor in tensors:
        if tensor.kind in FLOATS:
            numbers[FLOATS[tensor.kind]] += tensor.elements
    stored = sum(tensor.bytes for tensor in tensors)
    total = file_sizes(folder, [written.entry])
    return Reread(
        weights=dict(sorted(numbers.items())),
        bytes={"weights": stored, "graph": total - stored},
        inputs={name: name for name in neutral.inputs},
        outputs={name: name for name in neutral.outputs},
    )


FORMAT = Format(
    name="ort",
    write=_write,
    reread=_reread,
    open=open_file,
    runtime=runtime_name,
    required=100.0,
    required_static=100.0,
    times=True,
    examples=lambda _neutral, written: [onnxruntime_example(written.entry)],
)
