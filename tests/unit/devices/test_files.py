"""Files of devices: what is written is read as it was, and what is wrong gets a sentence."""

import json
import tomllib
from dataclasses import replace

import pytest

from packlight.devices import device_toml, list_devices, load_device, read_device, write_device
from packlight.devices.files import without_none
from packlight.errors import DeviceError, InputError
from packlight.records import Citation

SMALL = """
name = "mine"
title = "Mine"
kind = "datasheet"
processor = "a chip"
parts = ["kernels-arm"]
bandwidth = 1e10

[units.cpu]
cores = 2
runtimes = ["litert"]
peak = { float32 = 1e9 }

[runtimes.litert]
dtypes = ["float32"]
operators = "litert"

[sources]
bandwidth = { how = "stated", text = "a data sheet" }
runtimes = { how = "stated", text = "a data sheet" }
"units.cpu" = { how = "derived", text = "2 * 0.5e9" }
"""


def written(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("suffix", [".toml", ".json"])
@pytest.mark.parametrize("one", list_devices(), ids=lambda one: one.name)
def test_a_device_comes_back_from_its_file_as_it_went(one, suffix, tmp_path):
    path = tmp_path / f"copy{suffix}"
    write_device(one, path)

    assert read_device(path) == load_device(str(path)) == load_device(path) == one


def test_a_written_file_holds_what_the_device_shares_with_others():
    text = device_toml(load_device("galaxy-a05"))

    assert "parts" not in tomllib.loads(text)
    assert tomllib.loads(text)["energy"]["mac"].keys() == {"float32", "float16", "int8"}


def test_texts_and_names_of_any_letters_come_back(tmp_path):
    odd = 'a "quote", \\ a slash,\na line, é, 電, 🎛, and \'\'\' """'
    one = replace(load_device("pixel-8"), title=odd)
    one = replace(one, sources={**one.sources, "ram": Citation("stated", odd)})
    for suffix in (".toml", ".json"):
        write_device(one, tmp_path / f"odd{suffix}")
        assert read_device(tmp_path / f"odd{suffix}") == one


def test_what_is_not_known_is_left_out():
    assert without_none({"a": None, "b": {"c": {"d": {"e": None}}}}) == {"b": {"c": {"d": {}}}}


def test_a_file_of_the_user_may_take_parts_of_shipped_ones(tmp_path):
    found = load_device(written(tmp_path, SMALL))

    assert found.units["cpu"].efficiency == load_device("galaxy-a05").units["cpu"].efficiency
    assert found.units["cpu"].cores == 2
    assert found.ram is found.energy is None


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('title = "Mine"', "", r"'title' is missing"),
        ('title = "Mine"', "title = 3", r"'title': str is expected; got 3"),
        ('title = "Mine"', 'colour = "red"', r"no field 'colour'; known are name, title"),
        ('"datasheet"', '"guess"', r"'kind': one of datasheet, measured is expected; got 'guess'"),
        ("bandwidth = 1e10", 'bandwidth = "fast"', r"'bandwidth': float is expected; got 'fast'"),
        ("bandwidth = 1e10", "bandwidth = -1.0", r"'bandwidth' must be a finite number above 0"),
        ("bandwidth = 1e10", "bandwidth = inf", r"'bandwidth' must be a finite number above 0"),
        ("bandwidth = 1e10", "bandwidth = 1e10\nram = 8e9", r"'ram': int is expected; got 8000"),
        ("cores = 2", "cores = 2.5", r"'units.cpu.cores': int is expected; got 2.5"),
        ("cores = 2", "core = 2", r"there is no field 'units.cpu.core'; known are peak, runtimes"),
        ("peak = { float32 = 1e9 }", "", r"'units.cpu.peak' is missing"),
        ("float32 = 1e9", 'float32 = "1"', r"'units.cpu.peak.float32': float is expected; got '1'"),
        ("float32 = 1e9", "double = 1e9", r"'units.cpu.peak' may hold 'float32', .*got 'double'"),
        ('["litert"]', '"litert"', r"'units.cpu.runtimes': list is expected; got 'litert'"),
        ('operators = "litert"', 'operators = "x"', r"operators' may be .*litert.*; got 'x'"),
        ('how = "derived"', 'how = "known"', r"'sources.units.cpu.how': one of stated, derived"),
        ("bandwidth = { how", "storage = { how", r"every figure needs a source: .* 'bandwidth'"),
        ('["kernels-arm"]', '["kernels"]', r"'parts' in .* may list energy-10nm, .*got \['kernels"),
        ('["kernels-arm"]', "3", r"'parts' in .* may list energy-10nm, .*got 3"),
        ('name = "mine"', 'schema = "Device/9"\nname = "mine"', r"reads Device/1; .* Device/9"),
        ('name = "mine"', "name =", r"the device '.*mine.toml' must be TOML; reading it gives"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_with_the_field(old, new, sentence, tmp_path):
    assert old in SMALL
    path = written(tmp_path, SMALL.replace(old, new, 1))

    with pytest.raises(DeviceError, match=sentence):
        load_device(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1]", r"a device is a table of fields; '.*mine.json' holds list"),
        ("{", r"must be JSON; reading it gives"),
        ("[" * 100_000, r"must be JSON; reading it gives"),
        ("{}", r"'name' is missing"),
        (json.dumps({"name": "x", "units": 3}), r"'title' is missing|'units': dict is expected"),
    ],
)
def test_damaged_json_gets_a_sentence(text, sentence, tmp_path):
    with pytest.raises(DeviceError, match=sentence):
        load_device(written(tmp_path, text, "mine.json"))


def test_bytes_that_are_no_text_get_a_sentence(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(DeviceError, match="must be TOML; reading it gives"):
        load_device(path)


def test_a_file_that_is_not_there_or_cannot_be_written_gets_a_sentence(tmp_path):
    one = load_device("pixel-8")

    with pytest.raises(DeviceError, match=r"mine.toml' cannot be read: No such file"):
        load_device(tmp_path / "mine.toml")
    with pytest.raises(DeviceError, match=r"written to a .toml or .json file; got '.*mine.yaml'"):
        write_device(one, tmp_path / "mine.yaml")
    with pytest.raises(InputError, match="folder must exist"):
        write_device(one, tmp_path / "missing" / "mine.toml")
