"""A small network that every format can hold, in each storage of its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import onnx
import onnx.helper as oh
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from packlight.api.compress import compress
from packlight.backends.formats import FORMATS
from packlight.exporting.formats import MODULES, Feeds, Format, format_by_name, is_installed
from packlight.exporting.parity import signal_to_noise
from packlight.model import Model
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime import open_session
from packlight.task import Task

SIZE = 8
CLASSES = 10
Variant = Callable[[str], Model]
Run = Callable[[Feeds], Mapping[str, np.ndarray]]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    scale = np.prod(shape[1:]) ** -0.5
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def small_network() -> Model:
    """Two convolutions and a classifier with inner sizes that blocks of 16 and 32 divide."""
    rng = np.random.default_rng(1)
    weights = {
        "first.weight": normal(rng, 16, 2, 4, 4),
        "first.bias": normal(rng, 16),
        "second.weight": normal(rng, 32, 16, 1, 1),
        "last.weight": normal(rng, CLASSES, 32),
        "last.bias": normal(rng, CLASSES),
    }
    nodes = [
        oh.make_node("Conv", ["image", "first.weight", "first.bias"], ["a"], pads=[1, 1, 2, 2]),
        oh.make_node("Relu", ["a"], ["b"]),
        oh.make_node("Conv", ["b", "second.weight"], ["c"]),
        oh.make_node("Relu", ["c"], ["d"]),
        oh.make_node("GlobalAveragePool", ["d"], ["e"]),
        oh.make_node("Flatten", ["e"], ["f"]),
        oh.make_node("Gemm", ["f", "last.weight", "last.bias"], ["scores"], transB=1),
    ]
    image = oh.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 2, SIZE, SIZE])
    scores = oh.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["batch", CLASSES])
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = oh.make_graph(nodes, "small", [image], [scores], stored)
    opsets = [oh.make_opsetid("", 18)]
    return Model(ir.from_proto(oh.make_model(graph, opset_imports=opsets, ir_version=10)), "small")


def images(count: int, seed: int) -> list[list[dict[str, np.ndarray]]]:
    rng = np.random.default_rng(seed)
    return [
        [{"image": rng.standard_normal((1, 2, SIZE, SIZE)).astype(np.float32)}]
        for _ in range(count)
    ]


@pytest.fixture(scope="session")
def network() -> Model:
    return small_network()


@pytest.fixture(scope="session")
def data() -> Task:
    """Images whose labels are arbitrary; the decisions are the network's own."""
    return Task("images", images(24, 2), "top1", targets=[0] * 24, calibration=images(16, 3))


@pytest.fixture(scope="session")
def variant(network: Model, data: Task) -> Variant:
    """The network after a recipe, made once for each."""

    @cache
    def make(recipe: str) -> Model:
        return compress(network, recipe, task=data).model

    return make


@pytest.fixture(scope="session")
def decibels(variant: Variant, data: Task) -> Callable[[str, Run], float]:
    """Signal-to-noise ratio of what runs against ONNX Runtime after a recipe, on one image."""
    feeds = data.samples[0][0]

    @cache
    def expected(recipe: str) -> np.ndarray:
        return open_session(variant(recipe), DEFAULT_SESSION).run(feeds)["scores"]

    def compare(recipe: str, run: Run) -> float:
        return signal_to_noise(expected(recipe), run(feeds)["scores"])

    return compare


@pytest.fixture(scope="session", params=FORMATS)
def format_(request: pytest.FixtureRequest) -> Format:
    """Each format in turn, where its packages are installed."""
    if not is_installed(request.param):
        pytest.skip(f"the packages that write {request.param} are not installed")
    pytest.importorskip(MODULES[request.param])
    return format_by_name(request.param)
