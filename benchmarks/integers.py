"""Integer arithmetic side by side: packlight and three peers, on the same models and data.

    python benchmarks/peers/install.py            # once: an environment for each peer
    python benchmarks/integers.py                 # make what the cache lacks, judge, time, table
    python benchmarks/integers.py --cases fashion silero --seconds 4

Every tool gets the same flat graph and the same calibration calls (plain.py) in a process of its
own. What it makes is run as it is: dB of the outputs against float32 in exact arithmetic and in
the kernels of this processor, the task's metric, the file's bytes, seconds and peak memory of the
tool, and the latency over that of float32, in turns with it, on one thread and on two. ``unsafe``
counts operators that can saturate on x86 processors without VNNI.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import theirs
from judging import KEPT
from packlight.errors import ModelError
from packlight.evaluation import Reference, evaluate
from packlight.evaluation.exactness import evenly_spread
from packlight.model import load
from packlight.records import SessionOptions
from packlight.runtime import compare_latency, open_session, saturation
from packlight.task import Task
from plain import plain_model
from sources import HERE, cached
from suite import EXACT, SUITE, Case, case

OURS = "packlight"
EVEN = "equalize,by=activations,scales=any"
TRANSFORMERS = ("minilm", "ocr")
RECIPES = {
    "fashion": ("static", "static,first=float"),
    "efficientnet": (
        "static,first=levels",
        "static,first=float",
        "static,first=float,portable=false",
    ),
    "minilm": ("static,range=minmax", "dynamic", "dynamic+weights:8"),
    "silero": ("static", "dynamic"),
    "ocr": ("static", f"{EVEN}+static", f"{EVEN}+static,range=percentile", "dynamic"),
}
"""packlight's, by model; ``simplify`` goes before each."""

TIMED = 8
"""Samples that are timed."""


def settings(name: str) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    """Every tool with what its setting is called and says."""
    for recipe in RECIPES[name]:
        yield OURS, recipe, {"recipe": f"simplify+{recipe}"}
    static = {"kind": "static", "ranges": "minmax"}
    yield "onnxruntime", "static, int8 weights", {**static, "weights": "int8"}
    yield "onnxruntime", "static, uint8 weights", {**static, "weights": "uint8"}
    reduced = {**static, "weights": "int8", "reduce_range": True}
    yield "onnxruntime", "static, int8 weights of 7 bits", reduced
    yield "onnxruntime", "dynamic, int8 weights", {"kind": "dynamic", "weights": "int8"}
    for fast in (True, False):
        how = "fast" if fast else "full"
        mixed = {"preset": "mixed", "fast": fast, "transformer": name in TRANSFORMERS}
        yield "nncf", f"mixed, {how} bias correction", mixed
    for scheme in ("min_max", "tf_enhanced"):
        yield "aimet", scheme, {"scheme": scheme}


@dataclass(frozen=True, slots=True)
class Row:
    """What one tool made of one model; ``failure`` says why there is nothing."""

    case: str
    tool: str
    setting: str
    size: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    exact: float = 0.0
    kernel: float = 0.0
    metric: float = 0.0
    unsafe: int = 0
    ratios: tuple[tuple[float, float, float], ...] = ()
    failure: str = ""

    def line(self) -> str:
        """A row of the table."""
        head = f"| {self.case} | {self.tool} | {self.setting} "
        if self.failure:
            return f"{head}| {self.failure} |" + " |" * 8
        times = " | ".join(f"{v:.2f} ({low:.2f} to {high:.2f})" for v, low, high in self.ratios)
        return (
            f"{head}| {self.size / 1e6:.3f} | {self.exact:.1f} | {self.kernel:.1f} "
            f"| {self.metric:.3f} | {times} | {self.unsafe} | {self.seconds:.0f} "
            f"| {self.peak_bytes / 1e6:.0f} |"
        )


HEADER = (
    "| model | tool | setting | MB | dB exact | dB kernel | metric | ratio, 1 thread "
    "| ratio, 2 threads | unsafe | s | MB peak |\n| " + "--- | " * 12
)


