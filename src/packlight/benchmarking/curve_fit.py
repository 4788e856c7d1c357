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
from packlight.benchmarking.latency import (
    Floats,
    arithmetic_seconds,
    expand_features,
    scale_features,
)
from packlight.records.device import Curve

CONSTANT = 0.02
SLOPE = 0.1
BEND = 0.4
OVERHEAD = 0.001
"""Ridge on a curve's constant, on its linear terms, on its products of two, and on overheads."""

STEPS = 60
FOLDS = 5
TOLERANCE = 1e-5
"""Fall of the loss from which on steps end."""

MIN_SPREAD = 0.05
MAX_SPREAD = 1.5
"""Limits of the spread of a curve."""

DEFAULT_SPREAD = 0.5
"""Spread of a curve of which timings tell too little to say."""

HUBER_ERROR = 0.15
REWEIGHTINGS = 3
"""Error of a logarithm from which on a timing counts less (Huber 1964), and how often that is set:
a machine that does something else meanwhile takes much longer now and then."""

COMPOSITE_WEIGHT = 2.0
"""Weight of a timing that stands for whole models."""

MIN_TIMINGS = 3
"""Timings below which a spread is a guess."""

CLEAR_SHARE = 0.1
"""Share of a model's time from which on its timing tells of a curve."""

MAX_EXPONENT: Final = 30.0
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
    """Peak and bandwidth that times are measured against.

    Attributes:
        peak: multiply-accumulates a second by data type.
        bandwidth: bytes a second.
    """

    peak: Mapping[str, float]
    bandwidth: float

    def seconds(self, call: Call) -> float:
        """Of one call at the peak and the bandwidth."""
        return max(arithmetic_seconds(call, self.peak), call.moved / self.bandwidth)


@dataclass(frozen=True, slots=True)
class Fit:
    """Overhead and curves of a machine, fitted to timings.

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
            self.low[name] = shapes.min(0)
            self.high[name] = shapes.max(0)
            block = expand_features(scale_features(shapes, self.low[name], self.high[name]))
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
        exponent = np.clip(self.sparse @ solution, -MAX_EXPONENT, MAX_EXPONENT)
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
        """Start of the fit: the roofline, and what the fastest models take for a run."""
        coefficients = np.zeros(self.size)
        coefficients[:2] = np.log(typical), np.log(typical / 10)
        return coefficients


def _solve(design: Sums, weights_of_rows: Floats, prior: Floats | None = None) -> Floats:
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
    logs, slopes = design.slopes(solution)
    damping = 1e-2

    def loss(logs: Floats, solution: Floats) -> float:
        miss = logs - design.logs
        return float(weights_of_rows @ miss**2 + pull @ (solution - start) ** 2)

    best = loss(logs, solution)
    for _ in range(STEPS):
        normal = (slopes.T * weights_of_rows) @ slopes + np.diag(pull)
        push = (slopes.T * weights_of_rows) @ (design.logs - logs) - pull * (solution - start)
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), push)
        candidate = solution + np.clip(step, -2, 2)
        candidate_logs, candidate_slopes = design.slopes(candidate)
        candidate_loss = loss(candidate_logs, candidate)
        if candidate_loss >= best:
            damping *= 4
            if damping > 1 / TOLERANCE:
                break
            continue
        converged = best - candidate_loss < TOLERANCE * best
        solution = candidate
        logs = candidate_logs
        slopes = candidate_slopes
        best = candidate_loss
        damping /= 3
        if converged:
            break
    return solution


def fit_curves(timings: Sequence[Timing], roof: Roof, seed: int = 0, drift: float = 0.0) -> Fit:
    """Fit overheads and curves, and find their spread on timings that a fit did not see.

    Args:
        timings: at least one; few or equal ones give constants with a wide spread.
        roof: that curves are relative to.
        seed: of the folds.
        drift: standard deviation, as a logarithm, by which all times of one occasion differ from
            those of another; it widens what is said of whole models.
    """
    design = Sums(timings, roof)
    worth = np.array([COMPOSITE_WEIGHT if timing.composite else 1.0 for timing in timings])
    with threadpool_limits(1, user_api="blas"):  # small matrices: more threads only wait
        solution, weights = _robust(design, worth)
        residuals = _held_out_residuals(design, weights, solution, seed)
    overhead = float(np.exp(solution[1]))
    return Fit(overhead, _curves_of(design, solution, residuals, timings, drift), residuals)


def _robust(design: Sums, worth: Floats) -> tuple[Floats, Floats]:
    """Coefficients, and weights of the timings: less for those far from what the rest says."""
    weights = worth
    solution = _solve(design, worth)
    for _ in range(REWEIGHTINGS):
        miss = np.abs(design.slopes(solution)[0] - design.logs)
        weights = worth * HUBER_ERROR / np.maximum(miss, HUBER_ERROR)
        solution = _solve(design, weights, solution)
    return solution, weights


def _held_out_residuals(design: Sums, weights: Floats, prior: Floats, seed: int) -> Floats:
    """Logarithm of measured over predicted of each timing, from a fit without it; 0 for too few."""
    residuals = np.zeros(design.count)
    if design.count <= FOLDS:
        return residuals
    folds = np.random.default_rng(seed).permutation(design.count) % FOLDS
    for fold in range(FOLDS):
        held = folds == fold
        logs, _ = design.slopes(_solve(design, np.where(held, 0.0, weights), prior))
        residuals[held] = design.logs[held] - logs[held]
    return residuals


def _curves_of(
    design: Sums, solution: Floats, residuals: Floats, timings: Sequence[Timing], drift: float
) -> dict[str, Curve]:
    """The curves of a solution; that of a run carries the spread of whole models."""
    moving, sums = design.parts(solution)
    fitted = {}
    for name in design.names:
        columns = design.curve == name
        share = np.bincount(design.model[columns], moving[columns], design.count) / sums
        is_clear = share > CLEAR_SHARE
        fitted[name] = Curve(
            features=KINDS[name.partition(":")[0]].features,
            low=tuple(map(float, design.low[name])),
            high=tuple(map(float, design.high[name])),
            coefficients=tuple(map(float, solution[design.width(name)])),
            spread=_curve_spread(residuals[is_clear], share[is_clear]),
            n=max(1, int(is_clear.sum())),
        )
    composite = np.array([timing.composite for timing in timings], np.bool_)
    common = float(
        np.hypot(_curve_spread(residuals[composite], np.ones(int(composite.sum()))), drift)
    )
    ratio = float(solution[0] - solution[1])
    fitted[RUN.curve] = Curve((), (), (), (ratio,), common, max(1, int(composite.sum())))
    return fitted


def _curve_spread(residuals: Floats, shares: Floats) -> float:
    """Standard deviation of residuals, those that tell more counting more; a guess for too few."""
    if len(residuals) < MIN_TIMINGS or not residuals.any():
        return DEFAULT_SPREAD
    deviation = np.sqrt(float(shares @ residuals**2) / float(shares.sum()))
    return float(np.clip(deviation * (1 + 1 / len(residuals)), MIN_SPREAD, MAX_SPREAD))
