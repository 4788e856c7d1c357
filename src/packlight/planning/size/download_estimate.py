"""How far files shrink when they are zipped for a download, before their codes are there.

Deflate finds how often codes occur and what is repeated near by, which depends on the weights,
trained or not. So some rows of them are compressed by the code that writes files, and zipped.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression import compress
from packlight.compression.sites.weight_sites import Weight, weight_sites
from packlight.model import Model, initializers, nodes, stored_tensor
from packlight.planning.size.files import without_samples
from packlight.planning.size.parts import INTEGER
from packlight.records.codec import digest
from packlight.records.configs import WeightOnly
from packlight.records.measurement import Measurement
from packlight.records.recipe import Recipe, Step

Floats = NDArray[np.float32]
Share = tuple[float, float]
"""Of its bytes that something zips to, at least and at most."""

STAND_IN = Recipe((Step(WeightOnly(bits=8)),))
"""What methods that compute in integers store of a weight is about that."""

GRAPH = (0.15, 0.40)
"""Of operators and names."""

START, STREAM = 600, 60
"""Bytes of names that are new to deflate, so that it hardly shrinks them, and of its own."""

MARGIN = (0.055, 0.03)
"""By how much less and more what was not looked at may zip to."""

MOST, ROOM, WHOLE = 8, 1 << 13, 1 << 16
"""Weights that are looked at, numbers of each, and numbers of all up to which none is left out."""

RUN = 1 << 14
"""Numbers of a run of floats, twice as many as deflate looks back on."""

TABLE, TABLES = 256, (ir.DataType.FLOAT, ir.DataType.FLOAT16)
"""Numbers of tables, of which a large weight has no more than a small one, and their types."""

LARGEST_HALF = float(np.finfo(np.float16).max)

PLAIN = 0.5
"""Share of floats above which they repeat little."""

REPEATED = 0.8
"""Of the share of a beginning, below which what goes on repeats it."""

RUNS = 4
"""Of neighbours, for what is repeated is mostly near by, and of different places."""

FLOAT, OPSET = ir.TensorType(ir.DataType.FLOAT), 21

OTHERS = 1 << 20
"""Bytes of other stored values that are looked at."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some outputs of a weight with all that they sum over, as they lie in the file.

    Attributes:
        array: of two axes.
        trailing: whether outputs are the second of them.
    """

    array: Floats
    trailing: bool


@dataclass(frozen=True)
class Sample:
    """What is zipped for all.

    Attributes:
        rows: of weights, in the order of the file.
        across: of the same weights, all outputs of some that they sum over.
        runs: of weights as they lie in the file, of neighbouring numbers.
        whole: whether nothing of any weight is left out.
        weights: bytes of all weights.
        others: other stored values; some, where there are many.
        beside: bytes of all others.
    """

    rows: tuple[Rows, ...]
    across: tuple[Rows, ...]
    runs: tuple[Floats, ...]
    whole: bool
    weights: int
    others: tuple[bytes, ...]
    beside: int
    known: dict[str, Share] = field(default_factory=dict)

    @cached_property
    def floats(self) -> Share:
        """Of weights as they are."""
        return zipped([run.tobytes() for run in self.runs], whole=self.whole)

    @cached_property
    def halves(self) -> Share:
        """Of weights as float16."""
        cut = [run.clip(-LARGEST_HALF, LARGEST_HALF).astype(np.float16) for run in self.runs]
        return zipped([run.tobytes() for run in cut], whole=self.whole)

    @cached_property
    def rest(self) -> Share:
        """Of other stored values."""
        return zipped(self.others, whole=True)

    def codes(self, recipe: Recipe) -> Share:
        """Of what a recipe makes of weights."""
        if not self.rows or not recipe.steps:
            return self.floats
        if all(step.method == "float16" for step in recipe.steps):
            return self.halves
        blind = stored_alike(recipe)
        key = digest(blind)
        if key not in self.known:
            self.known[key] = self.looked_at(blind)
        return self.known[key]

    def looked_at(self, recipe: Recipe) -> Share:
        """What a recipe makes of rows; also of others, where what is repeated depends on them."""
        share = self.stored(recipe, self.rows)
        if self.whole or self.floats[0] > PLAIN:
            return share
        other = self.stored(recipe, self.across)
        return min(share[0], other[0]), max(share[1], other[1])

    def stored(self, recipe: Recipe, rows: Sequence[Rows]) -> Share:
        """Compress rows and zip what is stored."""
        small = alone(rows)
        plain = {id(value.const_value) for value in small.graph.initializers.values()}
        made = compress(Model(small, "sample"), recipe, in_place=True)
        held = [value.const_value for value in initializers(made.model.graph)]
        new = [one for one in held if one is not None and id(one) not in plain]
        tables = recipe.steps[-1].method != "weights" and not self.whole
        codes = [one for one in new if not (tables and is_table(one))]
        return zipped([one.tobytes() for one in codes], whole=self.whole) if codes else self.floats


def is_table(tensor: ir.TensorProtocol) -> bool:
    """Whether a tensor may be the table that the codes of one weight point into."""
    return tensor.dtype in TABLES and tensor.size <= TABLE


def stored_alike(recipe: Recipe) -> Recipe:
    """What stores about the same codes, and looks at no samples."""
    if any(step.method in INTEGER for step in recipe.steps):
        return STAND_IN
    blind = without_samples(recipe)
    both = zip(recipe.steps, blind.steps, strict=True)
    return Recipe(tuple(kept_range(own, other) for own, other in both))


def kept_range(own: Step, blind: Step) -> Step:
    """A step without samples that finds its grid as its own does, where that needs none."""
    finds_least_error = isinstance(own.config, WeightOnly) and own.config.range == "mse"
    if finds_least_error and isinstance(blind.config, WeightOnly):
        return replace(blind, config=replace(blind.config, range="mse"))
    return blind


def download(
    size: Measurement, before: float, after: float, shares: Share, sample: Sample
) -> Measurement:
    """Bytes of the zipped file that a recipe makes, as an interval.

    Args:
        size: of the file.
        before: bytes of weights that the recipe changes.
        after: bytes of what it makes of them.
        shares: of their bytes that these zip to, at least and at most.
        sample: of the model.
    """
    left = max(0.0, sample.weights - before)
    graph = max(0.0, size.value - after - left - sample.beside)
    parts = ((after, shares), (left, sample.floats), (sample.beside, sample.rest))
    return summed(size, graph, parts)


def download_of_floats(size: Measurement, operators: float, sample: Sample) -> Measurement:
    """Bytes of the zipped file that nothing has compressed, as an interval.

    Args:
        size: of the file.
        operators: bytes of it that are no stored numbers.
        sample: of the model, simplified.
    """
    beside = min(size.value - operators, sample.beside)
    left = max(0.0, size.value - operators - beside)
    return summed(size, operators, ((left, sample.floats), (beside, sample.rest)))


def summed(size: Measurement, graph: float, parts: Iterable[tuple[float, Share]]) -> Measurement:
    """The bytes of parts, zipped, and of operators and names."""
    found = list(parts)
    low, high = (sum(count * share[end] for count, share in found) for end in (0, 1))
    fresh = min(graph, START)
    low, high = low + graph * GRAPH[0], high + fresh + (graph - fresh) * GRAPH[1] + STREAM
    low, high = min(low, size.high), min(high, size.high)
    return Measurement((low + high) / 2, "B", low, high, "estimated", 1)


def zipped(buffers: Sequence[bytes], *, whole: bool) -> Share:
    """The share of their bytes that buffers zip to; what is repeated between them, only perhaps.

    Args:
        buffers: in the order of the file.
        whole: whether they lie so near to each other in the file.
    """
    total = sum(map(len, buffers))
    if not total:
        return 1.0, 1.0
    together = len(zlib.compress(b"".join(buffers))) / total
    apart = together if whole else sum(len(zlib.compress(one)) for one in buffers) / total
    alike = apart * REPEATED < together  # then every buffer for itself only begins more often
    low, high = together, together if alike else apart
    if not whole:
        low = min(low, going_on(buffers, total, apart))
    return low * (1 - MARGIN[0]), min(1.0, high * (1 + MARGIN[1]))


def going_on(buffers: Sequence[bytes], total: int, share: float) -> float:
    """The share that more of the same zips to, where that is clearly less than buffers do."""
    halves = sum(len(zlib.compress(one[: len(one) // 2])) for one in buffers) / total
    more = 2 * max(0.0, share - halves)
    return more if more < REPEATED * share else share


def alone(rows: Sequence[Rows]) -> ir.Model:
    """A model in which every weight is multiplied by an input of its own."""
    inputs, outputs, stored, operators = [], [], [], list[ir.Node]()
    for place, one in enumerate(rows):
        weight = ir.Value(
            name=f"w{place}", type=FLOAT, shape=ir.Shape(one.array.shape),
            const_value=ir.Tensor(one.array, name=f"w{place}"),
        )  # fmt: skip
        width = one.array.shape[0 if one.trailing else 1]
        given = ir.Value(name=f"x{place}", type=FLOAT, shape=ir.Shape((1, width)))
        flags = [] if one.trailing else [ir.AttrInt64("transB", 1)]
        node = ir.Node("", "Gemm", [given, weight], flags, name=f"n{place}", num_outputs=1)
        node.outputs[0].name, node.outputs[0].type = f"y{place}", FLOAT
        inputs.append(given)
        outputs.append(node.outputs[0])
        stored.append(weight)
        operators.append(node)
    graph = ir.Graph(
        inputs, outputs, nodes=operators, initializers=stored, opset_imports={"": OPSET},
        name="sample",
    )  # fmt: skip
    return ir.Model(graph, ir_version=10)


def sample_of(graph: ir.Model) -> Sample:
    """Rows of the largest weights, and other stored values."""
    sites = [site for site in weight_sites(graph) if isinstance(site, Weight)]
    room = WHOLE if sum(site.tensor.size for site in sites) <= WHOLE else ROOM
    largest = sorted(sites, key=lambda site: -site.tensor.size)[: None if room == WHOLE else MOST]
    seen = {id(site) for site in largest}
    arrays = [(site, site.read()) for site in sites if id(site) in seen]
    finite = [(site, array) for site, array in arrays if array.size and np.isfinite(array).all()]
    rows = [some_rows(site, array, room) for site, array in finite]
    weights = {id(site.tensor) for site in sites}
    every = [tensor for tensor in map(stored_tensor, holders(graph)) if tensor is not None]
    others = [one for one in every if id(one) not in weights and one.dtype != ir.DataType.STRING]
    return Sample(
        rows=tuple(rows),
        across=tuple(
            across(one, array, room) for one, (_, array) in zip(rows, finite, strict=True)
        ),
        runs=tuple(run for _, array in finite for run in stretches(array, whole=room == WHOLE)),
        whole=room == WHOLE,
        weights=sum(site.tensor.nbytes for site in sites),
        others=tuple(first_bytes(others)),
        beside=sum(one.nbytes for one in others),
    )


def holders(graph: ir.Model) -> Iterable[ir.Value]:
    """What stores numbers: initializers and Constants."""
    yield from initializers(graph)
    yield from (node.outputs[0] for node in nodes(graph) if node.op_type == "Constant")


def first_bytes(tensors: Iterable[ir.TensorProtocol]) -> Iterable[bytes]:
    """The bytes of tensors, up to so many in all."""
    left = OTHERS
    for tensor in tensors:
        if tensor.nbytes > left:
            continue
        left -= tensor.nbytes
        yield tensor.tobytes()


def stretches(array: Floats, *, whole: bool) -> list[Floats]:
    """Neighbouring numbers of a weight, from its start and its middle."""
    flat = array.ravel()
    if whole or flat.size <= 2 * RUN:
        return [flat]
    middle = flat.size // 2
    return [flat[:RUN].copy(), flat[middle : middle + RUN].copy()]


def some_rows(site: Weight, array: Floats, room: int) -> Rows:
    """Some outputs of a weight, of about so many numbers; all that fit.

    Args:
        site: the weight.
        array: its numbers.
        room: how many.
    """
    kept = [axis for axis in range(array.ndim) if axis not in site.summed]
    trailing = bool(kept) and kept[-1] == array.ndim - 1 and len(kept) < array.ndim
    many = array.shape[-1] if trailing else int(np.prod(array.shape[: len(kept)]))
    flat = array.reshape(-1, many) if trailing else array.reshape(max(1, many), -1)
    width = flat.size // max(1, many)
    some = runs(many, room // max(1, width))
    part = flat[:, some] if trailing else flat[some]
    return Rows(np.ascontiguousarray(part), trailing)


def across(rows: Rows, array: Floats, room: int) -> Rows:
    """As some outputs of a weight, but all outputs of some that it sums over, where they lie so."""
    if not rows.trailing:
        return rows
    flat = array.reshape(-1, array.shape[-1])
    return Rows(np.ascontiguousarray(flat[: max(1, room // flat.shape[1])]), trailing=True)


def runs(many: int, wanted: int) -> NDArray[np.int64]:
    """About so many of many places, in a few runs of neighbours."""
    length = max(1, wanted // RUNS)
    if length * RUNS >= many:
        return np.arange(many if wanted >= many else max(1, wanted))
    starts = np.linspace(0, many - length, min(RUNS, max(1, wanted))).astype(np.int64)
    return np.unique((starts[:, None] + np.arange(length)).ravel())
