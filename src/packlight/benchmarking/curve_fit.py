"""Curves of kernels from timings of whole models that call several of them.

A model's time is the sum of its calls', so all curves are fitted at once: regularised least squares
on the logarithms of models' times, by Gauss and Newton's steps with Levenberg and Marquardt's
damping. The ridge pulls each curve to a constant, and that weakly to the roofline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from packlight.backends.onnxruntime.kernel_call import KINDS, RUN, Call
from packlight.benchmarking.kernel_curves import Floats, arithmetic, centred, expanded
from packlight.records.device import Curve

CONSTANT = 0.02
SLOPE = 0.1
BEND = 0.4
OVERHEAD = 0.001
"""Ridge on a curve's constant, on its linear terms, on its products of two, and on overheads."""

STEPS = 60
FOLDS = 5
ENOUGH = 1e-5
"""Fall of the loss from which on steps end."""

LEAST = 0.05
MOST = 1.5
"""Spread of a curve, however few timings tell of it."""

GUESS = 0.5
"""Spread of a curve of which timings tell too little to say."""

FAR = 0.15
AGAIN = 3
"""Error of a logarithm from which on a timing counts less (Huber 1964), and how often that is set:
a machine that does something else meanwhile takes much longer now and then."""

WHOLE = 2.0
"""Weight of a timing that stands for whole models."""

FEW = 3
"""Timings below which a spread is a guess."""

TOLD = 0.1
"""Share of a model's time from which on its timing tells of a curve."""

WORST: Final = 30.0
"""Largest exponent."""


@dataclass(frozen=True, slots=True)
class Timing:
    """A model that was timed.

    Attributes:
        calls: that one run makes, with how often.
        seconds: of one run.
        composite: whether it stands for whole models, with operators of many kinds.
    """

    calls: Mapping[Call, int]
    seconds: float
    composite: bool = False


@dataclass(frozen=True, slots=True)
class Roof:
    """What times are measured against.

    Attributes:
        peak: multiply-accumulates a second by data type.
        bandwidth: bytes a second.
    """

    peak: Mapping[str, float]
    bandwidth: float

    def seconds(self, call: Call) -> float:
        """Of one call at the peak and the bandwidth."""
        return max(arithmetic(call, self.peak), call.moved / self.bandwidth)


@dataclass(frozen=True, slots=True)
class Fit:
    """What timings tell of a machine.

    Attributes:
        overhead: seconds of a call beyond arithmetic and traffic.
        curves: by kind of kernel and data type; ``run:float32`` is counted in overheads.
        residuals: by timing, logarithm of measured over predicted, the timing unseen.
    """

    overhead: float
    curves: Mapping[str, Curve]
    residuals: Floats


class Sums:
    """Times of models as sums over calls: the design of the regression.

    Args:
        timings: of models.
        roof: that curves are relative to.

    Attributes:
        names: of the curves.
        low: least value of each feature, by curve.
        high: the largest.
    """

    def __init__(self, timings: Sequence[Timing], roof: Roof) -> None:
        rows = [(at, call, times) for at, timing in enumerate(timings)
                for call, times in timing.calls.items() if call.kind != RUN.kind]  # fmt: skip
        self.count = len(timings)
        self.model = np.array([at for at, _, _ in rows], np.int64)
        self.times = np.array([times for _, _, times in rows], np.float64)
        self.base = np.array([roof.seconds(call) for _, call, _ in rows])
        self.curve = np.array([call.curve for _, call, _ in rows])
        self.logs = np.log(np.array([timing.seconds for timing in timings]))
        self.names = [str(name) for name in np.unique(self.curve[self.base > 0])]
        self.low: dict[str, Floats] = {}
        self.high: dict[str, Floats] = {}
        self.start = {}
        blocks = []
        column = 2
        for name in self.names:
            chosen = np.flatnonzero(self.curve == name)
            shapes = np.array([rows[at][1].shape for at in chosen]).reshape(len(chosen), -1)
            self.low[name], self.high[name] = shapes.min(0), shapes.max(0)
            block = expanded(centred(shapes, self.low[name], self.high[name]))
            self.start[name] = column
            blocks.append((chosen, column, block))
            column += block.shape[1]
        self.size = column
        self.terms = np.zeros((len(rows), column))
        for chosen, column, block in blocks:
            self.terms[chosen, column : column + block.shape[1]] = block
        self.sparse = csr_array(self.terms)

    def width(self, name: str) -> slice:
        """The coefficients of a curve."""
        count = len(self.low[name])
        return slice(self.start[name], self.start[name] + (count + 1) * (count + 2) // 2)

    def ridge(self) -> Floats:
        """Strength by which each coefficient is pulled to 0."""
        pull = np.full(self.size, BEND)
        pull[:2] = OVERHEAD
        for name in self.names:
            start = self.start[name]
            pull[start : start + 1 + len(self.low[name])] = SLOPE
            pull[start] = CONSTANT
        return pull

    def parts(self, solution: Floats) -> tuple[Floats, Floats]:
        """Seconds of each row that move with its curve, and of each model.

        Args:
            solution: logarithms of the overheads of a run and of a call, then coefficients.
        """
        exponent = np.clip(self.sparse @ solution, -WORST, WORST)
        moving: Floats = self.times * self.base * np.exp(exponent)
        fixed = self.times * np.exp(solution[1])
        sums = np.bincount(self.model, moving + fixed, self.count) + np.exp(solution[0])
        return moving, sums

    def slopes(self, solution: Floats) -> tuple[Floats, Floats]:
        """Logarithms of the models' times, and how they change with each coefficient."""
        moving, sums = self.parts(solution)
        weights = csr_array(
            (moving, (self.model, np.arange(len(moving)))), (self.count, len(moving))
        )
        slopes: Floats = (weights @ self.sparse).toarray()
        slopes[:, 0] = np.exp(solution[0])
        slopes[:, 1] = np.bincount(self.model, self.times, self.count) * np.exp(solution[1])
        return np.log(sums), slopes / sums[:, None]

    def guess(self, typical: float) -> Floats:
        """Where to start: the roofline, and what the fastest models take for a run."""
        coefficients = np.zeros(self.size)
        coefficients[0], coefficients[1] = np.log(typical), np.log(typical / 10)
        return coefficients


def solve(design: Sums, weights_of_rows: Floats, prior: Floats | None = None) -> Floats:
    """Coefficients that make predicted times most like the measured ones.

    Args:
        design: calls of all models.
        weights_of_rows: (models,) weight of each; 0 for one that is held out.
        prior: where to begin; what is pulled to stays the same.
    """
    pull = design.ridge()
    counted = weights_of_rows > 0
    start = design.guess(float(np.exp(design.logs[counted].min())) / 2)
    solution = start if prior is None else prior
    damping, (logs, slopes) = 1e-2, design.slopes(solution)

    def loss(logs: Floats, solution: Floats) -> float:
        miss = logs - design.logs
        return float(weights_of_rows @ miss**2 + pull @ (solution - start) ** 2)

    best = loss(logs, solution)
    for _ in range(STEPS):
        normal = (slopes.T * weights_of_rows) @ slopes + np.diag(pull)
        push = (slopes.T * weights_of_rows) @ (design.logs - logs) - pull * (solution - start)
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), push)
        tried = solution + np.clip(step, -2, 2)
        there = design.slopes(tried)
        line_search = loss(there[0], tried)
        if line_search >= best:
            damping *= 4
            if damping > 1 / ENOUGH:
                break
            continue
        done = best - line_search < ENOUGH * best
        solution, (logs, slopes), best, damping = tried, there, line_search, damping / 3
        if done:
            break
    return solution


