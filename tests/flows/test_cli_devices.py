"""``packlight devices`` in a process, and the same from Python."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import packlight
from packlight.devices import write_device
from packlight.records import from_json, to_json


def flat(text: str) -> str:
    """A text without the breaks of its lines."""
    return "".join(text.split())


def test_list_shows_every_device_in_80_columns(run, tmp_path):
    done = run("devices", "list", cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    first = {line.split()[0] for line in lines[1:] if line and not line.startswith(" ")}
    assert first == {device.name for device in packlight.list_devices()}
    assert "  android-low-end" in done.stdout


def test_list_as_json_holds_the_records(run, tmp_path):
    done = run("devices", "list", "--json", cwd=tmp_path)
    found = [from_json(packlight.Device, form) for form in json.loads(done.stdout)["devices"]]
    assert tuple(found) == packlight.list_devices()


@pytest.mark.parametrize("name", ["iphone-15-pro", "android-low-end", "apple-watch", "esp32-s3"])
def test_show_tells_every_source_in_80_columns(run, tmp_path, name):
    done = run("devices", "show", name, cwd=tmp_path)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    device = packlight.load_device(name)
    assert device.title in done.stdout
    for path, source in device.sources.items():
        assert path in done.stdout
        last = source.text.split()[-1]
        assert last in flat(done.stdout)


def test_show_as_json_is_the_record_and_can_be_given_back(run, tmp_path):
    done = run("devices", "show", "Pixel 8", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == to_json(packlight.load_device("pixel-8"))
    (tmp_path / "mine.json").write_text(done.stdout)
    again = run("devices", "show", "mine.json", "--json", cwd=tmp_path)
    assert again.stdout == done.stdout


def test_a_file_of_the_user_is_shown(run, tmp_path):
    write_device(packlight.load_device("stm32h7"), tmp_path / "mine.toml")
    done = run("devices", "show", "mine.toml", cwd=tmp_path)
    assert done.returncode == 0
    assert "STM32H743" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "pixel-9"), "there is no device 'pixel-9'. Did you mean 'pixel-8'?"),
        (("show", "none.toml"), "the device 'none.toml' cannot be read: No such file"),
        (("show",), "Missing argument 'NAME'. See: packlight devices show --help"),
        (("frobnicate",), "No such command 'frobnicate'. See: packlight devices --help"),
    ],
)
def test_bad_input_gets_one_sentence(run, tmp_path, arguments, sentence):
    done = run("devices", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"packlight: {sentence}")
    assert done.stderr.count("\n") == 1


def test_alone_it_shows_its_help(run, tmp_path):
    done = run("devices", cwd=tmp_path)
    assert done.returncode == 0
    assert "packlight devices list" in done.stdout


def test_devices_are_read_without_onnx_or_numpy():
    heavy = "{'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'rich', 'typer'}"
    code = (
        f"import sys, packlight; packlight.list_devices(); assert not {heavy} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_functions_are_not_hidden_by_the_folder():
    from packlight.devices import device_names

    assert callable(packlight.list_devices)
    assert packlight.load_device(device_names()[0]).name == device_names()[0]
