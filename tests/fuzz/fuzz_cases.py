"""Seeded commands on mutated input: each a list of arguments, with its files in a folder.

To run some, or one again:

    PYTHONPATH=tests/commands python tests/fuzz/fuzz_cases.py FIRST COUNT
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random

import mutated_files
import onnx
from forked_command import Ended, complaint, isolation_by_forks, run_command
from mutated_models import base_model, base_models, mutated

Arguments = list[str]


@cache
def shared_folder() -> Path:
    """Folder of files that many cases read: models as they are, their tasks, a project."""
    return Path(tempfile.mkdtemp(prefix="packlight-fuzz-"))


def plain_model(name: str) -> Path:
    """A model as it is."""
    path = shared_folder() / f"{name}.onnx"
    if not path.exists():
        path.write_bytes(base_model(name).SerializeToString())
    return path


def plain_task(name: str) -> Path:
    """A task that fits it."""
    path = shared_folder() / f"{name}.npz"
    if not path.exists():
        mutated_files.write_task(path, mutated_files.arrays_for(base_model(name)))
    return path


def model_case(folder: Path, random: Random) -> Arguments:
    """A verb on a mutated model."""
    name = random.choice(base_models())
    path = folder / "model.onnx"
    path.write_bytes(mutated(name, random).SerializeToString())
    task = str(plain_task(name))
    recipe = random.choice(mutated_files.RECIPES)
    commands = (
        ["profile", str(path)],
        ["profile", str(path), "--task", task, "--json"],
        ["plan", str(path), "--device", "pixel-8", "--budget", "size<=1MB"],
        ["compress", str(path), "--recipe", recipe, "-o", "small.onnx", "--task", task],
        ["compress", str(path), "--recipe", recipe, "-o", "small.onnx", "--task", task],
        ["compress", str(path), "--recipe", recipe, "-o", "small.onnx", "--task", task],
        ["evaluate", str(path), "--task", task],
        ["evaluate", str(path), "--task", task, "--reference", str(plain_model(name))],
        ["layers", str(plain_model(name)), str(path), "--task", task],
        ["layers", str(path), str(path), "--task", task],
        ["diagnose", str(path), str(path), "--task", task, "--seconds", "0.01"],
        ["init-task", str(path), "-o", "task.py"],
    )
    return random.choice(commands)


def task_case(folder: Path, random: Random) -> Arguments:
    """A verb on a mutated task."""
    name = random.choice(base_models())
    arrays = mutated_files.arrays_for(base_model(name))
    task = str(mutated_files.write_task(folder / "task.npz", arrays, random))
    model = str(plain_model(name))
    commands = (
        ["evaluate", model, "--task", task],
        ["evaluate", model, "--task", task, "--samples", "rows.csv"],
        ["compress", model, "--recipe", "static", "-o", "small.onnx", "--task", task],
        ["layers", model, model, "--task", task],
        ["profile", model, "--task", task],
    )
    return random.choice(commands)


def recipe_case(folder: Path, random: Random) -> Arguments:
    """A mutated recipe, as text or file."""
    name = random.choice(base_models())
    recipe = mutated_files.recipe_text(random)
    if random.random() < 0.5:
        recipe = str(mutated_files.recipe_file(folder, random))
    task = str(plain_task(name))
    return ["compress", str(plain_model(name)), "--recipe", recipe, "-o", "s.onnx", "--task", task]


def budget_case(folder: Path, random: Random) -> Arguments:
    """Mutated budgets, and choices for single operators."""
    del folder
    model = str(plain_model(random.choice(base_models())))
    budgets = [part for _ in range(random.choice((1, 2)))
               for part in ("--budget", mutated_files.budget(random))]  # fmt: skip
    device = random.choice(("pixel-8", "stm32h7", "raspberry-pi-5", "nonsense"))
    return ["plan", model, "--device", device, *budgets]


def device_case(folder: Path, random: Random) -> Arguments:
    """A mutated description of a device."""
    data = files("packlight.devices") / "data"
    source = random.choice(sorted(entry.name for entry in data.iterdir() if ".toml" in entry.name))
    path = folder / random.choice(("device.toml", "device.toml", "device.json"))
    path.write_text(mutated_files.mutate_text((data / source).read_text("utf-8"), random), "utf-8")
    model = str(plain_model(random.choice(base_models())))
    commands = (
        ["plan", model, "--device", str(path), "--budget", "latency<=5ms"],
        ["profile", model, "--device", str(path)],
        ["devices", "show", str(path)],
    )
    return random.choice(commands)


@cache
def evaluation_text() -> str:
    """An evaluation as ``packlight evaluate --json`` prints it."""
    ended = run_command(
        ["evaluate", str(plain_model("gemms-13")), "--task", str(plain_task("gemms-13")), "--json"],
        shared_folder(),
    )
    assert ended.code == 0, ended.errors
    return ended.output


def evaluation_case(folder: Path, random: Random) -> Arguments:
    """Two saved evaluations, one of them mutated."""
    for name in ("here.json", "there.json"):
        (folder / name).write_text(evaluation_text(), "utf-8")
    path = folder / "there.json"
    path.write_text(mutated_files.mutate_text(evaluation_text(), random), "utf-8")
    return ["compare", "here.json", "there.json"]


def fit_arguments(project: Path) -> Arguments:
    """A search that takes a second."""
    model = str(plain_model("gemms-13"))
    return [
        "fit", model, "--task", str(plain_task("gemms-13")), "--budget", "size<=0.9x", "--recipe",
        "weights:8", "--seconds", "0.01", "--project", str(project),
    ]  # fmt: skip


@cache
def plain_project() -> Path:
    """The project of a finished search."""
    project = shared_folder() / "project"
    ended = run_command(fit_arguments(project), shared_folder())
    assert ended.code in (0, 1), ended.errors
    return project


def database_case(folder: Path, random: Random) -> Arguments:
    """A search that goes on in a project whose database is mutated."""
    project = folder / "project"
    shutil.copytree(plain_project(), project)
    databases = [path for path in project.rglob("*") if path.is_file() and is_database(path)]
    mutated_files.mutate_database(random.choice(databases), random)
    return fit_arguments(project)


def is_database(path: Path) -> bool:
    """Test for a file of SQLite."""
    return path.read_bytes()[:15] == b"SQLite format 3"


CASES: tuple[tuple[Callable[[Path, Random], Arguments], int], ...] = (
    (model_case, 64), (task_case, 12), (recipe_case, 12), (budget_case, 4), (device_case, 4),
    (evaluation_case, 3), (database_case, 1),
)  # fmt: skip
"""Kinds of input, and of a hundred cases how many are of each."""


def run_case(seed: int) -> tuple[Arguments, Ended]:
    """Run the case of a seed; the same seed gives the same one."""
    random = Random(seed)
    kinds, counts = zip(*CASES, strict=True)
    make = random.choices(kinds, counts)[0]
    with tempfile.TemporaryDirectory(prefix="packlight-fuzz-") as name:
        folder = Path(name)
        arguments = make(folder, random)
        return arguments, run_command(arguments, folder)


def complaints(seeds: range) -> Iterator[str]:
    """A line for each case that does not end as it must."""
    with isolation_by_forks():
        for seed in seeds:
            arguments, ended = run_case(seed)
            reason = complaint(ended)
            if reason:
                last = " ".join(ended.errors.split())[-600:]
                yield f"seed {seed}: {reason}: packlight {' '.join(arguments)[:300]}: {last}"


def load_commands() -> None:
    """Load in this process what commands load, so that its copies need not.

    Nothing is compressed here: a process that has used OpenMP cannot be copied.
    """
    from onnxscript import optimizer  # noqa: F401

    from packlight.cli.run import run
    from packlight.compression.methods import table  # noqa: F401

    model, task = str(plain_model("gemms-13")), str(plain_task("gemms-13"))
    for verb in (["evaluate", model], ["layers", model, model]):
        assert run([*verb, "--task", task, "--json"]) == 0


def main(first: int, count: int) -> None:
    """Run some cases and print what they complain of."""
    with isolation_by_forks():
        load_commands()
        for line in complaints(range(first, first + count)):
            print(line, flush=True)


if __name__ == "__main__":
    onnx.defs.onnx_opset_version()
    main(int(sys.argv[1]), int(sys.argv[2]))
