"""How well a search chooses: beside every combination, on real models, and how honest it is.

python benchmarks/fit.py exhaustive   # three small networks, every combination really evaluated
python benchmarks/fit.py honesty      # 200 simulated tasks: how many that are said to fit do not
python benchmarks/fit.py efficientnet # weights of EfficientNet-Lite0 at four sizes, and faster
python benchmarks/fit.py suite        # every model of the suite at five sizes and three latencies

Each prints a table for RESULTS.md. Evaluations of combinations and whole searches are kept, and
made again when the code of the search changes.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

import packlight
from ours import code
from packlight.evaluation import Reference, evaluate
from packlight.metrics import METRICS
from packlight.model import Model, load, save, stored_size
from packlight.records import Evaluation, SessionOptions, parse_budget
from packlight.search.bench import Bench
from packlight.search.explore import Explorer
from packlight.search.mixes import Mix
from packlight.search.steering import SplitTask, probably_keeps
from packlight.search.trials import Trials
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.task import ArraySamples, Task
from packlight.testing.networks import NETWORKS, Sketch, value_info
from sources import cached
from suite import SUITE, case

CANDIDATES = (
    "weights:8,range=moments,rounding=gptq,scales=16",
    "weights:5,range=moments,rounding=gptq,scales=16",
    "weights:3,range=moments,rounding=gptq,scales=16",
)
"""Forms of each operator; the fourth candidate is to keep it."""

BUDGETS = 10
"""Sizes between the smallest and the largest file."""

SHARES = (0.5, 0.3, 0.2, 0.15, 0.1)
"""Of a model's size."""

RATIOS = (0.9, 0.7, 0.5)
"""Of a model's latency."""

SIZES = {"size<=2.0MB": 5.4, "size<=2.5MB": 12.5, "size<=3.0MB": 17.3, "size<=3.5MB": 22.2}
"""Least signal to noise in dB that is asked of EfficientNet-Lite0."""

SIMULATED = 200
ROOT = Path(packlight.__file__).parent


# Beside every combination


def layered(*widths: int, activation: str) -> Model:
    """Matrix products of different sizes, one after the other."""
    net = Sketch(17)
    value = "x"
    for before, after in itertools.pairwise(widths):
        value = net.add("Add", net.add("MatMul", value, net.weight(before, after, fan_in=before)),
                        net.weight(after))  # fmt: skip
        if after != widths[-1]:
            value = net.add(activation, value)
    return net.model("layered", [value_info("x", ["batch", 32])], {value: ["batch", widths[-1]]})


SMALL: dict[str, Callable[[], Model]] = {
    "gemms": NETWORKS["gemms-13"],
    "falling": partial(layered, 32, 64, 48, 40, 10, activation="Relu"),
    "waist": partial(layered, 32, 72, 24, 72, 10, activation="Tanh"),
}


def small_task() -> Task:
    """Random inputs; the original says what is right."""

    def rows(count: int, seed: int) -> ArraySamples:
        values = np.random.default_rng(seed).standard_normal((count, 32), dtype=np.float32)
        return ArraySamples({"x": values}, {"x": np.dtype(np.float32)})

    return Task("random", rows(100, 0), METRICS["agreement"], calibration=rows(48, 1))


@contextmanager
def explorer_of(name: str, budget: Sequence[str]) -> Iterator[Explorer]:
    """A search among four forms, which steers by all samples, in a project that is kept."""
    path = cached("fit", "models", f"{name}.onnx")
    if not path.exists():
        save(SMALL[name](), path)
    task = small_task()
    with Store.open(cached("fit", "projects", search_code(), name)) as store:
        bench = Bench(
            store, Opened(load(path), path), task, SessionOptions(threads=1), seconds=0.02
        )
        trials = Trials(bench, parse_budget(budget), goal="quality")
        explorer = Explorer(trials, SplitTask(task, task))
        explorer.mixed.forms = CANDIDATES  # type: ignore[misc]  # in place of all forms
        explorer.run.begin()
        yield explorer


def search_code() -> str:
    """Digest of the methods, which make the files."""
    return code()[:12]


