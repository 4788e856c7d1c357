"""Calibration of MiniLM: peak memory and time of ranges, by the number of samples.

    python benchmarks/calibration_cost.py 32 2000
    python benchmarks/calibration_cost.py --entropy 32 200    # ONNX Runtime's beside it

Each figure is of a fresh process on one thread, on texts of 128 tokens, which come again where more
are asked for: ``static`` as a whole, with weights to nearest, so that the samples pass by once;
its ranges alone, session and search included; and the model on the same samples with every value
that gets a range led out, and nothing else done. Seconds are by the clock and of all cores, for
on a busy machine only the latter say what a thing costs. ONNX Runtime's entropy calibration, in an
environment of its own, keeps all activations and fails where they are not of one shape.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module

KIB, MB = 1024, 1e6
RECIPE = "static,rounding=nearest,bias=false,search=minmax"
Taken = tuple[float, float, float]
"""Peak bytes, seconds by the clock, seconds of all cores."""


def parts(count: int) -> Mapping[str, Callable[[], object]]:
    """What is timed, by its name."""
    import packlight
    from packlight.backends.capabilities import capabilities
    from packlight.compression.qdq import placement
    from packlight.compression.qdq.placement import activation_grids
    from packlight.metrics import METRICS
    from packlight.model import load, nodes
    from packlight.records import SessionOptions, StaticInt8
    from packlight.runtime import stream
    from packlight.runtime.calibration import Calibrator
    from packlight.task import LazySamples, Task
    from plain import plain_model
    from suite import case
    from texts import CALIBRATION_LONGEST

    chosen = case("minilm")
    whole, model = chosen.task(), load(plain_model(chosen))
    full = [one for one in whole.calibration if one[0]["input_ids"].size == CALIBRATION_LONGEST]
    samples = LazySamples(count, lambda index: full[index % len(full)])
    task = Task(name="calibration", samples=samples, metric=METRICS["snr"], calibration=samples)
    weighted = [
        node
        for node in nodes(model.graph)
        if node.op_type in capabilities("onnxruntime").weight_operators
    ]
    plan, options = placement.place(model.graph, weighted), SessionOptions()
    calibrator = Calibrator(samples, options)
    import_module("packlight.compression.grids.ranges_kernels")
    return {
        "static": partial(packlight.compress, model, RECIPE, task=task),
        "ranges": partial(activation_grids, model.graph, plan, calibrator, StaticInt8()),
        "taps": lambda: sum(1 for _ in stream(model, list(plan.ranges()), samples, {}, options)),
    }


def timed(what: str, count: int) -> Taken:
    """One part in this process."""
    do = parts(count)[what]
    start, busy = time.perf_counter(), time.process_time()
    do()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB, seconds, busy


def measured(what: str, count: int) -> Taken:
    """One part in a fresh process."""
    command = [sys.executable, "-W", "ignore", __file__, what, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, seconds, busy = json.loads(done.stdout.splitlines()[-1])
    return peak, seconds, busy


def entropy(count: int) -> Taken:
    """ONNX Runtime's entropy calibration; not a number where it fails."""
    import theirs
    from plain import calibration_file, plain_model
    from suite import case

    chosen = case("minilm")
    command = [str(theirs.installed("onnxruntime")), str(theirs.PEERS / "time_entropy.py")]
    done = subprocess.run(
        [*command, str(plain_model(chosen)), str(calibration_file(chosen)), str(count)],
        check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        return math.nan, math.nan, math.nan
    peak, seconds, busy = json.loads(done.stdout.splitlines()[-1])
    return peak, seconds, busy


def main(arguments: Sequence[str]) -> None:
    """Print the table, or do what the arguments say."""
    if arguments[0] in ("static", "ranges", "taps"):
        print(json.dumps(timed(arguments[0], int(arguments[1]))))
        return
    print("| samples | what | peak MB | s | s of all cores | of taps alone | of all cores |")
    print("| --: | --- | --: | --: | --: | --: | --: |")
    for count in [int(one) for one in arguments if one.isdigit()]:
        found = {what: measured(what, count) for what in ("taps", "ranges", "static")}
        if "--entropy" in arguments:
            found["ONNX Runtime, entropy"] = entropy(count)
        _, clock, cores = found["taps"]
        for what, (peak, seconds, busy) in found.items():
            print(
                f"| {count} | {what} | {peak / MB:.0f} | {seconds:.1f} | {busy:.1f} "
                f"| {seconds / clock:.2f} | {busy / cores:.2f} |", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:] or ["32", "2000"])
