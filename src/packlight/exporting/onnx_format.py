"""ONNX as a format of its own: the variant's file, as it was measured."""

from __future__ import annotations

from pathlib import Path

from packlight.exporting.bookkeeping import as_encoded, count_forms, exported_weights, file_sizes
from packlight.exporting.examples import onnxruntime_example
from packlight.exporting.formats import Format, WriteOptions, Written
from packlight.exporting.neutral import Neutral
from packlight.exporting.reading import detach_encodings, float_weights
from packlight.exporting.sessions import open_file, runtime_name
from packlight.model import load, save
from packlight.records.export import Reread

ENTRY = "model.onnx"


def _write(neutral: Neutral, folder: Path, options: WriteOptions) -> Written:
    """Write the model as it is; what was expanded in the neutral form is stored as floats."""
    model = options.model
    if options.expanded or model is None:
        model = neutral.float_model()
    save(model, folder / ENTRY)
    weights = exported_weights(neutral, options.source or neutral, as_encoded, options.expanded)
    return Written(entry=ENTRY, weights=weights)


def _reread(folder: Path, neutral: Neutral, written: Written) -> Reread:
    graph = load(folder / written.entry).clone()
    weights = detach_encodings(graph)
    floats = float_weights(graph)
    total = file_sizes(folder, [written.entry])
    stored_weights = {**floats, **weights}
    stored = sum(as_encoded(weight)[1] for weight in stored_weights.values())
    return Reread(
        weights=count_forms((weight.form(), weight.size) for weight in stored_weights.values()),
        bytes={"weights": stored, "graph": total - stored},
        inputs={name: name for name in neutral.inputs},
        outputs={name: name for name in neutral.outputs},
    )


FORMAT = Format(
    name="onnx",
    write=_write,
    reread=_reread,
    open=open_file,
    runtime=runtime_name,
    required=120.0,
    required_static=120.0,
    times=True,
    examples=lambda _neutral, written: [onnxruntime_example(written.entry)],
)
