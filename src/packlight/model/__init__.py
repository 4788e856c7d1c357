"""An ONNX graph as a value: load, query, edit, convert, size, save."""

from packlight.model.external_data import stored_files, stored_size
from packlight.model.load import load
from packlight.model.model import (
    Model,
    bodies,
    content_bytes,
    from_start,
    graphs,
    has_bodies,
    initializers,
    name_operators,
    name_values,
    nodes,
    number_bytes,
    operator_type,
    operators,
    optional_input,
    owning_graph,
    producer_of,
    release,
    stored_array,
    stored_tensor,
)
from packlight.model.opset import raise_opset
from packlight.model.randomness import is_random, random_operators, with_seeds
from packlight.model.save import save, to_bytes
from packlight.model.shape_agreement import check_shapes
from packlight.model.shapes import Shape, confirmed_shapes_only, infer_shapes
from packlight.model.size import file_size

__all__ = [
    "Model",
    "Shape",
    "bodies",
    "check_shapes",
    "confirmed_shapes_only",
    "content_bytes",
    "file_size",
    "from_start",
    "graphs",
    "has_bodies",
    "infer_shapes",
    "initializers",
    "is_random",
    "load",
    "name_operators",
    "name_values",
    "nodes",
    "number_bytes",
    "operator_type",
    "operators",
    "optional_input",
    "owning_graph",
    "producer_of",
    "raise_opset",
    "random_operators",
    "release",
    "save",
    "stored_array",
    "stored_files",
    "stored_size",
    "stored_tensor",
    "to_bytes",
    "with_seeds",
]