def every_combination(name: str) -> dict[str, tuple[int, float]]:
    """Bytes and signal to noise of every combination, by its forms; really evaluated, and kept."""
    path = cached("fit", "combinations", search_code(), f"{name}.json")
    found: dict[str, tuple[int, float]] = {}
    if path.exists():
        found = {key: (size, snr) for key, (size, snr) in json.loads(path.read_text()).items()}
    with explorer_of(name, ["size<=1x"]) as explorer:
        mixes = explorer.mixed.mixes
        by_operator: dict[int, list[int]] = {}
        for index, entry in enumerate(mixes.program.alternatives):
            by_operator.setdefault(entry.operator, []).append(index)
        for chosen in itertools.product(*by_operator.values()):
            key = " ".join(map(str, chosen))
            if key in found:
                continue
            mix = mixes.mix_of(chosen)
            found[key] = evaluated(explorer, mix)
            if len(found) % 32 == 0:
                path.write_text(json.dumps(found))
                print(f"{name}: {len(found)} combinations", file=sys.stderr, flush=True)
    path.write_text(json.dumps(found))
    return found


def evaluated(explorer: Explorer, mix: Mix) -> tuple[int, float]:
    """Bytes and signal to noise of a mix, made and evaluated alone."""
    made = packlight.compress(
        explorer.run.bench.opened.model, mix.recipe, task=explorer.run.bench.task
    )
    judged = evaluate(
        made.model, explorer.run.bench.task, SessionOptions(threads=1),
        reference=explorer.run.bench.reference, variant="mix", reference_id="original",
    ).evaluation  # fmt: skip
    return mix.size, judged.metrics["snr"].value


