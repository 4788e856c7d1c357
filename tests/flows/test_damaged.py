"""Damaged and hostile files at the real command line: a result or one sentence, and in time.

Commands run under a memory limit. What is marked slow runs the whole corpus, the rest one of each
kind of damage.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import hostile_companions
import numpy as np
import pytest
from damage import DAMAGES, FAMILIES, Damage, one_of_each
from hostile_companions import PROJECTS, RECIPES, TASKS, arrays, rows
from small_models import plain, write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits, pipes and links of Linux")

SEED = 5
SECONDS = 20
"""For one command on a machine that does nothing else."""

MEMORY_KIB = 6 * 2**20
WORKERS = 2
LONGEST = 500
PROGRESS = re.compile(r"\[\d+/\d+\] ")
"""Start of the line that a search prints for each variant."""

SECRETS = ("41414", "root:x:")
"""What would show if a file outside the model's folder were read: the canary, a password file."""


def patience() -> float:
    """Seconds for one command, more where others keep the machine busy at the moment."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return SECONDS * max(2, 2 * busy)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code; negative for a signal; 124 where it took too long.
        output: on stdout.
        errors: on stderr.
    """

    code: int
    output: str
    errors: str


def packlight(*arguments: object) -> Ended:
    """Run the command in a process of limited memory, for a limited time."""
    limited = ["sh", "-c", f'ulimit -v {MEMORY_KIB}; exec "$@"', "sh", sys.executable]
    try:
        done = subprocess.run(
            [*limited, "-m", "packlight", *map(str, arguments)],
            check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=patience(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Ended(124, "", "not done in time")
    return Ended(done.returncode, done.stdout, done.stderr)


def no_constant(text: str) -> None:
    """JSON has no NaN."""
    raise ValueError(text)


def check(ended: Ended, *, met: tuple[int, ...] = (0,)) -> None:
    """A result as JSON, or exit code 2 with one sentence and nothing else."""
    assert not any(secret in ended.output + ended.errors for secret in SECRETS)
    assert "unpickled" not in ended.output + ended.errors
    if ended.code in met:
        json.loads(ended.output, parse_constant=no_constant)
        assert all(PROGRESS.match(line) for line in ended.errors.splitlines()), ended.errors
        return
    assert ended.code == 2, ended
    assert not ended.output
    assert re.fullmatch(r"packlight: [^\n]+\n", ended.errors), ended.errors
    assert ended.errors.rstrip("\n").isprintable()
    assert "Traceback" not in ended.errors
    assert 20 < len(ended.errors) < LONGEST


def in_parallel(tasks: Mapping[str, Callable[[], Ended]]) -> dict[str, Ended]:
    """Run commands, two at a time."""
    with ThreadPoolExecutor(WORKERS) as pool:
        running = {name: pool.submit(task) for name, task in tasks.items()}
        return {name: future.result() for name, future in running.items()}


def profiled(root: Path, damage: Damage) -> Ended:
    """Profile a damaged model."""
    return packlight("profile", damage.written(root, SEED), "--json")


def failures(ends: Mapping[str, Ended], **rules: tuple[int, ...]) -> dict[str, str]:
    """What broke a rule, by name."""
    broken = {}
    for name, ended in ends.items():
        try:
            check(ended, **rules)
        except (AssertionError, ValueError) as error:
            broken[name] = f"{error!r} {ended}"[:800]
    return broken


def surprises(ends: Mapping[str, Ended]) -> dict[str, Ended]:
    """Commands that took what must be refused, or refused what must work."""
    codes = {"refused": (2,), "taken": (0,), "either": (0, 2)}
    allowed = {damage.name: codes[damage.ending] for damage in DAMAGES}
    return {name: ended for name, ended in ends.items() if ended.code not in allowed[name]}


def test_the_corpus_is_large_and_every_member_has_a_name_of_its_own():
    assert len(DAMAGES) >= 200
    assert len({damage.name for damage in DAMAGES}) == len(DAMAGES)
    assert {damage.family for damage in one_of_each(SEED)} == set(FAMILIES)


def test_a_seed_gives_the_same_files_and_another_seed_others(tmp_path):
    def contents(name: str, seed: int) -> dict[str, bytes]:
        root = tmp_path / name
        chosen = [damage for damage in DAMAGES if damage.family.startswith(("flipped", "patched"))]
        return {damage.name: damage.written(root, seed).read_bytes() for damage in chosen}

    first, other = contents("first", 0), contents("other", 1)

    assert contents("again", 0) == first
    assert sum(other[name] != first[name] for name in first) > len(first) / 2


def test_one_damaged_model_of_each_kind_gives_a_result_or_a_sentence(tmp_path):
    ends = in_parallel(
        {damage.name: partial(profiled, tmp_path, damage) for damage in one_of_each(SEED)}
    )

    assert failures(ends) == {}
    assert surprises(ends) == {}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_damaged_model_gives_a_result_or_a_sentence(family, tmp_path):
    chosen = [damage for damage in DAMAGES if damage.family == family]

    ends = in_parallel({damage.name: partial(profiled, tmp_path, damage) for damage in chosen})

    assert failures(ends) == {}
    assert surprises(ends) == {}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A good task for the small models."""
    folder = tmp_path_factory.mktemp("task")
    return arrays(calibration_x=rows() * np.float32(1.01))(folder, np.random.default_rng(0))


COMPRESSED = tuple(d for d in DAMAGES if d.family in ("numbers", "outputs", "inputs"))
EVALUATED = (*COMPRESSED, *(d for d in DAMAGES if d.family in ("growth", "functions")))


def compressed(root: Path, damage: Damage) -> Ended:
    """Compress a damaged model."""
    model = damage.written(root, SEED)
    out = model.parent / "out.onnx"
    ended = packlight("compress", model, "--recipe", "weights:8", "-o", out, "--json")
    assert out.exists() == (ended.code == 0)
    return ended


@pytest.mark.slow
def test_compressing_damaged_models_gives_a_result_or_a_sentence_and_no_half_file(tmp_path):
    ends = in_parallel({d.name: partial(compressed, tmp_path, d) for d in COMPRESSED})

    assert failures(ends) == {}


@pytest.mark.slow
def test_evaluating_damaged_models_gives_a_result_or_a_sentence(task, tmp_path):
    def evaluated(damage: Damage) -> Ended:
        return packlight("evaluate", damage.written(tmp_path, SEED), "--task", task, "--json")

    ends = in_parallel({d.name: partial(evaluated, d) for d in EVALUATED})

    assert failures(ends) == {}


def test_a_model_that_gives_no_numbers_is_profiled_and_its_evaluation_says_so(task, tmp_path):
    (model,) = (
        damage.written(tmp_path, SEED) for damage in DAMAGES if damage.name == "numbers: no numbers"
    )

    ends = in_parallel({
        "profile": partial(packlight, "profile", model, "--json"),
        "evaluate": partial(packlight, "evaluate", model, "--task", task, "--json"),
    })  # fmt: skip

    assert failures(ends) == {}
    assert ends["profile"].code == 0
    assert ends["evaluate"].code == 2
    assert "NaN" in ends["evaluate"].errors


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A good small model."""
    return write(tmp_path_factory.mktemp("model"), plain())


def written(build: hostile_companions.Build, root: Path, name: str, *more: Path) -> Path:
    """A companion in a folder of its own."""
    folder = root / re.sub(r"\W+", "-", name)
    folder.mkdir()
    return build(folder, np.random.default_rng([SEED, len(name)]), *more)


def judged(model: Path, root: Path, name: str) -> Ended:
    """Evaluate a good model by a damaged task."""
    return packlight("evaluate", model, "--task", written(TASKS[name], root, name), "--json")


def followed(model: Path, root: Path, name: str) -> Ended:
    """Compress a good model by a damaged recipe."""
    recipe = written(RECIPES[name], root, name)
    return packlight(
        "compress", model, "--recipe", recipe, "-o", recipe.parent / "out.onnx", "--json"
    )


FEW_TASKS = ("objects", "a bomb", "a pipe", "encrypted")
FEW_RECIPES = ("bytes", "a hundred thousand lists")


def test_hostile_tasks_and_recipes_are_refused(model, tmp_path):
    ends = in_parallel({
        **{name: partial(judged, model, tmp_path, name) for name in FEW_TASKS},
        **{name: partial(followed, model, tmp_path, name) for name in FEW_RECIPES},
    })  # fmt: skip

    assert failures(ends) == {}
    assert {ended.code for ended in ends.values()} == {2}


@pytest.mark.slow
def test_every_damaged_task_is_refused(model, tmp_path):
    ends = in_parallel({name: partial(judged, model, tmp_path, name) for name in TASKS})

    assert failures(ends) == {}
    assert [name for name, ended in ends.items() if ended.code == 0] == []


@pytest.mark.slow
def test_every_damaged_recipe_is_refused_unless_it_has_no_steps(model, tmp_path):
    ends = in_parallel({name: partial(followed, model, tmp_path, name) for name in RECIPES})

    assert failures(ends) == {}
    assert [name for name, ended in ends.items() if ended.code == 0] == ["no steps"]


@pytest.fixture(scope="module")
def search(model, task):
    """The end of a short search in a project."""

    def call(project: Path) -> Ended:
        return packlight(
            "fit", model, "--task", task, "--budget", "size<=2x", "--recipe", "weights:8",
            "--seconds", "0.02", "--project", project, "--json",
        )  # fmt: skip

    return call


@pytest.fixture(scope="module")
def good_project(tmp_path_factory, search):
    """A project that was searched in before."""
    project = tmp_path_factory.mktemp("good") / "project"
    check(search(project), met=(0, 1))
    return project


STARTING_ANEW = {"empty", "no variants", "files gone"}
"""Damage after which nothing wrong is left in the project, so that a search measures again."""


@pytest.mark.slow
def test_every_damaged_project_is_refused_or_searched_anew(search, good_project, tmp_path):
    projects = {
        name: written(build, tmp_path, name, good_project) for name, build in PROJECTS.items()
    }

    ends = in_parallel({name: partial(search, project) for name, project in projects.items()})

    assert failures(ends, met=(0, 1)) == {}
    assert {name for name, ended in ends.items() if ended.code != 2} == STARTING_ANEW


def test_a_damaged_project_is_refused_and_left_as_it_is(search, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "packlight.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    before = tmp_path / "before.db"
    before.write_bytes((project / "packlight.db").read_bytes())

    ended = search(project)

    check(ended)
    assert ended.code == 2
    assert filecmp.cmp(before, project / "packlight.db", shallow=False)
