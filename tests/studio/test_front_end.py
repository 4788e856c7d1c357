"""Files of the front end: vendored as published, types as the records, modules tested."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = Path(str(resources.files("packlight.studio"))) / "web"
VENDOR = WEB / "vendor"
NODE = shutil.which("node")


def test_vendored_files_are_what_was_published():
    entries = json.loads((VENDOR / "vendor.json").read_text())

    assert {entry["file"] for entry in entries} == {path.name for path in VENDOR.glob("*.js")}
    for entry in entries:
        digest = hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest()
        assert digest == entry["sha256"], entry["file"]
        assert entry["version"]
        assert (VENDOR / entry["license_file"]).stat().st_size > 500


def test_types_of_the_front_end_are_those_of_the_records():
    path = ROOT / "tools" / "build_studio_types.py"
    spec = importlib.util.spec_from_file_location("build_studio_types", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert (WEB / "records.d.ts").read_text() == module.text(), "run tools/build_studio_types.py"


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_pure_modules_pass_their_own_tests():
    files = sorted(map(str, (Path(__file__).parent / "node").glob("*.test.mjs")))
    done = subprocess.run([NODE, "--test", *files], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]


def test_modules_are_short_and_ask_no_other_site():
    for path in sorted(WEB.rglob("*.js")):
        if path.parent != VENDOR:
            text = path.read_text()
            assert len(text.splitlines()) <= 330, path.name
            assert "http://" not in text, path.name
            assert "https://" not in text, path.name
            assert "innerHTML" not in text, path.name
            assert text.startswith("/** "), f"{path.name} says what it is"


def test_distributions_carry_the_front_end():
    project = (ROOT / "pyproject.toml").read_text()

    assert 'packages = ["src/packlight"]' in project
    assert '"src"' in project.partition("[tool.hatch.build.targets.sdist]")[2]
