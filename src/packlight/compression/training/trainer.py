"""The loop: steps, held-out loss, the best state so far, and states on disk."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from packlight.compression.training.batches import Batches, Split, step_samples
from packlight.compression.training.checkpoint import Checkpoint, State
from packlight.compression.training.losses import Losses
from packlight.compression.training.optimizer import TensorAdam
from packlight.runtime.progress import Progress
from packlight.torch.values import Tensor

EVALUATIONS = 24
"""Times that the held-out loss is computed."""

PATIENCE = 12
"""Evaluations without a better loss after which learning stops."""

WARM_UP = 0.02
"""Share of the steps in which rates rise."""

LAST_RATE = 0.01
"""Share of the rates that is left at the end."""

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps of a training.

    Attributes:
        steps: to take.
        size: samples of a step.
        seed: of the order of samples.
    """

    steps: int
    size: int
    seed: int

    @property
    def interval(self) -> int:
        """Steps between two evaluations."""
        return max(1, math.ceil(self.steps / EVALUATIONS))

    def factor(self, step: int) -> float:
        """Share of the rates at a step: a short rise, then half a cosine."""
        share = step / self.steps
        rise = min(1.0, (step + 1) / max(1.0, WARM_UP * self.steps))
        return rise * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * share)) / 2)


@dataclass(slots=True)
class TrainingState:
    """State of a training beside its tensors.

    Attributes:
        step: steps taken.
        start_loss: held-out loss before the first.
        best_loss: the least held-out loss.
        best_step: steps at which it was reached.
        best: tensors at that time.
    """

    step: int = 0
    start_loss: float = math.inf
    best_loss: float = math.inf
    best_step: int = 0
    best: list[Tensor] = field(default_factory=list)


class Trainer:
    """Learns the tensors of a student.

    Args:
        tensors: that are learned.
        batches: of samples.
        split: samples that are learned from, and those that decide.
        losses: of batches.
        progress: told at every step.

    Attributes:
        optimizer: with the rates of the tensors.
        state: how far it is.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        batches: Batches,
        split: Split,
        losses: Losses,
        progress: Progress,
    ) -> None:
        self.tensors = list(tensors)
        self.optimizer = TensorAdam(self.tensors, [0.0] * len(self.tensors))
        self.batches = batches
        self.split = split
        self.losses = losses
        self.progress = progress
        self.state = TrainingState()

    def start(self) -> float:
        """Evaluate what is there before the first step, and return its held-out loss."""
        self._evaluate()
        return self.state.start_loss

    def held_loss(self) -> float:
        """Mean loss of the samples that decide."""
        total = 0.0
        with torch.no_grad():
            for group, batching in self.batches.groups(self.split.held):
                for loss in self.losses.windows(group, batching):
                    total += float(loss) * len(group)
        return total / len(self.split.held)

    def learn(self, samples: Sequence[int]) -> None:
        """Add the gradients of some samples."""
        for group, batching in self.batches.groups(samples):
            for loss in self.losses.windows(group, batching):
                if loss.requires_grad:
                    torch.autograd.backward(loss * (len(group) / len(samples)))

    def steps_within(self, minutes: float, size: int) -> int:
        """Steps that take so many minutes, from the time of a step and of an evaluation."""
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            self.learn(self.split.learned[:size])
            seconds.append(time.perf_counter() - start)
        for tensor in self.tensors:
            tensor.grad = None
        start = time.perf_counter()
        self.held_loss()
        evaluation = time.perf_counter() - start
        left = minutes * MINUTE - EVALUATIONS * evaluation
        return max(EVALUATIONS, int(left / min(seconds)))

    def run(self, schedule: Schedule, checkpoint: Checkpoint, saved: State | None) -> bool:
        """Learn, and leave the best state in the student.

        Args:
            schedule: of the steps.
            checkpoint: to write states to.
            saved: to go on from.

        Returns:
            Whether all was done; not if Ctrl-C came, which leaves the best state so far.
        """
        if saved is not None:
            self._restore(saved)
        start = time.perf_counter()
        first = self.state.step
        complete = True
        try:
            while self.state.step < schedule.steps and not self._is_settled(schedule):
                self._tell(schedule, first, time.perf_counter() - start)
                self._step(schedule)
                if checkpoint.is_due:
                    checkpoint.write(self._saved(schedule))
        except KeyboardInterrupt:
            complete = False
        with torch.no_grad():
            for tensor, best in zip(self.tensors, self.state.best, strict=True):
                tensor.copy_(best)
        return complete

    def _step(self, schedule: Schedule) -> None:
        step = self.state.step
        self.learn(step_samples(self.split.learned, step, schedule.size, schedule.seed))
        self.optimizer.step(schedule.factor(step))
        self.state.step += 1
        if self.state.step % schedule.interval == 0 or self.state.step == schedule.steps:
            self._evaluate()

    def _evaluate(self) -> None:
        state = self.state
        loss = self.held_loss()
        if state.step == 0:
            state.start_loss = loss
        if loss < state.best_loss:
            state.best_loss = loss
            state.best_step = state.step
            state.best = [tensor.detach().clone() for tensor in self.tensors]

    def _is_settled(self, schedule: Schedule) -> bool:
        """Tell whether the loss has not fallen for long."""
        return self.state.step - self.state.best_step >= PATIENCE * schedule.interval

    def _tell(self, schedule: Schedule, first: int, seconds: float) -> None:
        taken = self.state.step - first
        text = "distilling"
        if taken:
            left = seconds / taken * (schedule.steps - self.state.step)
            text = f"distilling, {_duration(left)} left"
        self.progress(text, self.state.step, schedule.steps)

    def _saved(self, schedule: Schedule) -> State:
        state = self.state
        moments = self.optimizer.state()
        arrays = {"second": moments["second"]}
        for index, tensor in enumerate(self.tensors):
            arrays[f"tensor.{index}"] = tensor.detach().numpy()
            arrays[f"best.{index}"] = state.best[index].numpy()
            arrays[f"first.{index}"] = moments["first"][index].numpy()
        facts = {
            "steps": schedule.steps,
            "size": schedule.size,
            "step": state.step,
            "start_loss": state.start_loss,
            "best_loss": state.best_loss,
            "best_step": state.best_step,
        }
        return State(facts, arrays)

    def _restore(self, saved: State) -> None:
        count = range(len(self.tensors))
        facts = saved.facts
        self.state = TrainingState(
            step=int(facts["step"]),
            start_loss=facts["start_loss"],
            best_loss=facts["best_loss"],
            best_step=int(facts["best_step"]),
            best=[torch.from_numpy(saved.arrays[f"best.{index}"]) for index in count],
        )
        with torch.no_grad():
            for index in count:
                self.tensors[index].copy_(torch.from_numpy(saved.arrays[f"tensor.{index}"]))
        first = [torch.from_numpy(saved.arrays[f"first.{index}"]) for index in count]
        second = saved.arrays["second"].tolist()
        self.optimizer.restore({"first": first, "second": second, "steps": self.state.step})


def _duration(seconds: float) -> str:
    """A time that is left, roughly.

    >>> _duration(200), _duration(42)
    ('3 min', '42 s')
    """
    if seconds >= MINUTE:
        return f"{round(seconds / MINUTE)} min"
    return f"{round(seconds)} s"
