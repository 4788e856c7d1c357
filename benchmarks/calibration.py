"""Calibration of MiniLM: peak memory and time of ranges, by the number of samples.

    python benchmarks/calibration.py 32 2000

Each row is a fresh process that finds the ranges of ``static``, with weights to nearest, so that
the samples pass by once; samples beyond those that there are come again. Beside it is the time that
the model takes over the same samples with every value that gets a range led out, and nothing else
done. The peak is the largest resident set that the system states for the process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

KIB, MB = 1024, 1e6
RECIPE = "static,rounding=nearest,bias=false,search=minmax"


def calibrate(count: int, *, plain: bool) -> None:
    """Find ranges in this process, or only run with taps; print peak and seconds as JSON."""
    import packlight
    from packlight.compress import placement
    from packlight.compress.static import INTEGER
    from packlight.metrics import METRICS
    from packlight.model import load, nodes
    from packlight.records import SessionOptions
    from packlight.runtime import stream
    from packlight.task import LazySamples, Task
    from plain import plain_model
    from suite import case

    chosen = case("minilm")
    whole, model = chosen.task(), load(plain_model(chosen))
    have = len(whole.calibration)
    samples = LazySamples(count, lambda index: whole.calibration[index % have])
    task = Task(name="calibration", samples=samples, metric=METRICS["snr"], calibration=samples)
    weighted = [node for node in nodes(model.graph) if node.op_type in INTEGER]
    names = list(placement.place(model.graph, weighted).ranges())
    start = time.perf_counter()
    if plain:
        for _ in stream(model, names, task.calibration, {}, SessionOptions()):
            pass
    else:
        packlight.compress(model, RECIPE, task=task)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    print(json.dumps([peak, seconds]))


def measured(count: int, how: str) -> tuple[float, float]:
    """Peak bytes and seconds of a fresh process."""
    command = [sys.executable, "-W", "ignore", __file__, how, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, seconds = json.loads(done.stdout.splitlines()[-1])
    return peak, seconds


def main(arguments: Sequence[str]) -> None:
    """Print the table, or do what the arguments say."""
    if arguments[0] in ("ranges", "taps"):
        calibrate(int(arguments[1]), plain=arguments[0] == "taps")
        return
    print("| samples | peak MB | s | with taps alone, s |")
    print("| --: | --: | --: | --: |")
    for count in map(int, arguments):
        peak, seconds = measured(count, "ranges")
        _, alone = measured(count, "taps")
        print(f"| {count} | {peak / MB:.0f} | {seconds:.0f} | {alone:.0f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["32", "2000"])
