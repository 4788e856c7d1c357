"""Write Core AI's ``.aimodel``, read it again, and run it in Apple's runtime.

The converter class of coreai-onnx is called, never its command: that runs the ONNX file on inputs
that it makes up.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from packlight.exporting.bookkeeping import as_encoded, exported_weights, file_sizes
from packlight.exporting.coreai.constants import WeightLowering
from packlight.exporting.coreai.counting import read_contents
from packlight.exporting.coreai.examples import examples
from packlight.exporting.coreai.recurrent import lower_gru
from packlight.exporting.formats import (
    Array,
    Feeds,
    Format,
    WriteOptions,
    Written,
    refuse_operators,
)
from packlight.exporting.keeping import as_floats, is_bias
from packlight.exporting.neutral import Neutral
from packlight.exporting.quiet import quiet_output
from packlight.exporting.weights import FloatWeight, StoredWeight
from packlight.model import Model, to_bytes
from packlight.records.export import Reread

ENTRY = "model.aimodel"
METADATA = "metadata.json"
DOMAIN = "packlight.exporting"
OPERATOR = "Weight"
KEY = "key"
ENTRYPOINT = "main"
CREATED = "20260101T000000Z"
"""Time that is written instead of the present one, so that the same model gives the same bytes."""


def _write(neutral: Neutral, folder: Path, options: WriteOptions) -> Written:
    """Write a model.

    Raises:
        ExportError: Core AI lacks operators of the model.
    """
    source = options.source or neutral
    neutral = neutral.with_weights(
        {weight.name: as_floats(weight) for weight in neutral.weights.values() if is_bias(weight)}
    )
    program = _convert(neutral)
    path = folder / ENTRY
    program.save_asset(path)
    _fix_time(path)
    weights = exported_weights(neutral, source, as_encoded, options.expanded)
    return Written(entry=ENTRY, weights=weights)


def _convert(neutral: Neutral) -> Any:
    """The program of Core AI."""
    from coreai_onnx import OnnxConverter, _ir  # noqa: PLC0415  an extra
    from coreai_onnx.errors import ConversionError, UnsupportedOpError  # noqa: PLC0415

    lowering = WeightLowering(_ir)
    converter = OnnxConverter()
    _keep_half_floats(converter, _ir)

    def lower_weight(_values: Any, node: onnx.NodeProto, _location: Any) -> Any:
        return lowering.weight(neutral.weights[node.attribute[0].s.decode()])

    converter.register_onnx_lowering(f"{DOMAIN}::{OPERATOR}")(lower_weight)
    converter.register_onnx_lowering("GRU", allow_override=True)(lower_gru)
    try:
        with warnings.catch_warnings(action="ignore"):
            converter.add_onnx_model(_with_weight_operators(neutral))
            return converter.to_coreai()
    except UnsupportedOpError as error:
        raise refuse_operators("coreai", dict.fromkeys(error.missing, "")) from error
    except ConversionError as error:
        cause = error.__cause__ or error
        raise refuse_operators("coreai", {error.op_key: " ".join(str(cause).split())}) from error


def _keep_half_floats(converter: Any, bindings: Any) -> None:
    """Keep Core AI from widening stored 16-bit floats while it folds constants."""
    register = bindings._native_binding(
        "mlir.dialects.coreai", "register_should_const_folding_hook"
    )

    def should_fold(operator: Any) -> bool:
        if operator.name == "coreai.cast" and _reads_half(operator):
            return False
        return bool(bindings._should_fold(operator))

    if register is not None:
        register(callable=should_fold, context=converter.context._mlir_context)


def _reads_half(operator: Any) -> bool:
    return str(operator.operands[0].type.element_type) == "f16"


def _with_weight_operators(neutral: Neutral) -> onnx.ModelProto:
    """The ONNX graph in which an operator of ours gives each encoded weight."""
    graph = neutral.graph.clone()
    first = next(iter(graph.graph), None)
    special = {name: weight for name, weight in neutral.weights.items() if _is_special(weight)}
    for name in special:
        value = _take(graph.graph, name)
        node = ir.Node(DOMAIN, OPERATOR, [], [ir.AttrString(KEY, name)], outputs=[value])
        if first is None:
            graph.graph.append(node)
        else:
            graph.graph.insert_before(first, node)
    for name, weight in neutral.encoded.items():
        if name not in special:
            value = _take(graph.graph, name)
            value.const_value = ir.Tensor(weight.decode(), name=name)
            graph.graph.register_initializer(value)
    graph.opset_imports[DOMAIN] = 1
    return onnx.load_from_string(to_bytes(Model(graph, neutral.name)))


def _is_special(weight: StoredWeight) -> bool:
    """Tell whether a weight is not what an initializer of ONNX becomes."""
    encoding = weight.encoding
    return not isinstance(encoding, FloatWeight) or encoding.array.dtype == np.float16


def _take(graph: ir.Graph, name: str) -> ir.Value:
    """Take an input or a stored value out of a graph, whose readers keep it."""
    stored = graph.initializers.pop(name, None)
    if stored is not None:
        stored.const_value = None
        return stored
    value = next(value for value in graph.inputs if value.name == name)
    graph.inputs.remove(value)
    return value


def _fix_time(path: Path) -> None:
    """Replace the time of writing, so that the same model gives the same bytes."""
    metadata = path / METADATA
    record = json.loads(metadata.read_text("utf-8"))
    record["creationDate"] = CREATED
    metadata.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", "utf-8")


def _reread(folder: Path, neutral: Neutral, written: Written) -> Reread:
    path = folder / written.entry
    contents = read_contents(path)
    total = file_sizes(folder, [written.entry])
    return Reread(
        weights=contents.numbers,
        bytes={"weights": contents.bytes, "graph": total - contents.bytes},
        inputs={name: name for name in neutral.inputs if name in contents.inputs},
        outputs={name: name for name in neutral.outputs if name in contents.outputs},
    )


class CoreAIRunner:
    """A model that is open in Core AI's runtime.

    Args:
        path: of the model.
        neutral: that it was written from; it has the types of inputs and outputs.
    """

    def __init__(self, path: Path, neutral: Neutral) -> None:
        from coreai.authoring import AIModelAsset  # noqa: PLC0415  an extra

        self.neutral = neutral
        self.loop = asyncio.new_event_loop()
        with quiet_output():  # the runtime says which function it loads
            self.context = AIModelAsset.load(path).executable()
            self.model = self.loop.run_until_complete(self.context.__aenter__())
            self.function = self.model.load_function(ENTRYPOINT)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call, in the types that they have in ONNX."""
        from coreai.runtime import NDArray  # noqa: PLC0415  an extra

        arrays = {name: NDArray(_narrow(np.asarray(array))) for name, array in feeds.items()}
        results = self.loop.run_until_complete(self.function(arrays))
        outputs = {}
        for name, value in self.neutral.outputs.items():
            assert value.dtype is not None
            outputs[name] = np.array(results[name].numpy()).astype(value.dtype.numpy())
        return outputs

    def close(self) -> None:
        """Release the model."""
        self.loop.run_until_complete(self.context.__aexit__(None, None, None))
        self.loop.close()


NARROW = {"int64": np.int32, "uint64": np.uint32, "float64": np.float32}
"""Types that Core AI stores in fewer bits."""


def _narrow(array: Array) -> Array:
    return np.ascontiguousarray(array.astype(NARROW.get(str(array.dtype), array.dtype)))


def _open(folder: Path, neutral: Neutral, written: Written) -> CoreAIRunner:
    return CoreAIRunner(folder / written.entry, neutral)


def _runtime() -> str:
    from importlib.metadata import version  # noqa: PLC0415

    return f"Core AI {version('coreai-core')}"


FORMAT = Format(
    name="coreai",
    write=_write,
    reread=_reread,
    open=_open,
    runtime=_runtime,
    required=80.0,
    required_static=20.0,
    examples=examples,
    unmeasured=(
        "no Apple device has run the file: it was run in Core AI's runtime for Linux",
        "latency on an Apple device",
    ),
    licenses=("coreai-core", "coreai-onnx"),
)
