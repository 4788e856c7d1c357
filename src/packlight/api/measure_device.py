"""Measure this machine, or one with an agent, as a device."""

from __future__ import annotations

from pathlib import Path

from packlight.benchmarking import device
from packlight.machines import Journal, agent_target
from packlight.machines.timing import remote_timer
from packlight.records import Device
from packlight.runtime.progress import Progress, silent


def measure_device(
    timings: str | Path,
    *,
    name: str = "",
    threads: int = 1,
    seconds: float = device.SECONDS,
    quick: bool = False,
    seed: int = 0,
    date: str = "",
    agent: str = "",
    progress: Progress = silent,
) -> Device:
    """Time kernels of many shapes and data types on a machine, and describe it as a device.

    Args:
        timings: file of JSON lines in which results are kept as they come; where it exists, what
            is in it is not timed again.
        name: of the device; from the processor's where it is empty.
        threads: within one operator.
        seconds: to spend; the first round over all models is always ended.
        quick: time few models, once, to try it out: what comes of it predicts badly.
        seed: of the shapes and weights of the models.
        date: to state, as year-month-day; today where it is empty.
        agent: address of the machine, ``HOST:PORT`` or ``ssh:HOST``; this one where it is empty.
        progress: called with what is being done.

    Returns:
        A device of kind ``measured`` with one unit, ``cpu``, and curves.

    Raises:
        DeviceError: the name is none, the agent cannot be used, or the file holds timings of
            something else or cannot be written.
    """
    if not agent:
        return device.measure_device(
            timings, name=name, threads=threads, seconds=seconds, quick=quick, seed=seed,
            date=date, progress=progress,
        )  # fmt: skip
    with agent_target(agent).open(Journal()) as remote:
        return device.measure_device(
            timings, name=name, threads=threads, seconds=seconds, quick=quick, seed=seed,
            date=date, progress=progress, timer=remote_timer(remote), on=remote.machine,
        )  # fmt: skip
