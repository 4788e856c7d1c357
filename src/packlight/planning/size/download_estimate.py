"""Download estimates: zipped sizes of files before their codes are made.

Deflate depends on how often codes occur and what repeats close by, so on the weights, trained or
not. So some rows of them are compressed by the code that writes files, and zipped.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression import compress
from packlight.compression.sites.weight_sites import Weight, weight_sites
from packlight.model import Model, initializers, nodes, stored_tensor
from packlight.planning.size.exact_size import INTEGER, STRUCTURAL
from packlight.planning.size.files import without_samples
from packlight.records.codec import digest
from packlight.records.configs import WeightOnly
from packlight.records.measurement import Measurement
from packlight.records.recipe import Recipe, Step

Floats = NDArray[np.float32]
Share = tuple[float, float]
"""Zipped bytes per byte, at least and at most."""

STAND_IN = Recipe((Step(WeightOnly(bits=8)),))
"""Recipe that stores about as much of a weight as methods that compute in integers."""

GRAPH_SHARES = (0.15, 0.40)
"""Of operators and names."""

NEW_NAME_BYTES = 600
"""Bytes of names that deflate meets for the first time, so that it hardly shrinks them."""

STREAM_BYTES = 60
"""Bytes that deflate adds to a file."""

MARGINS = (0.055, 0.03)
"""Relative error downward and upward of a share, for what is not sampled."""

MAX_WEIGHTS = 8
"""Number of sampled weights, the largest ones."""

WEIGHT_NUMBERS = 1 << 13
"""Numbers sampled of each weight."""

ALL_NUMBERS = 1 << 16
"""Numbers of all weights up to which all are sampled."""

RUN_NUMBERS = 1 << 14
"""Numbers of a run of floats, twice as many as deflate looks back on."""

TABLE_NUMBERS = 256
"""Numbers of a table at most; a large weight has no larger table than a small one."""

TABLE_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16)

LARGEST_HALF = float(np.finfo(np.float16).max)

UNREPEATED_SHARE = 0.5
"""Share of floats above which they repeat little."""

REPEATED = 0.8
"""Ratio of two shares below which what follows repeats what came before."""

RUNS = 4
"""Runs of neighboring outputs: most repetition is close by, and places differ."""

FLOAT = ir.TensorType(ir.DataType.FLOAT)
OPSET = 21

OTHER_BYTES = 1 << 20
"""Bytes of other stored values that are zipped."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some outputs of a weight with all their inputs, as they lie in the file.

    Attributes:
        array: of two axes.
        trailing: whether outputs are the second of them.
    """

    array: Floats
    trailing: bool


@dataclass(frozen=True)
class DownloadSample:
    """Sample of a model's stored values, from which shares are estimated.

    Attributes:
        rows: of weights, in the order of the file.
        full_outputs: of the same weights, all outputs of some inputs.
        runs: of weights as they lie in the file, of neighboring numbers.
        complete: whether the sample holds all weights.
        weight_bytes: of all weights.
        other_values: other stored values; some, where there are many.
        other_bytes: of all other stored values.
    """

    rows: tuple[Rows, ...]
    full_outputs: tuple[Rows, ...]
    runs: tuple[Floats, ...]
    complete: bool
    weight_bytes: int
    other_values: tuple[bytes, ...]
    other_bytes: int
    shares: dict[str, Share] = field(default_factory=dict)

    @cached_property
    def floats(self) -> Share:
        """Share of uncompressed weights."""
        return zipped_share([run.tobytes() for run in self.runs], complete=self.complete)

    @cached_property
    def halves(self) -> Share:
        """Share of weights as float16."""
        halves = [run.clip(-LARGEST_HALF, LARGEST_HALF).astype(np.float16) for run in self.runs]
        return zipped_share([run.tobytes() for run in halves], complete=self.complete)

    @cached_property
    def other_share(self) -> Share:
        """Share of other stored values."""
        return zipped_share(self.other_values, complete=True)

    def codes(self, recipe: Recipe) -> Share:
        """Share of the codes that a recipe stores of weights."""
        coding = tuple(step for step in recipe.steps if step.method not in UNCODED)
        recipe = replace(recipe, steps=coding)
        if not self.rows or not recipe.steps:
            return self.floats
        if all(step.method == "float16" for step in recipe.steps):
            return self.halves
        recipe = sampled_recipe(recipe)
        key = digest(recipe)
        if key not in self.shares:
            self.shares[key] = self._codes(recipe)
        return self.shares[key]

    def _codes(self, recipe: Recipe) -> Share:
        """Share of codes of rows; also of full outputs, where repetition depends on the rows."""
        share = self.stored(recipe, self.rows)
        if self.complete or self.floats[0] > UNREPEATED_SHARE:
            return share
        full = self.stored(recipe, self.full_outputs)
        return min(share[0], full[0]), max(share[1], full[1])

    def stored(self, recipe: Recipe, rows: Sequence[Rows]) -> Share:
        """Compress rows and zip what is stored."""
        graph = sample_model(rows)
        floats = {id(value.const_value) for value in graph.graph.initializers.values()}
        result = compress(Model(graph, "sample"), recipe, in_place=True)
        tensors = [value.const_value for value in initializers(result.model.graph)]
        codes = [t for t in tensors if t is not None and id(t) not in floats]
        if recipe.steps[-1].method != "weights" and not self.complete:
            codes = [tensor for tensor in codes if not is_table(tensor)]
        if not codes:
            return self.floats
        return zipped_share([tensor.tobytes() for tensor in codes], complete=self.complete)


UNCODED = (*STRUCTURAL, "distill")
"""Methods that store no codes of their own."""


def is_table(tensor: ir.TensorProtocol) -> bool:
    """Check that a tensor may be the table into which the codes of one weight point."""
    return tensor.dtype in TABLE_TYPES and tensor.size <= TABLE_NUMBERS


def sampled_recipe(recipe: Recipe) -> Recipe:
    """A recipe that stores about the same codes and needs no calibration samples."""
    if any(step.method in INTEGER for step in recipe.steps):
        return STAND_IN
    steps = []
    for step, plain in zip(recipe.steps, without_samples(recipe).steps, strict=True):
        finds_least_error = isinstance(step.config, WeightOnly) and step.config.range == "mse"
        if finds_least_error and isinstance(plain.config, WeightOnly):
            steps.append(replace(plain, config=replace(plain.config, range="mse")))
        else:
            steps.append(plain)
    return Recipe(tuple(steps))


def download(
    size: Measurement, before: float, after: float, shares: Share, sample: DownloadSample
) -> Measurement:
    """Bytes of the zipped file that a recipe writes, as an interval.

    Args:
        size: of the file.
        before: bytes of weights that the recipe changes.
        after: bytes of their codes.
        shares: of the codes.
        sample: of the model.
    """
    floats = max(0.0, sample.weight_bytes - before)
    graph = max(0.0, size.value - after - floats - sample.other_bytes)
    parts = (
        (after, shares),
        (floats, sample.floats),
        (sample.other_bytes, sample.other_share),
    )
    return download_total(size, graph, parts)


def download_of_floats(size: Measurement, operators: float, sample: DownloadSample) -> Measurement:
    """Bytes of the zipped file without compression, as an interval.

    Args:
        size: of the file.
        operators: bytes of it that are no stored numbers.
        sample: of the simplified model.
    """
    other_bytes = min(size.value - operators, sample.other_bytes)
    floats = max(0.0, size.value - operators - other_bytes)
    parts = ((floats, sample.floats), (other_bytes, sample.other_share))
    return download_total(size, operators, parts)


def download_total(
    size: Measurement, graph: float, parts: Sequence[tuple[float, Share]]
) -> Measurement:
    """Zipped bytes of parts, and of operators and names."""
    low = sum(count * share[0] for count, share in parts)
    high = sum(count * share[1] for count, share in parts)
    names = min(graph, NEW_NAME_BYTES)
    low = min(low + graph * GRAPH_SHARES[0], size.high)
    high = high + names + (graph - names) * GRAPH_SHARES[1] + STREAM_BYTES
    high = min(high, size.high)
    return Measurement((low + high) / 2, "B", low, high, "estimated", 1)


def zipped_share(buffers: Sequence[bytes], *, complete: bool) -> Share:
    """Share to which buffers zip; repetition between them counts for the lower end only.

    Args:
        buffers: in the order of the file.
        complete: whether they lie as close to each other in the file.
    """
    total = sum(map(len, buffers))
    if not total:
        return 1.0, 1.0
    joined = len(zlib.compress(b"".join(buffers))) / total
    low = high = joined
    if not complete:
        separate = sum(len(zlib.compress(buffer)) for buffer in buffers) / total
        if separate * REPEATED >= joined:  # else every separate buffer only begins more often
            high = separate
        low = min(low, continued_share(buffers, total, separate))
    return low * (1 - MARGINS[0]), min(1.0, high * (1 + MARGINS[1]))


def continued_share(buffers: Sequence[bytes], total: int, share: float) -> float:
    """Share to which more of the same zips, where that is clearly less than that of buffers."""
    halves = sum(len(zlib.compress(buffer[: len(buffer) // 2])) for buffer in buffers) / total
    second = 2 * max(0.0, share - halves)
    return second if second < REPEATED * share else share


def sample_model(rows: Sequence[Rows]) -> ir.Model:
    """A model that multiplies every weight by an input of its own."""
    inputs = []
    stored = []
    gemms = []
    for index, weight_rows in enumerate(rows):
        array = weight_rows.array
        weight = ir.Value(
            name=f"w{index}", type=FLOAT, shape=ir.Shape(array.shape),
            const_value=ir.Tensor(array, name=f"w{index}"),
        )  # fmt: skip
        width = array.shape[1]
        flags = [ir.AttrInt64("transB", 1)]
        if weight_rows.trailing:
            width = array.shape[0]
            flags = []
        value = ir.Value(name=f"x{index}", type=FLOAT, shape=ir.Shape((1, width)))
        gemm = ir.Node("", "Gemm", [value, weight], flags, name=f"n{index}", num_outputs=1)
        gemm.outputs[0].name = f"y{index}"
        gemm.outputs[0].type = FLOAT
        inputs.append(value)
        stored.append(weight)
        gemms.append(gemm)
    graph = ir.Graph(
        inputs, [gemm.outputs[0] for gemm in gemms], nodes=gemms, initializers=stored,
        opset_imports={"": OPSET}, name="sample",
    )  # fmt: skip
    return ir.Model(graph, ir_version=10)


def download_sample(graph: ir.Model) -> DownloadSample:
    """Sample the largest weights and other stored values of a model."""
    sites = [site for site in weight_sites(graph) if isinstance(site, Weight)]
    complete = sum(site.tensor.size for site in sites) <= ALL_NUMBERS
    sampled = sites
    room = ALL_NUMBERS
    if not complete:
        sampled = sorted(sites, key=lambda site: -site.tensor.size)[:MAX_WEIGHTS]
        room = WEIGHT_NUMBERS
    ids = {id(site) for site in sampled}
    arrays = [(site, site.read()) for site in sites if id(site) in ids]
    finite = [(site, array) for site, array in arrays if array.size and np.isfinite(array).all()]
    rows = [sampled_rows(site, array, room) for site, array in finite]
    full = [full_outputs(r, array, room) for r, (_, array) in zip(rows, finite, strict=True)]
    unsampled = list(other_tensors(graph, {id(site.tensor) for site in sites}))
    return DownloadSample(
        rows=tuple(rows),
        full_outputs=tuple(full),
        runs=tuple(run for _, array in finite for run in neighbor_runs(array, complete=complete)),
        complete=complete,
        weight_bytes=sum(site.tensor.nbytes for site in sites),
        other_values=tuple(first_bytes(unsampled)),
        other_bytes=sum(tensor.nbytes for tensor in unsampled),
    )


def of_smaller_model(sample: DownloadSample, graph: ir.Model) -> DownloadSample:
    """The sample of a model, for a smaller one that structural steps make of it."""
    weights = [site.tensor for site in weight_sites(graph) if isinstance(site, Weight)]
    others = other_tensors(graph, set(map(id, weights)))
    return replace(
        sample,
        weight_bytes=sum(tensor.nbytes for tensor in weights),
        other_bytes=sum(tensor.nbytes for tensor in others),
    )


def other_tensors(graph: ir.Model, weights: set[int]) -> Iterator[ir.TensorProtocol]:
    """Stored numbers of initializers and Constants that are no weights, by identity."""
    constants = [node.outputs[0] for node in nodes(graph) if node.op_type == "Constant"]
    for tensor in map(stored_tensor, [*initializers(graph), *constants]):
        if tensor is None or id(tensor) in weights or tensor.dtype == ir.DataType.STRING:
            continue
        yield tensor


def first_bytes(tensors: Iterable[ir.TensorProtocol]) -> Iterator[bytes]:
    """Bytes of tensors, up to ``OTHER_BYTES`` in all."""
    room = OTHER_BYTES
    for tensor in tensors:
        if tensor.nbytes <= room:
            room -= tensor.nbytes
            yield tensor.tobytes()


def neighbor_runs(array: Floats, *, complete: bool) -> list[Floats]:
    """Neighboring numbers of a weight, from its start and its middle."""
    flat = array.ravel()
    if complete or flat.size <= 2 * RUN_NUMBERS:
        return [flat]
    middle = flat.size // 2
    return [flat[:RUN_NUMBERS].copy(), flat[middle : middle + RUN_NUMBERS].copy()]


def sampled_rows(site: Weight, array: Floats, room: int) -> Rows:
    """Some outputs of a weight with all their inputs.

    Args:
        site: the weight.
        array: its numbers.
        room: about how many numbers to take.
    """
    axes = [axis for axis in range(len(site.split_shape)) if axis not in site.summed]
    trailing = bool(axes) and axes[-1] == array.ndim - 1 and len(axes) < array.ndim
    if trailing:
        flat = array.reshape(-1, array.shape[-1]).T
    else:
        flat = array.reshape(max(1, int(np.prod(array.shape[: len(axes)]))), -1)
    outputs, width = flat.shape
    part = flat[spread_indices(outputs, room // max(1, width))]
    if trailing:
        part = part.T
    return Rows(np.ascontiguousarray(part), trailing)


def full_outputs(rows: Rows, array: Floats, room: int) -> Rows:
    """All outputs of some inputs of a weight, where outputs are its last axis."""
    if not rows.trailing:
        return rows
    flat = array.reshape(-1, array.shape[-1])
    return Rows(np.ascontiguousarray(flat[: max(1, room // flat.shape[1])]), trailing=True)


def spread_indices(total: int, count: int) -> NDArray[np.int64]:
    """About ``count`` of ``total`` indices, in a few runs of neighbors."""
    length = max(1, count // RUNS)
    if length * RUNS >= total:
        return np.arange(min(total, max(1, count)))
    starts = np.linspace(0, total - length, min(RUNS, max(1, count))).astype(np.int64)
    return np.unique((starts[:, None] + np.arange(length)).ravel())
