"""Distillation: a compressed model learns the outputs of the model that it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import onnx_ir as ir
import torch

from packlight import runtime
from packlight.compression.threads import KernelThreads
from packlight.compression.training.batches import Batches, split_samples
from packlight.compression.training.checkpoint import Checkpoint
from packlight.compression.training.losses import Losses, OutputPower, decibels
from packlight.compression.training.optimizer import TensorAdam
from packlight.compression.training.samples import (
    Batching,
    Sample,
    Samples,
    alone,
    find_batching,
)
from packlight.compression.training.student import (
    INTEGER_OPERATORS,
    LEARNED_INPUTS,
    Student,
    build_student,
    training_obstacle,
)
from packlight.compression.training.trainer import Schedule, Trainer, TrainingState
from packlight.model import Model, nodes
from packlight.records.codec import digest, plain
from packlight.records.storage import Learned
from packlight.records.training_configs import BATCH_BYTES, Distill
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator
from packlight.runtime.isolation.limits import cores
from packlight.runtime.sample_digest import fingerprint
from packlight.torch.values import Tensor

ENOUGH = 1e-9
"""Loss below which outputs are those of the float model."""

LATENT_RATE = 2e-2
"""Share of a weight's rounding error by which its numbers move in a step."""

RATE = 3e-3
"""Share of their own size by which other tensors move in a step, where all is still to learn."""


def distill(graph: ir.Model, calibrator: Calibrator, config: Distill) -> list[Change | Refusal]:
    """Learn what a graph stores, in place.

    Args:
        graph: compressed.
        calibrator: has the samples, the float model and the model before the weights were stored.
        config: of the step.
    """
    model = Model(graph, calibrator.model_name)
    obstacle = training_obstacle(model)
    if obstacle is not None:
        return [replace(obstacle, operator=name) for name in _weighted(graph)]
    assert calibrator.original is not None
    with _threads():
        return _learn(model, calibrator, config)


@contextmanager
def _threads() -> Iterator[None]:
    """Give PyTorch as many threads as compiled kernels get."""
    before = torch.get_num_threads()
    torch.set_num_threads(KernelThreads.most or cores())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _weighted(graph: ir.Model) -> list[str]:
    """Names of the operators that would learn, and of those that compute in integers."""
    kinds = {*LEARNED_INPUTS, *INTEGER_OPERATORS} - {"DynamicQuantizeLinear", "QuantizeLinear"}
    return [str(node.name) for node in nodes(graph) if node.op_type in kinds]


def _refusals(
    operators: Sequence[str], code: str, reason: str, remedy: str = ""
) -> list[Change | Refusal]:
    return [Refusal(name, code, reason, remedy) for name in operators]  # type: ignore[arg-type]


def _learn(model: Model, calibrator: Calibrator, config: Distill) -> list[Change | Refusal]:
    original = calibrator.original
    assert original is not None
    reference = None if calibrator.reference is None else calibrator.reference.graph
    student = build_student(model, reference)
    teacher = runtime.open_session(original, calibrator.options)
    samples = Samples(calibrator.samples, teacher, calibrator.state)
    if not samples.outputs:
        reason = "the model gives no floats that could be compared with those of the float model"
        return _refusals(student.operators, "no-gain", reason)
    trainer = _trainer(student, samples, calibrator, config)
    if model.digest == original.digest or trainer.state.start_loss < ENOUGH:
        reason = "its outputs are those of the float model: there is nothing to make up for"
        remedy = "distill after a step that compresses"
        return _refusals(student.operators, "no-gain", reason, remedy)
    checkpoint = Checkpoint(_run_name(model, calibrator, config))
    saved = checkpoint.read()
    size = min(config.batch, len(trainer.split.learned))
    steps = config.steps
    if saved is not None:
        steps = int(saved.facts["steps"])
    elif not steps:
        steps = trainer.steps_within(config.minutes, size)
    if trainer.run(Schedule(steps, size, calibrator.seed), checkpoint, saved):
        checkpoint.remove()
    student.write(model.graph)
    return _changes(student, trainer.state, steps)


def _run_name(model: Model, calibrator: Calibrator, config: Distill) -> str:
    """Digest of all that the result of a training follows from."""
    assert calibrator.original is not None
    settings = replace(config, minutes=1.0) if config.steps else config
    samples = [fingerprint(calibrator.samples[i]).hex() for i in range(len(calibrator.samples))]
    models = [calibrator.original.digest, model.digest]
    return digest([*models, plain(settings), calibrator.seed, samples])


def _trainer(
    student: Student, samples: Samples, calibrator: Calibrator, config: Distill
) -> Trainer:
    """The loop, with rates for the loss that it starts from."""
    split = split_samples(len(samples))
    power = OutputPower()
    for index in split.held:
        power.add(samples[index])
    losses = Losses(student.module, calibrator.state, power.means())
    batches = Batches(samples, *_batching(losses, samples, split.held, config.batch))
    trainer = Trainer(student.tensors(), batches, split, losses, calibrator.progress)
    start_loss = trainer.start()
    level = min(1.0, start_loss**0.5)
    rates = student.rates(config.rate * LATENT_RATE, config.rate * RATE * level)
    trainer.optimizer = TensorAdam(trainer.tensors, rates)
    return trainer


def _batching(
    losses: Losses, samples: Samples, indices: Sequence[int], most: int
) -> tuple[Batching | None, int]:
    """Axes along which samples are joined, and how many fit into the memory of a batch."""
    first = samples[indices[0]]
    held = saved_bytes(losses, first)
    room = max(1, min(most, BATCH_BYTES // max(held, 1)))
    same = (samples[index] for index in range(len(samples)) if index != indices[0])
    second = next((sample for sample in same if sample.signature == first.signature), None)
    if second is None or room == 1:
        return None, 1
    return find_batching(losses.module, losses.state, [first, second]), room


def saved_bytes(losses: Losses, sample: Sample) -> int:
    """Bytes that the gradients of a sample's call hold, weights included."""
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        next(losses.windows([sample], alone(sample)))
    return sum(sizes.values())


def _changes(student: Student, state: TrainingState, steps: int) -> list[Change | Refusal]:
    before = round(decibels(state.start_loss), 2)
    after = round(decibels(state.best_loss), 2)
    stored = Learned(state.step, steps, before, after)
    return [Change(name, "distill", stored) for name in student.operators]
