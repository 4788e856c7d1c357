"""Training loops of one's own: the forward pass is the file's, and the file is what was trained."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import packlight
from packlight.errors import ModelError, RecipeError

torch = pytest.importorskip("torch", reason="an extra: pip install 'packlight[torch]'")

RECIPES = (
    "simplify+weights:4,block=16",
    "simplify+palette:2,scaled=true",
    "simplify+sparse:4,share=0.5",
    "simplify+weights:8",
)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 24, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(24 * 9, 10),
    )


def images(count, seed=0):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_not_trained_is_the_file_that_compress_writes(recipe, tmp_path):
    module = network().train()
    prepared = packlight.prepare(module, recipe, images(1))
    assert module.training

    size = prepared.finish(tmp_path / "prepared.onnx")
    packlight.compress(prepared.original, recipe, tmp_path / "compressed.onnx")

    written = (tmp_path / "prepared.onnx").read_bytes()
    assert len(written) == size
    assert written == (tmp_path / "compressed.onnx").read_bytes()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_plain_loop_trains_codes_and_the_file_computes_what_the_module_does(recipe, tmp_path):
    teacher = network().eval()
    prepared = packlight.prepare(teacher, recipe, images(2))
    untrained = prepared.finish(tmp_path / "untrained.onnx")
    optimizer = torch.optim.Adam(prepared.parameter_groups(1e-3))
    x = images(64)
    with torch.no_grad():
        target = teacher(x)

    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(prepared(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert min(losses[-5:]) < 0.8 * losses[0]
    assert prepared.finish(tmp_path / "small.onnx") == untrained
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx")
    with torch.no_grad():
        expected = prepared(x).numpy()
    (given,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(given, expected, atol=1e-4)


def test_a_state_is_saved_and_restored_like_that_of_any_module():
    first = packlight.prepare(network(), RECIPES[0], images(2))
    second = packlight.prepare(network(), RECIPES[0], images(2))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.mul_(1.1)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(images(3)), second(images(3)))


def test_integers_without_pairs_pass_no_gradient():
    with pytest.raises(RecipeError, match="no gradient passes"):
        packlight.prepare(network(), "dynamic", images(2))


def test_a_network_needs_examples():
    with pytest.raises(ModelError, match="example inputs"):
        packlight.prepare(network(), RECIPES[0])


PAGE = Path(__file__).parents[3] / "docs" / "training-loops.md"
LOOP, LIGHTNING, TRAINER = re.findall(
    r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M
)


@pytest.mark.parametrize(
    ("needed", "code"),
    [
        ("torch", LOOP),
        pytest.param("lightning", LOOP + LIGHTNING, marks=pytest.mark.slow),
        pytest.param("transformers", LOOP + TRAINER, marks=pytest.mark.slow),
    ],
    ids=["plain", "Lightning", "Trainer"],
)
def test_the_loops_of_the_page_run(needed, code, tmp_path):
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    onnxruntime.InferenceSession(tmp_path / "small.onnx")