def fit(timings: Sequence[Timing], roof: Roof, seed: int = 0, drift: float = 0.0) -> Fit:
    """Fit overheads and curves, and find their spread on timings that a fit did not see.

    Args:
        timings: at least one; few or equal ones give constants with a wide spread.
        roof: that curves are relative to.
        seed: of the folds.
        drift: standard deviation, as a logarithm, by which all times of one occasion differ from
            those of another; it widens what is said of whole models.
    """
    design = Sums(timings, roof)
    worth = np.array([WHOLE if timing.composite else 1.0 for timing in timings])
    with threadpool_limits(1, user_api="blas"):  # small matrices: more threads only wait
        solution, weights = _robust(design, worth)
        residuals = unseen(design, weights, solution, seed)
    overhead = float(np.exp(solution[1]))
    return Fit(overhead, curves(design, solution, residuals, timings, drift), residuals)


def _robust(design: Sums, worth: Floats) -> tuple[Floats, Floats]:
    """Coefficients, and weights of the timings: less for those far from what the rest says."""
    weights = worth
    solution = solve(design, worth)
    for _ in range(AGAIN):
        miss = np.abs(design.slopes(solution)[0] - design.logs)
        weights = worth * FAR / np.maximum(miss, FAR)
        solution = solve(design, weights, solution)
    return solution, weights


def unseen(design: Sums, weights: Floats, prior: Floats, seed: int) -> Floats:
    """Logarithm of measured over predicted of each timing, from a fit without it; 0 for too few."""
    folds = np.random.default_rng(seed).permutation(design.count) % min(FOLDS, design.count)
    residuals = np.zeros(design.count)
    for fold in range(FOLDS if design.count > FOLDS else 0):
        held = folds == fold
        logs, _ = design.slopes(solve(design, np.where(held, 0.0, weights), prior))
        residuals[held] = design.logs[held] - logs[held]
    return residuals


def curves(
    design: Sums, solution: Floats, residuals: Floats, timings: Sequence[Timing], drift: float
) -> dict[str, Curve]:
    """The curves of a solution; that of a run carries the spread of whole models."""
    moving, sums = design.parts(solution)
    fitted = {}
    for name in design.names:
        columns = design.curve == name
        share = np.bincount(design.model[columns], moving[columns], design.count) / sums
        is_clear = share > TOLD
        fitted[name] = Curve(
            features=KINDS[name.partition(":")[0]].features,
            low=tuple(map(float, design.low[name])),
            high=tuple(map(float, design.high[name])),
            coefficients=tuple(map(float, solution[design.width(name)])),
            spread=spread(residuals[is_clear], share[is_clear]),
            n=max(1, int(is_clear.sum())),
        )
    composite = np.array([timing.composite for timing in timings]) if timings else np.zeros(0, bool)
    common = float(np.hypot(spread(residuals[composite], np.ones(int(composite.sum()))), drift))
    ratio = float(solution[0] - solution[1])
    fitted[RUN.curve] = Curve((), (), (), (ratio,), common, max(1, int(composite.sum())))
    return fitted


def spread(residuals: Floats, shares: Floats) -> float:
    """Standard deviation of residuals, those that tell more counting more; a guess for too few."""
    if len(residuals) < FEW or not residuals.any():
        return GUESS
    deviation = np.sqrt(float(shares @ residuals**2) / float(shares.sum()))
    return float(np.clip(deviation * (1 + 1 / len(residuals)), LEAST, MOST))