def made(chosen: Case, tool: str, setting: Mapping[str, object]) -> tuple[Path, str]:
    """The file that a tool makes, made once, and why it failed.

    Files that were made with one processor's kernels serve where ``without_vnni.py`` runs others.
    """
    names = ["job.py", f"integers_{tool}.py"] if tool != OURS else []
    code = "".join((theirs.PEERS / name).read_text() for name in names) or source_code()
    content = json.dumps([chosen.name, tool, dict(setting), code], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    path = cached("integers", f"{chosen.name}-{tool}-{key}.onnx")
    if not path.with_suffix(".json").exists():
        with TemporaryDirectory(prefix=f"packlight-{tool}-") as folder:
            out = Path(folder) / "made"
            failure = (
                ours(chosen, setting, out) if tool == OURS else peer(chosen, tool, setting, out)
            )
            report = {"failure": failure}
            if not failure:
                shutil.copyfile(out.with_suffix(".onnx"), path)
                report |= json.loads(out.with_suffix(".json").read_text())
            path.with_suffix(".json").write_text(json.dumps(report))
    return path, str(json.loads(path.with_suffix(".json").read_text())["failure"])


def source_code() -> str:
    """What packlight's files depend on."""
    import ours as own

    return own.code()


def peer(chosen: Case, tool: str, setting: Mapping[str, object], out: Path) -> str:
    """Let a peer make a file."""
    return theirs.run(chosen, tool, setting, out, script=f"integers_{tool}.py")


MAKE = """
import json, resource, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import packlight
from packlight.task import Task
from plain import plain_model
from suite import case

chosen = case(sys.argv[2])
task = chosen.task()
start = time.perf_counter()
made = packlight.compress(plain_model(chosen), sys.argv[3], Path(sys.argv[4] + ".onnx"), task=task,
                          options=packlight.SessionOptions(threads=2))
report = {"seconds": time.perf_counter() - start,
          "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
Path(sys.argv[4] + ".json").write_text(json.dumps(report))
"""


def ours(chosen: Case, setting: Mapping[str, object], out: Path) -> str:
    """Let packlight make a file, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", MAKE, str(HERE), chosen.name]
    done = subprocess.run(
        [*command, str(setting["recipe"]), str(out)], check=False, capture_output=True, text=True
    )
    said = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (said or ["failed in silence"])[-1][:160]


@cache
def references(name: str, most: int) -> tuple[Task, Reference, Reference]:
    """Samples of a case, evenly spread, and the original on them, exactly and in the kernels."""
    chosen = case(name)
    whole, model = chosen.task(), load(chosen.model_path())
    places = list(evenly_spread(len(whole.samples), most))
    task = replace(
        whole, samples=[whole.samples[place] for place in places],
        targets=[whole.targets[place] for place in places] if len(whole.targets) else (),
        groups={},
    )  # fmt: skip
    runs = SessionOptions(threads=1)
    return task, *(Reference(model, task, how, limit=KEPT) for how in (EXACT, runs))


def tried(chosen: Case, what: tuple[str, str], path: Path, seconds: float, most: int) -> Row:
    """A file as it was judged, or why it cannot be."""
    try:
        return judged(chosen, what, path, seconds, most)
    except ModelError as error:
        return Row(chosen.name, *what, failure=str(error)[:160])


def judged(chosen: Case, what: tuple[str, str], path: Path, seconds: float, most: int) -> Row:
    """Run a file beside the original."""
    task, beside, original = references(chosen.name, most)
    model, report = load(path), json.loads(path.with_suffix(".json").read_text())
    exactly = evaluate(model, task, EXACT, reference=beside, variant="v", reference_id="o")
    runs = evaluate(
        model, task, SessionOptions(threads=1), reference=original, variant="v", reference_id="o"
    )
    ratios = tuple(ratio(chosen, path, threads, seconds) for threads in (1, 2))
    risks = sum(not one.safe for one in saturation(model))
    return Row(
        chosen.name, *what, path.stat().st_size, report["seconds"], report["peak_bytes"],
        exactly.evaluation.metrics["snr"].value, runs.evaluation.metrics["snr"].value,
        runs.evaluation.metrics[task.metric.name].value, risks, ratios,
    )  # fmt: skip


def ratio(chosen: Case, path: Path, threads: int, seconds: float) -> tuple[float, float, float]:
    """Latency over that of the float model, with its interval."""
    task, options = chosen.task(), SessionOptions(threads=threads)
    samples = [task.samples[index] for index in range(min(TIMED, len(task.samples)))]
    flat, model = load(plain_model(chosen)), load(path)
    took = compare_latency(
        lambda: open_session(flat, options), lambda: open_session(model, options), samples,
        task.state, seconds=seconds, seed=0,
    )["latency_ratio"]  # fmt: skip
    return took.value, took.low, took.high


def main() -> None:
    """Make, judge and time; print the table as it grows."""
    parser = argparse.ArgumentParser(description="packlight beside its peers, 8-bit integers")
    parser.add_argument("--cases", nargs="+", choices=list(SUITE), default=list(SUITE))
    parser.add_argument("--tools", nargs="+", default=[OURS, "onnxruntime", "nncf", "aimet"])
    parser.add_argument("--seconds", type=float, default=4.0, help="for each latency")
    parser.add_argument("--samples", type=int, default=10_000, help="of a task, at most")
    parser.add_argument("--settings", default="", help="only those that match")
    parser.add_argument("--make", action="store_true", help="only make the files")
    chosen = parser.parse_args()
    print(HEADER)
    for name in chosen.cases:
        one = case(name)
        for tool, setting, said in settings(name):
            if tool not in chosen.tools or not re.search(chosen.settings, setting):
                continue
            path, failure = made(one, tool, said)
            if chosen.make:
                print(name, tool, setting, failure or "made", file=sys.stderr, flush=True)
                continue
            row = Row(name, tool, setting, failure=failure)
            if not failure:
                row = tried(one, (tool, setting), path, chosen.seconds, chosen.samples)
            print(row.line(), flush=True)


if __name__ == "__main__":
    main()
