"""Time the set: round after round over all models, each result written down before the next."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np

from packlight.benchmarking.designs import Timed
from packlight.disk import no_follow, replacing, unwritable
from packlight.errors import DeviceError, InputError
from packlight.records.codec import canonical, digest, from_json
from packlight.records.machine import Machine
from packlight.records.session import SessionOptions
from packlight.runtime import machine, open_session
from packlight.runtime.clock import WARM_UP, Clock, frozen_heap, garbage_collection_off, time_call

Progress = Callable[[str, int, int], None]
"""(what is done, steps finished, steps in all)."""

ROUNDS = 20
"""Most rounds, however much time is left."""

RUN_SECONDS = 0.05
QUICK_RUN_SECONDS = 0.002
"""Seconds of runs of one model in one round."""

LEAST = 4
MOST = 200
"""Runs of one model in one round."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model in one round.

    Attributes:
        conditions: digest of machine, runtime and options.
        key: of the model.
        round: from 0.
        seconds: of one run: median over the runs of this round.
        runs: how many.
        took: seconds that all of it took, opening the session too.
    """

    VERSION: ClassVar[int] = 1

    conditions: str
    key: str
    round: int
    seconds: float
    runs: int
    took: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """How to time.

    Attributes:
        models: to time.
        options: of every session.
        seconds: to spend in all, beyond the first round, which is always ended.
        run_seconds: seconds of runs of one model in one round.
        rounds: at most.
    """

    models: tuple[Timed, ...]
    options: SessionOptions
    seconds: float
    run_seconds: float = RUN_SECONDS
    rounds: int = ROUNDS


class Journal:
    """Rows in a file of JSON lines, which an interrupted run leaves whole but for its last line.

    Args:
        path: of the file; it may exist.
        conditions: digest of what rows must have been taken under.

    Raises:
        DeviceError: the file holds rows taken under others, or something else.
    """

    def __init__(self, path: Path, conditions: str) -> None:
        self.path = path
        self.conditions = conditions
        self.rows: dict[tuple[str, int], Row] = {}
        try:
            text = ""
            if path.exists():
                text = path.read_text("utf-8")
            complete = text[: text.rfind("\n") + 1]
        except OSError as error:
            raise DeviceError(f"'{path}' cannot be read: {error.strerror}") from error
        if complete != text:
            with replacing(path) as file:
                file.write(complete.encode())
        for line in complete.splitlines():
            row = self.read(line)
            self.rows[row.key, row.round] = row

    def read(self, line: str) -> Row:
        """A row from its line."""
        try:
            row = from_json(Row, json.loads(line))
        except (ValueError, InputError) as error:
            raise DeviceError(
                f"'{self.path}' must hold timings of `packlight devices measure`, one a line; "
                f"one line does not: delete the file, or write to another"
            ) from error
        if row.conditions != self.conditions:
            raise DeviceError(
                f"'{self.path}' holds timings of another machine, ONNX Runtime or number of "
                f"threads: delete it to measure anew, or write to another file"
            )
        return row

    def add(self, row: Row) -> None:
        """Hold a row and write it down.

        Raises:
            InputError: the file cannot be written.
        """
        self.rows[row.key, row.round] = row
        try:
            with open(self.path, "a", encoding="utf-8", opener=no_follow) as file:
                file.write(canonical(row) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from error

    def spent(self) -> float:
        """Seconds that all rows took."""
        return sum(row.took for row in self.rows.values())


def _timing_conditions(options: SessionOptions, on: Machine) -> str:
    """Digest of what timings depend on beside the model; another packlight draws other models."""
    return digest([on, options, version("packlight")])


Timer = Callable[[Timed, Schedule], Sequence[float]]
"""Opens a model anew, warms it up and returns the seconds of its runs."""


def time_all(
    schedule: Schedule,
    path: Path,
    progress: Progress,
    clock: Clock = time.perf_counter,
    *,
    timer: Timer | None = None,
    on: Machine | None = None,
) -> Mapping[str, tuple[Row, ...]]:
    """Time every model of a schedule, and go on where an interrupted run ended.

    Rounds alternate in direction, so that a steady drift of the machine cancels.

    Args:
        schedule: what, how and for how long.
        path: where results are kept as they come.
        progress: called with what is being done.
        clock: seconds, from any start.
        timer: of another machine; models run here by default.
        on: record of that machine.

    Returns:
        Rows of each model, one for each round.

    Raises:
        DeviceError: the file of results is of something else, or cannot be written.
        ModelError: a model fails.
    """
    journal = Journal(path, _timing_conditions(schedule.options, on or machine()))
    timer = timer or local_timer(clock)
    done = len(journal.rows)
    total = len(schedule.models)
    with frozen_heap():
        for number, model in turns(schedule):
            if number and journal.spent() >= schedule.seconds:
                break
            if (model.key, number) not in journal.rows:
                progress(f"timing, round {number + 1}", done % total, total)
                start = clock()
                taken = timer(model, schedule)
                seconds = max(float(np.median(taken)), 1e-9)
                spent = clock() - start
                row = Row(journal.conditions, model.key, number, seconds, len(taken), spent)
                journal.add(row)
                done += 1
    return _by_model(schedule.models, journal.rows.values())


def turns(schedule: Schedule) -> Iterator[tuple[int, Timed]]:
    """Every model in every round."""
    for number in range(schedule.rounds):
        models = list(schedule.models)
        if number % 2:
            models.reverse()
        for model in models:
            yield number, model


def local_timer(clock: Clock) -> Timer:
    """A timer of models on this machine."""

    def timer(model: Timed, schedule: Schedule) -> list[float]:
        drawn, feeds = model.draw()
        session = open_session(drawn, schedule.options)
        taken = [0.0]
        for _ in range(WARM_UP):
            session.run_steps([feeds], {})
        with garbage_collection_off():
            taken.clear()
            while len(taken) < LEAST or (len(taken) < MOST and sum(taken) < schedule.run_seconds):
                taken.append(time_call(session, [feeds], {}, clock))
        return taken

    return timer


def _by_model(models: Sequence[Timed], rows: Iterable[Row]) -> dict[str, tuple[Row, ...]]:
    keys = {model.key for model in models}
    rows_by_key: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.key in keys:
            rows_by_key[row.key].append(row)
    return {key: tuple(rows_of_model) for key, rows_of_model in rows_by_key.items()}