def exhaustive() -> list[str]:
    """The search beside the best of every combination, at ten sizes."""
    lines = [
        "| network | sites | combinations | size | best of all, dB | search, dB | evaluated |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in SMALL:
        every = every_combination(name)
        sizes = [size for size, _ in every.values()]
        for limit in np.linspace(min(sizes), max(sizes), BUDGETS + 1)[1:]:
            best = max(snr for size, snr in every.values() if size <= limit)
            with explorer_of(name, [f"size<={int(limit)}B"]) as explorer:
                mixed = explorer.mixed
                mixed.evaluate(mixed.first_mix())
                mix = mixed.best_of_size(float(limit))
                reached = mixed.evaluated[mix.chosen].metrics["snr"].value
                sites = mixed.mixes.program.operators
            share = len(mixed.evaluated) / len(every)
            lines.append(
                f"| {name} | {sites} | {len(every)} | {int(limit):,} B | {best:.2f} | "
                f"{reached:.2f} | {len(mixed.evaluated)} ({share:.1%}) |"
            )
    return lines


# Honesty


def chooser(variants: int, classes: int) -> list[Model]:
    """Models of one input whose scores are those at their own place of it."""
    models = []
    for index in range(variants + 1):
        net = Sketch(17)
        bounds = [net.add("Constant", value_ints=[at * classes]) for at in (index, index + 1)]
        axis = net.add("Constant", value_ints=[1])
        value = net.add("Slice", "x", *bounds, axis)
        width = (variants + 1) * classes
        models.append(
            net.model(f"at {index}", [value_info("x", [1, width])], {value: [1, classes]})
        )
    return models


def simulated(rng: np.random.Generator, count: int, drops: Sequence[float]) -> Task:
    """Samples of an original that is right in 9 of 10, and of variants with these true drops.

    A variant is wrong where the original is right as often as its drop and its chance to be right
    where the original is wrong say; both are drawn for each sample.
    """
    classes = 4
    targets = rng.integers(0, classes, count)
    scores = rng.normal(0, 0.1, (count, len(drops) + 1, classes)).astype(np.float32)
    right = np.empty((count, len(drops) + 1), bool)
    right[:, 0] = rng.random(count) < 0.9
    for index, drop in enumerate(drops, start=1):
        gained = 0.01
        lost = (drop + gained) / 0.9
        flips = rng.random(count)
        right[:, index] = np.where(right[:, 0], flips >= lost, flips < gained / 0.1)
    shown = np.where(right, targets[:, None], (targets[:, None] + 1) % classes)
    scores[np.arange(count)[:, None], np.arange(len(drops) + 1), shown] += 2
    rows = scores.reshape(count, 1, -1)[:, 0]
    return Task(
        "simulated", ArraySamples({"x": rows}, {"x": np.dtype(np.float32)}), METRICS["top1"],
        targets=targets,
    )  # fmt: skip


def honesty() -> list[str]:
    """Of variants that are declared to keep ``drop<=1%``, the share that truly exceeds it.

    The samples are drawn, and everything after them is real: models that run, the evaluation, its
    paired interval, what is hopeful on samples that steer, and how finalists are judged.
    """
    limit = parse_budget(["drop<=1%"]).floors[0]
    models = chooser(4, 4)
    declared = wrong = unclear = tasks = tempting = 0
    for seed in range(SIMULATED):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(100, 800))
        drops = np.sort(rng.uniform(0.0, 0.03, 4))
        steering = simulated(rng, count // 2, drops)
        judging = simulated(rng, count, drops)
        tasks += 1
        hopeful = [
            index
            for index in range(1, 5)
            if probably_keeps(limit, drop_of(models, index, steering), count, {})
        ]
        tempting += any(drops[index - 1] > limit.value for index in hopeful)
        for index in hopeful:  # the safest first, up to the first that is not sure
            measured = drop_of(models, index, judging)
            met = limit.met(measured, {})
            if met != "yes":
                unclear += met == "unclear"
                break
            declared += 1
            wrong += drops[index - 1] > limit.value
    return [
        "| tasks | finalists that truly exceed in | said to fit | truly exceed | undecided |",
        "| --- | --- | --- | --- | --- |",
        f"| {tasks} | {tempting} | {declared} | {wrong} ({wrong / max(1, declared):.1%}) | "
        f"{unclear} |",
    ]


def drop_of(models: Sequence[Model], index: int, task: Task) -> packlight.Measurement:
    """Drop of one variant on a task, with its interval."""
    options = SessionOptions(threads=1)
    judged: Evaluation = evaluate(
        models[index], task, options, reference=Reference(models[0], task, options),
        variant=f"at {index}", reference_id="original",
    ).evaluation  # fmt: skip
    return judged.metrics["drop"]


# Real models


def fitted(name: str, budget: Sequence[str]) -> dict[str, float]:
    """What a search chose: size, signal to noise, latency ratio, drop and seconds; kept."""
    path = cached(
        "fit", "searches", code()[:12], f"{name} {' '.join(budget)}.json".replace("/", "")
    )
    if path.exists():
        return dict(json.loads(path.read_text()))
    chosen = case(name)
    start, busy = time.perf_counter(), time.process_time()
    project = cached("fit", "real", code()[:12], name)
    study = packlight.fit(chosen.model_path(), chosen.task(), budget, project)
    found = {"seconds": time.perf_counter() - start, "busy": time.process_time() - busy}
    if study.best is not None:
        found |= {metric: study.best.metrics[metric].value
                  for metric in ("size", "snr", "latency_ratio", "drop")
                  if metric in study.best.metrics}  # fmt: skip
    path.write_text(json.dumps(found))
    return found


def row(name: str, budget: Sequence[str], asked: str = "") -> str:
    """A line of a table of searches."""
    found = fitted(name, budget)
    if "size" not in found:
        return f"| {name} | {', '.join(budget)} | - | - | - | {asked} | {found['seconds']:.0f} |"
    return (
        f"| {name} | {', '.join(budget)} | {found['size'] / 1e6:.3f} MB | {found['snr']:.1f} | "
        f"{found['latency_ratio']:.2f}x | {asked} | {found['seconds']:.0f} |"
    )


HEAD = [
    "| model | budgets | size | dB | latency | asked, dB | s |",
    "| --- | --- | --- | --- | --- | --- | --- |",
]


def efficientnet() -> list[str]:
    """EfficientNet-Lite0 at four sizes, and faster."""
    rows = [row("efficientnet", [size], f"{asked}") for size, asked in SIZES.items()]
    return [*HEAD, *rows, row("efficientnet", ["size<=4MB", "latency<=0.7x"], "20")]


def suite() -> list[str]:
    """Every model of the suite at five sizes and three latencies, with the best quality."""
    rows = []
    for name in SUITE:
        size = stored_size(case(name).model_path())
        rows += [row(name, [f"size<={int(share * size)}B"]) for share in SHARES]
        rows += [row(name, [f"latency<={ratio}x"]) for ratio in RATIOS]
    return [*HEAD, *rows]


TABLES = {
    "exhaustive": exhaustive,
    "honesty": honesty,
    "efficientnet": efficientnet,
    "suite": suite,
}


def main() -> None:
    """Print the tables that are asked for."""
    from sources import asked

    for name in asked(__doc__, TABLES):
        print("\n".join(["", f"### {name}", "", *TABLES[name]()]), flush=True)


if __name__ == "__main__":
    main()
