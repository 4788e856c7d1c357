"""What detectors look at: one walk over samples, every weight once, and cures tried on outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.diagnosis.cure import Cure, cured
from packlight.diagnosis.value_spread import Grid, Spread, grid_of
from packlight.diagnosis.weight_storage import (
    Storage,
    by_channel,
    channel_axis,
    levels_of,
    storage_of,
)
from packlight.evaluation import Reference
from packlight.evaluation.reference import results
from packlight.layers import Moments, Pair, Walk, paired, spread
from packlight.layers.walk import Seen
from packlight.layers.weights import is_folded, refolded, weight_pairs
from packlight.metrics.fidelity import float_vector, signal_and_noise
from packlight.model import Model
from packlight.profiling.source_lines import source_of
from packlight.records import Measurement, Profile, SessionOptions, SourceLine
from packlight.runtime import open_session
from packlight.task import Task

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is diagnosed.

    Attributes:
        reference: the model as it was.
        variant: what was made of it.
        task: whose samples are run, and whose calibration samples ranges are held against.
        options: of the sessions of the runtime.
        limit: samples at most.
        seed: of everything random.
        profiles: measured costs of both models; none where time was not measured.
        ratio: time of the variant over that of the reference; None where it was not measured.
        sizes: bytes of both files.
    """

    reference: Model
    variant: Model
    task: Task
    options: SessionOptions = field(default_factory=SessionOptions)
    limit: int = 32
    seed: int = 0
    profiles: tuple[Profile, Profile] | None = None
    ratio: Measurement | None = None
    sizes: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """An activation that the variant rounds.

    Attributes:
        key: its name in the reference.
        operator: of the reference, that gives it; the input's name where none does.
        op: type of that operator.
        readers: types of the operators that read it.
        grid: with one stored scale; None where it is another kind of grid.
        seen: its numbers in the reference.
        calibrated: the same on calibration samples; None where there are none.
        noise: energy of the rounding on the variant's own values relative to the signal.
    """

    key: str
    operator: str
    op: str
    readers: tuple[str, ...]
    grid: Grid | None
    seen: Spread
    calibrated: Spread | None
    noise: float


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A weight of the variant beside that of the reference.

    Attributes:
        node: operator of the reference.
        place: of the weight among its inputs.
        wanted: the reference's weight (channels, numbers).
        found: the variant's.
        storage: how the variant stores it.
        levels: different numbers in one channel, at most.
    """

    node: ir.Node
    place: int
    wanted: Rows
    found: Rows
    storage: Storage
    levels: int

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return str(self.node.name)

    @property
    def noise(self) -> float:
        """Energy of the difference relative to that of the weight."""
        energy = float((self.wanted**2).sum())
        lost = np.nan_to_num(self.found - self.wanted, posinf=1e18, neginf=-1e18)
        return float((lost**2).sum()) / energy if energy else 0.0

    @property
    def bits(self) -> float:
        """Of the numbers in one channel."""
        return float(np.log2(max(self.levels, 2)))


class Survey:
    """What was measured of a pair, computed when it is first asked for.

    Args:
        subject: what is diagnosed.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.places = spread(len(subject.task.samples), subject.limit)
        self.moments: dict[str, Moments] = {}
        self.spreads: dict[str, Spread] = {}

    @cached_property
    def pair(self) -> Pair:
        """Both models, matched."""
        return paired(self.subject.reference, self.subject.variant, self.subject.options)

    @cached_property
    def rounded(self) -> dict[str, list[tuple[ir.Node, ir.Node]]]:
        """Roundings of the variant by the reference's name of what they round."""
        flow = self.pair.matched.variant
        found = {
            key: list(flow.rounders(flow.values[name])) for key, name in self.pair.names.items()
        }
        return {key: pairs for key, pairs in found.items() if pairs}

    @cached_property
    def roundings(self) -> list[Rounding]:
        """Every activation that the variant rounds, with what its numbers are like."""
        grids = {key: grid_of(pairs[0][0]) for key, pairs in self.rounded.items()}
        seen = {key: Spread(grids.get(key)) for key in self.pair.names}
        order = {place: turn for turn, place in enumerate(self.places)}
        self.moments = {key: Moments() for key in self.pair.names}
        for one in self.walked(self.subject.task):
            for key, moments in self.moments.items():
                seen[key].add(one.reference[key])
                turn = order[one.sample]
                moments.add(turn, one.reference[key], one.variant[key], one.own[key])
        self.spreads = seen
        calibrated = self.calibrated(grids)
        return [self.rounding(key, grids[key], seen[key], calibrated.get(key)) for key in grids]

    def walked(self, task: Task) -> Iterator[Seen]:
        """Values of both models over the samples."""
        return Walk(self.pair, task.state).over(task.samples, self.places)

    def calibrated(self, grids: Mapping[str, Grid | None]) -> dict[str, Spread]:
        """Numbers of what has a grid, on calibration samples; nothing where there are none."""
        task = self.subject.task
        if not len(task.calibration):
            return {}
        found = {key: Spread(grid) for key, grid in grids.items() if grid is not None}
        places = spread(len(task.calibration), self.subject.limit)
        for one in Walk(self.pair, task.state).over(task.calibration, places):
            for key, kept in found.items():
                kept.add(one.reference[key])
        return found

    def rounding(
        self, key: str, grid: Grid | None, seen: Spread, calibrated: Spread | None
    ) -> Rounding:
        """One activation that is rounded."""
        flow, maker = self.pair.matched.reference, self.pair.maker(key)
        readers = {node.op_type for node, _, _ in flow.reads(flow.values[key])}
        moments = self.moments[key].energies.sum(axis=0)
        noise = float(moments[2] / moments[0]) if moments[0] else 0.0
        return Rounding(
            key, self.operator(key), "input" if maker is None else maker.op_type,
            tuple(sorted(readers)), grid, seen, calibrated, seen.noise if grid else noise,
        )  # fmt: skip

    def operator(self, key: str) -> str:
        """Name of the operator of the reference that gives a value; the value's own for inputs."""
        maker = self.pair.maker(key)
        return key if maker is None else str(maker.name)

    def source(self, operator: str) -> SourceLine | None:
        """Where an operator of the reference comes from."""
        nodes = self.pair.matched.reference.operators
        return next((source_of(node) for node in nodes if node.name == operator), None)

    @cached_property
    def weights(self) -> list[Weight]:
        """Every weight that differs, and every one that the variant stores in another way."""
        return [one for one in self.all_weights() if one.noise > 0 or one.storage.unpacked]

    def all_weights(self) -> Iterator[Weight]:
        """Weights of two dimensions and more of both models, one at a time."""
        matched = self.pair.matched
        for node, place, one, other in weight_pairs(self.pair):
            if one.ndim < 2:  # noqa: PLR2004
                continue
            theirs = matched.operators[node].inputs[place]
            assert theirs is not None
            wanted = refolded(one, other) if is_folded(self.pair, node) else one
            axis = channel_axis(node, place, one.ndim)
            rows = by_channel(other, axis)
            yield Weight(
                node, place, by_channel(wanted, axis), rows, storage_of(theirs), levels_of(rows)
            )

    @cached_property
    def own_noise(self) -> dict[str, float]:
        """By value, the energy of its operators' own error relative to the signal."""
        self.roundings  # noqa: B018  (walks over the samples)
        sums = {key: one.energies.sum(axis=0) for key, one in self.moments.items()}
        return {key: float(row[2] / row[0]) if row[0] else 0.0 for key, row in sums.items()}

    @cached_property
    def exactly(self) -> SessionOptions:
        """Options of exact arithmetic."""
        return self.pair.options

    @cached_property
    def wanted(self) -> Reference:
        """The reference's outputs."""
        return Reference(self.subject.reference, self.subject.task, self.exactly)

    @cached_property
    def energies(self) -> Rows:
        """Energy of the reference's outputs and of the variant's error, computed exactly (2,)."""
        return self.outputs_of(self.pair.variant, self.exactly)

    def outputs_of(self, model: Model, options: SessionOptions) -> Rows:
        """Energy of the reference's outputs and of a model's difference to them (2,)."""
        session, task, total = open_session(model, options), self.subject.task, np.zeros(2)
        for place in self.places:
            steps = task.samples[place]
            wanted = float_vector(self.wanted.outputs(place, steps))
            total += apart(float_vector(results(session, steps, task.state)), wanted)
        return total

    def cure(self, cure: Cure) -> Rows:
        """The same for the variant with some errors taken away."""
        return self.outputs_of(cured(self.pair, cure), self.exactly)


def apart(found: Rows, wanted: Rows) -> Rows:
    """Energy of what is wanted and of the difference (2,); what is no number is all noise."""
    if found.size != wanted.size:
        return np.array([wanted @ wanted, wanted @ wanted])
    lost = ~np.isfinite(found)
    if lost.any():
        found = np.where(lost, wanted + np.maximum(np.abs(wanted), np.abs(wanted).mean()), found)
    return signal_and_noise(found, wanted)
