"""Several workers: the same choice as alone, also where one of them is killed."""

import threading
import time

import numpy as np
import pytest

import packlight
from packlight.errors import InputError
from packlight.metrics import METRICS
from packlight.search.mixed import bisection
from packlight.search.parallel import Workers
from packlight.task import ArraySamples, Task
from packlight.testing.networks import NETWORKS

BUDGET = ["size<=0.6x", "drop<=20%"]


def samples(count, seed):
    rows = np.random.default_rng(seed).standard_normal((count, 32), dtype=np.float32)
    return ArraySamples({"x": rows}, {"x": np.dtype(np.float32)})


@pytest.fixture(scope="module")
def task():
    return Task("near", samples(150, 0), METRICS["agreement"], calibration=samples(40, 1))


@pytest.fixture(scope="module")
def alone(task, tmp_path_factory):
    return search(task, tmp_path_factory.mktemp("alone") / "P")


def search(task, project, **options):
    model = NETWORKS["perceptron-21"]()
    return packlight.fit(model, task, BUDGET, project, seconds=0.02, **options)


def choices(study):
    """What does not depend on the clock: variants, verdicts and the choice."""
    return study.outcome.best, [(r.id, r.meets) for r in study.results if "static" not in r.name]


@pytest.mark.slow
def test_two_jobs_choose_the_same_as_one(alone, task, tmp_path):
    study = search(task, tmp_path / "P", jobs=2)
    assert not [text for text in study.warnings if "worker" in text]
    assert choices(study) == choices(alone)


@pytest.mark.slow
def test_what_a_killed_worker_left_is_done_here(alone, task, tmp_path):
    study, killed = search_with_a_kill(task, tmp_path / "P", "loky")
    assert killed
    assert choices(study) == choices(alone)


@pytest.mark.slow
@pytest.mark.filterwarnings(  # Ray leaves its own processes to be collected while they run
    "ignore:Exception ignored in.*Popen:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("backend", ["ray", "dask"])
def test_a_cluster_chooses_the_same_also_when_a_worker_is_killed(backend, alone, task, tmp_path):
    pytest.importorskip({"ray": "ray", "dask": "distributed"}[backend])
    study, killed = search_with_a_kill(task, tmp_path / "P", backend)
    assert killed
    assert choices(study) == choices(alone)


def search_with_a_kill(task, project, backend):
    """Search with two workers, of which one is killed when it has begun to work."""
    psutil = pytest.importorskip("psutil")
    killed = []
    done = threading.Event()

    def kill_one():
        while not killed and not done.is_set():
            for child in psutil.Process().children(recursive=True):
                try:
                    text = " ".join(child.cmdline())
                    works = child.cpu_times().user > 1
                except psutil.Error:
                    continue
                if works and any(mark in text for mark in WORKERS[backend]):
                    child.kill()
                    killed.append(child.pid)
                    break
            time.sleep(0.02)

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        study = search(task, project, jobs=2, backend=backend)
    finally:
        done.set()
        thread.join()
    return study, killed


WORKERS = {
    "loky": ("loky",),
    "ray": ("ray::",),
    "dask": ("forkserver", "spawn_main", "multiprocessing"),
}
"""Words in the commands of workers."""


def test_a_package_that_is_missing_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("packlight.search.parallel.import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'packlight\[ray\]'"):
        Workers(2, "ray")
    assert not Workers(1).are_several


def test_what_may_be_tried_next_is_made_ahead():
    assert bisection(-1, 11, 5) == [5, 2, 8]
    assert bisection(4, 5, 5) == [5]
