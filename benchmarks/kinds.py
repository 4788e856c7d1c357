"""Compare judges five kinds of output, and each of its numbers follows from its table of samples.

python benchmarks/kinds.py                 # all five, with tables in both formats
python benchmarks/kinds.py numbers texts   # some of them

Classes (EfficientNet-Lite0), numbers (silero's probability of speech beside the label), vectors
(MiniLM), lines (OCR) and tokens (SmolLM2) are compared with what ONNX Runtime's quantize_dynamic or
quantize_static makes of them, SmolLM2 with its weights in 8 bits. The whole contrast, intervals and
tests included, is then made again from the file alone, and every metric beside it.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

import language
import photos
import texts
from packlight.api.compress import compress
from packlight.comparison import contrast
from packlight.metrics import METRICS, Metric, Rows
from packlight.records import Contrast, from_json
from packlight.task import SampleTable, Task
from sources import HERE, asked, cached, example

FORMATS = (".csv", ".parquet")
SLOW = ("tokens",)
"""What is compared once, with a table in the first format."""

JUDGED, CALIBRATED, EMBEDDED = 200, 32, 100
CLOSE = 1e-9

Columns = Mapping[str, Sequence[object]]


def classes() -> Task:
    """Agreement with the original on 200 crops of photos, of which half are brighter."""
    whole = photos.task()
    kept = whole.samples[:JUDGED]
    means = [float(next(iter(kept[i][0].values())).mean()) for i in range(len(kept))]
    light = ["bright" if mean > np.median(means) else "dark" for mean in means]
    return replace(whole, samples=kept, groups={"light": light})


def numbers() -> Task:
    """How far the probability of speech lies from the label, root mean square over frames."""
    module = example("voice_activity")
    whole: Task = module.task()
    targets = [np.asarray(one, np.float64) for one in whole.targets]
    return replace(whole, metric=last_of(METRICS["rmse"], len(targets[0])), targets=targets)


def last_of(metric: Metric, count: int) -> Metric:
    """A metric of the last numbers of a sample alone; what leads in to them is not judged."""
    row = metric.row

    def of_last(outputs: Mapping[str, np.ndarray], target: object) -> Rows:
        name, value = next(iter(outputs.items()))
        return row({name: value.reshape(-1)[-count:]}, target)

    return replace(metric, row=of_last)


def vectors() -> Task:
    """Cosine with the original's embeddings of 100 news texts."""
    chosen = texts.texts("lee_background.cor")[:EMBEDDED]
    return Task("news", texts.samples(chosen, texts.LONGEST), METRICS["cosine"])


def lines() -> Task:
    """Character error rate on rendered lines."""
    found: Task = example("text_lines").task()
    return found


tokens = language.task
"""Likelihood of news."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of output.

    Attributes:
        model: gives the ONNX file.
        task: gives what it is judged by.
        made: how the other model is made: ``static`` or ``dynamic`` of ONNX Runtime, else a recipe.
    """

    model: Callable[[], Path]
    task: Callable[[], Task]
    made: str


KINDS = {
    "classes": Kind(photos.model_path, classes, "static"),
    "numbers": Kind(lambda: example("voice_activity").model_path(), numbers, "dynamic"),
    "vectors": Kind(texts.model_path, vectors, "dynamic"),
    "lines": Kind(lambda: example("text_lines").model_path(), lines, "dynamic"),
    "tokens": Kind(language.model_path, tokens, "simplify+weights:8"),
}


def variant(name: str) -> Path:
    """The other model of a kind, made once."""
    kind, path = KINDS[name], cached("kinds", f"{name}.onnx")
    if path.exists():
        return path
    if ":" in kind.made:
        compress(kind.model(), kind.made, path)
        return path
    samples = path.with_suffix(".npz")
    calls = (steps[0] for steps in islice(iter(kind.task().calibration), CALIBRATED))
    held = list(calls) if kind.made == "static" else []
    np.savez(samples, **{key: np.stack([one[key] for one in held]) for key in (held or [{}])[0]})
    script = HERE / "peers" / "run_diagnose.py"
    command = [sys.executable, script, kind.made, kind.model(), samples, path]
    subprocess.run(list(map(str, command)), check=True)
    return path


