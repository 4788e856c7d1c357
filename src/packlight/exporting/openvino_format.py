"""Write OpenVINO's IR, read it again, and run it.

The file is read by OpenVINO's own reader of ONNX, not by its converter.
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from packlight.exporting.bookkeeping import as_encoded, exported_weights, file_sizes
from packlight.exporting.decompression import decompressing_model
from packlight.exporting.formats import (
    Array,
    ExampleText,
    Feeds,
    Format,
    WriteOptions,
    Written,
    refuse_operators,
)
from packlight.exporting.keeping import as_floats, is_bias
from packlight.exporting.neutral import Neutral
from packlight.model import to_bytes
from packlight.records.export import Reread

REPORTER = "openvino_telemetry"
ENTRY = "model.xml"
ARRAYS = "model.bin"
CODES = {"i4": 4, "u4": 4, "i8": 8, "u8": 8}
FLOATS = {"f32": 32, "f16": 16}
FEW = 2
"""Codes up to which a constant is a zero point of activations."""

SETTINGS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "INFERENCE_NUM_THREADS": "1",
}
"""Floats of 32 bits throughout: by default products of 4-bit weights round activations."""


def load_openvino() -> Any:
    """OpenVINO without the package that reports its use, which would send an event now."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    modules: dict[str, Any] = sys.modules
    reporter = modules.get(REPORTER)
    modules[REPORTER] = None  # an import of it fails, and OpenVINO goes on without
    try:
        return import_module("openvino")
    finally:
        del modules[REPORTER]
        if reporter is not None:
            modules[REPORTER] = reporter


def _write(neutral: Neutral, folder: Path, options: WriteOptions) -> Written:
    """Write a model.

    Raises:
        ExportError: OpenVINO lacks operators of the model.
    """
    openvino = load_openvino()
    source = options.source or neutral
    floats = {w.name: as_floats(w) for w in neutral.weights.values() if is_bias(w)}
    neutral = neutral.with_weights(floats)
    try:
        model = openvino.Core().read_model(model=to_bytes(decompressing_model(neutral)))
    except RuntimeError as error:
        raise refuse_operators("openvino", _missing(str(error))) from error
    _name_operators(model)
    openvino.save_model(model, folder / ENTRY, compress_to_fp16=False)
    weights = exported_weights(neutral, source, as_encoded, options.expanded)
    return Written(entry=ENTRY, extra=(ARRAYS,), weights=weights)


def _name_operators(model: Any) -> None:
    """Name operators by their place; OpenVINO numbers those of all models of a process."""
    for place, operator in enumerate(model.get_ordered_ops()):
        if operator.get_friendly_name() == operator.get_name():
            operator.set_friendly_name(f"{operator.get_type_name()}_{place}")


def _missing(text: str) -> dict[str, str]:
    """The operator that a message is about, with its last line as the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return {"an operator": ["the model was not read", *lines][-1]}


def _reread(folder: Path, neutral: Neutral, written: Written) -> Reread:
    openvino = load_openvino()
    model = openvino.Core().read_model(folder / written.entry)
    numbers: Counter[str] = Counter()
    stored = 0
    for operator in model.get_ops():
        if operator.get_type_name() != "Constant":
            continue
        kind = operator.get_element_type().get_type_name()
        count = int(np.prod(list(operator.get_output_shape(0)), dtype=np.int64))
        stored += operator.get_byte_size()
        if kind in CODES and _is_restored(operator) and count >= FEW:
            numbers[f"grid {CODES[kind]}"] += count
        elif kind in FLOATS:
            numbers[f"float {FLOATS[kind]}"] += count
    total = file_sizes(folder, [written.entry, *written.extra])
    return Reread(
        weights=dict(sorted(numbers.items())),
        bytes={"weights": stored, "graph": total - stored},
        inputs=_names(neutral.inputs, model.inputs),
        outputs=_names(neutral.outputs, model.outputs),
    )


def _is_restored(constant: Any) -> bool:
    """Tell whether a constant of codes becomes floats."""
    readers = [target.get_node() for target in constant.output(0).get_target_inputs()]
    return any(reader.get_type_name() == "Convert" for reader in readers)


def _names(names: Any, ports: Any) -> dict[str, str]:
    port_names = {name for port in ports for name in port.get_names()}
    return {name: name for name in names if name in port_names}


class OpenVINORunner:
    """A model that is compiled by OpenVINO for the CPU.

    Args:
        path: of the IR.
        neutral: has the names of outputs.
    """

    def __init__(self, path: Path, neutral: Neutral) -> None:
        openvino = load_openvino()
        self.openvino = openvino
        self.neutral = neutral
        self.request = openvino.Core().compile_model(path, "CPU", SETTINGS).create_infer_request()

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call."""
        arrays = {name: np.asarray(array, order="C") for name, array in feeds.items()}
        self.request.infer(arrays)
        return {name: np.array(self.request.get_tensor(name).data) for name in self.neutral.outputs}

    def close(self) -> None:
        """Release the model."""
        del self.request


def _open(folder: Path, neutral: Neutral, written: Written) -> OpenVINORunner:
    return OpenVINORunner(folder / written.entry, neutral)


def _runtime() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    return f"OpenVINO {version('openvino')}"


PYTHON = '''"""Run {entry} in OpenVINO: python run.py FOLDER, with inputs.npz in it.

Needs: pip install openvino numpy
"""

import sys
from pathlib import Path

import numpy as np

sys.modules["openvino_telemetry"] = None  # else importing openvino reports that it is used
import openvino

SETTINGS = {settings}

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
path = Path(__file__).parents[1] / "{entry}"
request = openvino.Core().compile_model(path, "CPU", SETTINGS).create_infer_request()
request.infer(dict(np.load(folder / "inputs.npz")))
names = {outputs}
np.savez(folder / "outputs.npz", **{{name: request.get_tensor(name).data for name in names}})
'''


def _examples(neutral: Neutral, written: Written) -> list[ExampleText]:
    text = PYTHON.format(entry=written.entry, settings=SETTINGS, outputs=list(neutral.outputs))
    return [ExampleText("python", "run.py", text, executable=True)]


FORMAT = Format(
    name="openvino",
    write=_write,
    reread=_reread,
    open=_open,
    runtime=_runtime,
    times=True,
    examples=_examples,
    licenses=("openvino",),
)
