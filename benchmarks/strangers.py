"""Networks of kinds that nobody tuned to: shared kernels, an unrolled decoder, recurrence.

    python benchmarks/peers/install.py                  # once: an environment for each peer
    python benchmarks/strangers.py weights              # cqt and decoder, at 8 and 4 bits
    python benchmarks/strangers.py dynamic              # LSTM and GRU of characters
    python benchmarks/strangers.py static               # plain convolutional networks
    python benchmarks/strangers.py                      # all three

``weights`` compares as ``weights.py`` does: the same flat graph for all, dB in exact arithmetic,
bytes of a peer without what restores its weights. ``dynamic`` and ``static`` time each file against
the float model, sample by sample in turns, over several openings of both sessions; the peer is
``onnxruntime.quantization`` of the runtime that times both.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import numpy as np
import onnxruntime.quantization as peer
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch.nn import functional

import packlight
import strangers_networks as networks
import suite
import weights
from packlight.model import save
from packlight.records import Measurement, SessionOptions
from packlight.runtime import compare_latency, open_session
from packlight.task import Task
from sources import cached

WEIGHTS = ("cqt", "decoder")
RECURRENT = ("lstm", "gru")
PLAIN = ("plain-3", "plain-4")
BITS = (8, 4)
PEERS = ("coremltools", "nncf", "aimet")
OPTIONS = SessionOptions(threads=1)
SECONDS = 8.0
KINDS = {"int8": peer.QuantType.QInt8, "uint8": peer.QuantType.QUInt8}

for name in WEIGHTS:
    suite.SUITE[name] = lambda name=name: suite.Case(
        name, lambda: networks.path(name), lambda: networks.task(name)
    )


def compare_weights() -> None:
    """Every setting of every peer beside the best file of packlight that is not larger."""
    weights.fill(WEIGHTS, [weights.OURS, *PEERS], BITS)
    print(weights.table(WEIGHTS, PEERS, BITS))


def latency_ratio(original: Path, made: Path, task: Task) -> Measurement:
    """Latency of a file over that of the float model, in turns with it."""
    return compare_latency(
        lambda: open_session(original, OPTIONS), lambda: open_session(made, OPTIONS),
        [task.samples[0]], task.state, seconds=SECONDS,
    )["latency_ratio"]  # fmt: skip


def outputs(made: Path, name: str) -> np.ndarray:
    """Scores for every sample, one after another."""
    session = open_session(made, OPTIONS)
    inputs, _ = networks.answers(name)
    key = networks.INPUTS.get(name, "image")
    rows = inputs.numpy()
    results = [session.run({key: rows[index : index + 1]}) for index in range(len(rows))]
    return np.concatenate([result["scores"] for result in results])


def decibels(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise of the scores, in the runtime's arithmetic."""
    noise = float(np.square(expected - found, dtype=np.float64).sum())
    return 10 * float(np.log10(np.square(expected, dtype=np.float64).sum() / noise))


def loss(scores: np.ndarray, name: str) -> float:
    """Mean cross entropy of the right answers, in nats."""
    _, targets = networks.answers(name)
    rows = torch.tensor(scores).flatten(0, -2)
    return float(functional.cross_entropy(rows, targets.flatten()))


def row(name: str, tool: str, setting: str, made: Path) -> str:
    """One file beside the float model, as a line of the table."""
    original = networks.path(name)
    ratio = latency_ratio(original, made, networks.task(name))
    expected = outputs(original, name)
    found = outputs(made, name)
    cells = (
        name, tool, setting, f"{made.stat().st_size / 1e3:.0f}",
        f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        f"{decibels(expected, found):.1f}", f"{loss(found, name):.4f}",
        f"{loss(expected, name):.4f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def ours(name: str, recipe: str) -> Path:
    """Packlight's file by a recipe."""
    target = cached("strangers", f"{name}-ours.onnx")
    save(packlight.compress(networks.path(name), recipe, task=networks.task(name)).model, target)
    return target


def theirs_dynamic(name: str, kind: str, *, per_channel: bool) -> Path:
    """ONNX Runtime's file with ranges of each call."""
    target = cached("strangers", f"{name}-dynamic-{kind}.onnx")
    peer.quantize_dynamic(
        networks.path(name), target, per_channel=per_channel, weight_type=KINDS[kind]
    )
    return target


class Calls(peer.CalibrationDataReader):
    """Calibration calls of a task, one by one.

    Args:
        task: of the network.
    """

    def __init__(self, task: Task) -> None:
        self.calls: Iterator[dict[str, np.ndarray]] = (dict(steps[0]) for steps in task.calibration)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next call; None after the last."""
        return next(self.calls, None)


def theirs_static(name: str, kind: str) -> Path:
    """ONNX Runtime's file with ranges of calibration calls."""
    prepared = cached("strangers", f"{name}-prepared.onnx")
    target = cached("strangers", f"{name}-static-{kind}.onnx")
    quant_pre_process(str(networks.path(name)), str(prepared), skip_symbolic_shape=True)
    peer.quantize_static(
        prepared, target, Calls(networks.task(name)), per_channel=True,
        activation_type=peer.QuantType.QUInt8, weight_type=KINDS[kind],
    )  # fmt: skip
    return target


HEAD = (
    "| model | tool | setting | kB | ratio, 1 thread | dB | loss | loss in float |\n"
    "| --- | --- | --- | --: | --- | --: | --: | --: |"
)


def compare_dynamic() -> None:
    """Recurrent character models with ranges of each call."""
    print(HEAD)
    for name in RECURRENT:
        print(row(name, "packlight", "`simplify+dynamic`", ours(name, "simplify+dynamic")))
        for kind, per_channel in (("int8", False), ("int8", True), ("uint8", False)):
            setting = f"{kind} weights, per {'channel' if per_channel else 'tensor'}"
            made = theirs_dynamic(name, kind, per_channel=per_channel)
            print(row(name, "ONNX Runtime", f"dynamic, {setting}", made), flush=True)


def offered(name: str) -> tuple[str, Path]:
    """Name and file of what ``fit`` offers for latency."""
    folder = cached("strangers", f"{name}-packlight", "x").parent
    study = packlight.fit(
        networks.path(name), networks.task(name), ["latency<=0.99x", "drop<=5%"],
        project=folder, options=OPTIONS,
    )  # fmt: skip
    assert study.best is not None
    return study.best.name, Path(study.best.file)


def compare_static() -> None:
    """Plain convolutional networks by the recipe that ``fit`` offers."""
    print(HEAD)
    for name in PLAIN:
        recipe, made = offered(name)
        print(row(name, "packlight, offered by `fit`", f"`{recipe}`", made), flush=True)
        for recipe in ("simplify+static", "simplify+static,first=float"):
            print(row(name, "packlight", f"`{recipe}`", ours(name, recipe)), flush=True)
        for kind in ("int8", "uint8"):
            made = theirs_static(name, kind)
            print(row(name, "ONNX Runtime", f"static, {kind} weights", made), flush=True)


PARTS: dict[str, Callable[[], None]] = {
    "weights": compare_weights, "dynamic": compare_dynamic, "static": compare_static,
}  # fmt: skip


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    for part in parser.parse_args().parts or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()