def compared(name: str, out: Path) -> dict[str, object]:
    """What ``packlight compare`` prints of a kind, with its table of samples in a file."""
    command = [
        sys.executable, "-m", "packlight", "compare", KINDS[name].model(), variant(name),
        "--task", f"{HERE / 'kinds.py'}:{name}", "--quality", "--json", "--samples", out,
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def read(path: Path) -> dict[str, dict[str, list[object]]]:
    """Columns of a table of samples, by model."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        rows = parquet.read_table(path).to_pylist()
    else:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    found: dict[str, dict[str, list[object]]] = {}
    for row in rows:
        for key, cell in row.items():
            found.setdefault(row["model"], {}).setdefault(key, []).append(cell)
    return found


def values(columns: Columns, name: str) -> Rows:
    """A column of numbers, NaN where a cell is empty."""
    return np.array([np.nan if cell in ("", None) else float(str(cell)) for cell in columns[name]])


def lists(columns: Columns, name: str) -> list[list[object]]:
    """A column of decisions, a list for each sample."""
    plain = [
        json.loads(cell) if isinstance(cell, str) and cell[:1] == "[" else [cell]
        for cell in columns[name]
    ]
    return [[{"True": True, "False": False}.get(str(one), one) for one in part] for part in plain]


def table(columns: Columns, metric: str) -> SampleTable:
    """One model's table again, from its columns."""
    own = [key for key in columns if key.startswith(f"{metric}_") and key[-1].isdigit()]
    rows = np.stack([values(columns, key) for key in own], axis=1)
    inside = {key: values(columns, key) for key in columns if key.startswith("input_")}
    for key in ("divergence", "rank_agreement", "same_nearest"):
        if key in columns and columns[key][0] not in ("", None):
            inside[key] = values(columns, key)
    if "decision" not in columns:
        nothing = np.zeros(0)
        return SampleTable(rows, nothing, nothing.astype(bool), nothing.astype(int), nothing,
                           samples=inside)  # fmt: skip
    decided = lists(columns, "decision")
    flat = {key: np.array([one for part in lists(columns, key) for one in part], float)
            for key in ("confidence", "nll", "brier") if key in columns}  # fmt: skip
    return SampleTable(
        rows,
        np.array([one for part in decided for one in part]),
        np.array([one for part in lists(columns, "right") for one in part], bool),
        np.repeat(np.arange(len(decided)), [len(part) for part in decided]),
        flat.pop("confidence"),
        samples=inside,
        details=flat,
    )


def again(told: Contrast, models: Mapping[str, Columns], metric: Metric, name: str) -> Contrast:
    """The contrast from the file alone."""
    before, after = models["reference"], models[name]
    groups = {key.removeprefix("group_"): list(map(str, before[key])) for key in before
              if key.startswith("group_")}  # fmt: skip
    return contrast(
        metric, table(before, metric.name), table(after, metric.name), groups,
        variant=told.variant, reference=told.reference, distance=told.distance, seed=0,
    )  # fmt: skip


def metrics_again(columns: Columns, before: Columns, metric: Metric) -> dict[str, float]:
    """Values of what stands beside the contrast, by plain sums over columns."""
    found = {metric.name: metric.total(table(columns, metric.name).rows)}
    for key in ("snr", "kl", "cosine"):
        if f"{key}_0" in columns and columns[f"{key}_0"][0] not in ("", None):
            sums = [float(values(columns, f"{key}_{i}").sum()) for i in (0, 1)]
            found[key] = sums[0] / sums[1] if key != "snr" else 10 * np.log10(sums[0] / sums[1])
    for key, noise in (("snr_exact", "exact_noise"), ("snr_runtime", "runtime_noise")):
        sums = [float(np.nansum(values(columns, one))) for one in ("exact_signal", noise)]
        found[key] = 10 * np.log10(sums[0] / sums[1])
    if "decision" in columns:
        was, now = ([one for part in lists(side, "decision") for one in part]
                    for side in (before, columns))  # fmt: skip
        found["agreement"] = float(np.mean([a == b for a, b in zip(was, now, strict=True)]))
    return found


def checked(out: Path, told: Mapping[str, object], metric: Metric) -> tuple[int, int]:
    """How many numbers of what was printed follow from the file, and how many do not."""
    models = read(out)
    label = next(key for key in models if key != "reference")
    wanted = from_json(Contrast, told["contrasts"][0])  # type: ignore[index]
    found = again(wanted, models, metric, label)
    pairs = list(zip(leaves(json_of(wanted)), leaves(json_of(found)), strict=True))
    printed = told["others"][0]["metrics"]  # type: ignore[index]
    for key, value in metrics_again(models[label], models["reference"], metric).items():
        if key in printed:
            pairs.append((printed[key]["value"], value))
    same = [np.isclose(one, other, rtol=CLOSE, atol=1e-12, equal_nan=True) for one, other in pairs]
    return sum(map(bool, same)), len(same) - sum(map(bool, same))


def json_of(record: Contrast) -> object:
    """A record as plain values."""
    from packlight import to_json

    return to_json(record)


def leaves(value: object) -> list[float]:
    """All numbers in plain values, in order."""
    if isinstance(value, Mapping):
        return [number for key in sorted(value) for number in leaves(value[key])]
    if isinstance(value, list | tuple):
        return [number for part in value for number in leaves(part)]
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return [float(value)] if plain else []  # type: ignore[arg-type]


def show(name: str) -> str:
    """A row of the table of a kind, which is compared once for each format."""
    metric, start, counts = KINDS[name].task().metric, time.perf_counter(), []
    formats = FORMATS[:1] if name in SLOW else FORMATS
    for suffix in formats:
        out = cached("kinds", f"{name}{suffix}")
        told = compared(name, out)
        counts.append(checked(out, told, metric))
    (found,) = told["contrasts"]  # type: ignore[misc]
    level = found["level"]
    shown = ", ".join(f"{key} {one['before']['value']:.4g} -> {one['after']['value']:.4g}"
                      for key, one in level.items())  # fmt: skip
    drop, churn = found["drop"], found["rates"].get("churn", found["rates"].get("worse"))
    changed = "-" if churn is None else f"{churn['value']:.1%}"
    ok = " and ".join(f"{good} of {good + bad}" for good, bad in counts)
    return (
        f"| {name} | {found['n']} | {shown} | {drop['value']:.2%} "
        f"[{drop['low']:.2%}, {drop['high']:.2%}] | {changed} | {ok} | "
        f"{(time.perf_counter() - start) / len(formats):.0f} |"
    )


def main() -> None:
    """Print a row for each kind."""
    names = asked(__doc__, KINDS)
    print("| kind | samples | metric | drop | changed or worse | the same from csv, parquet | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        print(show(name), flush=True)


if __name__ == "__main__":
    main()
