"""Timing goes on where it was interrupted, and never mixes what does not belong together."""

import json
from dataclasses import replace

import pytest

from packlight.benchmarking.designs import Timed, timed_set
from packlight.benchmarking.timing import Schedule, time_all
from packlight.errors import DeviceError, InputError
from packlight.records import SessionOptions

MODELS = tuple(Timed(name, 0) for name in ("vector", "add", "softmax", "vector, codes"))
SCHEDULE = Schedule(MODELS, SessionOptions(), seconds=1e9, run_seconds=1e-4, rounds=2)


def unwatched(what, done, total):
    pass


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_model_is_timed_in_every_round(tmp_path):
    found = time_all(SCHEDULE, tmp_path / "t.jsonl", unwatched)
    assert set(found) == {model.key for model in MODELS}
    for rows in found.values():
        assert [row.round for row in rows] == [0, 1]
        assert all(row.seconds > 0 and row.runs >= 4 for row in rows)
    order = [line["key"] for line in lines(tmp_path / "t.jsonl")]
    keys = [model.key for model in MODELS]
    assert order == keys + keys[::-1]


def test_an_interrupted_run_goes_on_and_measures_nothing_again(tmp_path):
    path, seen = tmp_path / "t.jsonl", []

    def interrupting(what, done, total):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(what)

    with pytest.raises(KeyboardInterrupt):
        time_all(SCHEDULE, path, interrupting)
    before = lines(path)
    assert len(before) == 3
    with path.open("a") as file:
        file.write('{"conditions": "cut off in the mid')

    found = time_all(SCHEDULE, path, unwatched)
    after = lines(path)
    assert after[:3] == before
    assert len(after) == len({(row["key"], row["round"]) for row in after}) == 8
    assert sum(map(len, found.values())) == 8

    time_all(SCHEDULE, path, unwatched)
    assert lines(path) == after


def test_time_ends_after_the_first_round_at_the_earliest(tmp_path):
    found = time_all(replace(SCHEDULE, seconds=0.0), tmp_path / "t.jsonl", unwatched)
    assert [len(rows) for rows in found.values()] == [1] * len(MODELS)


def test_timings_of_another_setting_or_another_file_are_refused(tmp_path):
    path = tmp_path / "t.jsonl"
    time_all(replace(SCHEDULE, rounds=1, models=MODELS[:1]), path, unwatched)
    other = replace(SCHEDULE, options=SessionOptions(threads=2))
    with pytest.raises(DeviceError, match="holds timings of another machine, ONNX Runtime or num"):
        time_all(other, path, unwatched)
    path.write_text('{"a": 1}\n')
    with pytest.raises(DeviceError, match="must hold timings of `packlight devices measure`"):
        time_all(SCHEDULE, path, unwatched)
    with pytest.raises(InputError, match="cannot be"):
        time_all(SCHEDULE, tmp_path / "none" / "t.jsonl", unwatched)


def test_models_are_the_same_whenever_they_are_drawn():
    first, second = (Timed("mobile block", 1).draw() for _ in range(2))
    assert first[0].digest == second[0].digest
    assert all((first[1][name] == second[1][name]).all() for name in first[1])
    assert Timed("mobile block", 1, seed=1).draw()[0].digest != first[0].digest


def test_the_quick_set_is_the_start_of_the_whole():
    quick, whole = timed_set(quick=True), timed_set(quick=False)
    assert quick == whole[: len(quick)]
    assert len({model.key for model in whole}) == len(whole)
