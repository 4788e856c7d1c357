"""``packlight devices measure`` in a process."""

import pytest

import packlight
from packlight.benchmarking.designs import timed_set


def test_quick_measures_writes_and_shows_in_80_columns(run, tmp_path):
    done = run("devices", "measure", "--quick", "-o", "here.toml", "--name", "here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "Written to here.toml; timings are in here.timings.jsonl" in done.stdout
    found = packlight.load_device(tmp_path / "here.toml")
    assert (found.name, found.kind) == ("here", "measured")
    kept = (tmp_path / "here.timings.jsonl").read_text()
    assert kept.count("\n") == len(timed_set(quick=True))

    refused = run("devices", "measure", "-o", "here.toml", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("packlight: 'here.toml' exists and is not written over")


def test_a_measurement_after_a_whole_one_times_anew_and_keeps_the_old_timings(run, tmp_path):
    (tmp_path / "here.timings.jsonl").write_text("old\n")
    done = run("devices", "measure", "--quick", "-o", "here.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "timings are in here.timings.2.jsonl" in done.stdout
    assert (tmp_path / "here.timings.jsonl").read_text() == "old\n"
    assert not (tmp_path / "here.unfinished.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-o", "here.txt"), "a device is written to a .toml or .json file; got 'here.txt'"),
        (("-o", "none/here.toml"), "the folder of 'none/here.toml' must exist"),
        (("--name", "My PC"), "a name is of small letters, digits and dashes; got 'My PC'"),
        (("--threads", "0"), "Invalid value for '--threads'"),
    ],
)
def test_bad_input_is_told_before_anything_is_timed(run, tmp_path, arguments, sentence):
    done = run("devices", "measure", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"packlight: {sentence}")
    assert not list(tmp_path.iterdir())
