"""Distillation: what earlier steps stored is learned, against the model that the recipe began with.

Source: Hinton et al. (2015) for a model that learns from another one's outputs.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import onnx_ir as ir

from packlight.compression.method import Method
from packlight.errors import RecipeError
from packlight.records.training_configs import Distill
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator


class Site:
    """The model as a whole."""

    operator = ""


def _sites(graph: ir.Model, config: Distill) -> Iterable[Site | Refusal]:
    """No part of a model in particular."""
    del graph, config
    return ()


def apply(
    graph: ir.Model, sites: Sequence[Site], calibrator: Calibrator, config: Distill
) -> list[Change | Refusal]:
    """Learn what the graph stores; its size stays."""
    del sites
    if calibrator.sizes_only:
        return []
    if importlib.util.find_spec("torch") is None:
        raise RecipeError(
            "'distill' learns with PyTorch, which is not installed: pip install "
            "'packlight[torch]', or leave the step out"
        )
    with _patient_threads():
        from packlight.compression.training.distillation import distill  # noqa: PLC0415
    return distill(graph, calibrator, config)


WAITING = "OMP_WAIT_POLICY"
"""Variable of OpenMP, read when PyTorch loads."""


@contextmanager
def _patient_threads() -> Iterator[None]:
    """Let threads of PyTorch, if it loads now, wait without spinning.

    Where other programs keep the cores busy, spinning makes a step take dozens of times as long.
    """
    if WAITING in os.environ:
        yield
        return
    os.environ[WAITING] = "PASSIVE"
    try:
        yield
    finally:
        os.environ.pop(WAITING, None)


METHOD = Method(
    summary="learn codes, tables, scales, weights and biases against the float model",
    config=Distill,
    opset=lambda _: 1,
    sites=_sites,
    apply=apply,
    uses_data=lambda _: True,
    learns=True,
)
