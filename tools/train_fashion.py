"""Train the model ``zoo:fashion`` and write it with its labelled images.

The shipped files came from this command, with the Debian package dataset-fashion-mnist installed::

    python tools/train_fashion.py --epochs 25 --batch 256 --threads 2 --seed 0

It gave 94.05 % on all 10,000 test images, 93.94 % on the 5,000 shipped ones and 93.60 % on the
1,000 calibration images, with 412,970 parameters and 10.9 million multiply-accumulates an image.
An epoch takes about a minute on two free cores. The seed fixes ``fashion.npz`` to the byte; the
trained weights can also depend on the processor, the number of threads and the version of torch.

The network trains on 59,000 of the 60,000 training images; the others are the calibration images.
The last step's weights are kept: no image chooses among models, and the test images only measure.
"""

from __future__ import annotations

import argparse
import gzip
import io
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
TEST_IMAGES_PER_CLASS = 500
CALIBRATION_IMAGES_PER_CLASS = 100
PIXEL_MEAN, PIXEL_DEVIATION = 72.94, 90.02
OPSET, IR_VERSION = 18, 8


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of inverted-residual blocks; the first one carries the stride."""

    name: str
    width: int
    expansion: int
    blocks: int


STEM_WIDTH, HEAD_WIDTH = 16, 256
STAGES = (
    Stage("stage1", width=32, expansion=3, blocks=2),
    Stage("stage2", width=64, expansion=3, blocks=2),
    Stage("stage3", width=128, expansion=4, blocks=3),
)


class ConvNorm(nn.Module):
    """Convolution, batch normalization and, unless ``linear``, a ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)
        self.linear = linear

    def forward(self, value: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        value = self.norm(self.convolve(value))
        return value if self.linear else functional.relu(value)

    def convolve(self, value: Tensor) -> Tensor:
        """Convolve, in float32 where bfloat16 would be slow."""
        if self.conv.stride == (1, 1):
            return self.conv(value)
        # The bfloat16 gradient of a strided depthwise convolution takes 14 times the float32 one.
        with torch.autocast("cpu", enabled=False):
            return self.conv(value.float()).to(value.dtype)


class Block(nn.Module):
    """Inverted residual (MobileNetV2, arXiv 1801.04381): expand, filter by channel, project."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvNorm(inputs, hidden, 1)
        self.depthwise = ConvNorm(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs, 1, linear=True)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, value: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, outputs, h / stride, w / stride]."""
        projected: Tensor = self.project(self.depthwise(self.expand(value)))
        return value + projected if self.residual else projected


class Classifier(nn.Module):
    """Raw pixels [batch, 1, 28, 28] in 0..255 to logits [batch, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(1, STEM_WIDTH, 3)
        self.blocks = nn.ModuleDict()
        width = STEM_WIDTH
        for stage in STAGES:
            for index in range(stage.blocks):
                block = Block(width, stage.width, stage.expansion, stride=1 if index else 2)
                self.blocks[f"{stage.name}/block{index}"] = block
                width = stage.width
        self.head = ConvNorm(width, HEAD_WIDTH, 1)
        self.classifier = nn.Linear(HEAD_WIDTH, len(CLASSES))

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, 10] of raw pixels [batch, 1, 28, 28]."""
        value = self.stem((image - PIXEL_MEAN) / PIXEL_DEVIATION)
        for block in self.blocks.values():
            value = block(value)
        logits: Tensor = self.classifier(self.head(value).mean((2, 3)))
        return logits


class GraphWriter:
    """Writes the classifier operator by operator, so that no exporter folds or renames anything."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Tensor | Values) -> str:
        """Store a weight under its name."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append one operator; its only output carries its name."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def conv_norm(self, name: str, value: str, module: ConvNorm) -> str:
        """Append Conv, BatchNormalization (left unfolded, running statistics) and any Relu."""
        conv, norm = module.conv, module.norm
        value = self.node(
            "Conv",
            f"{name}/conv",
            value,
            self.constant(f"{name}/conv/weight", conv.weight),
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[conv.kernel_size[0] // 2] * 4,
            group=conv.groups,
        )
        value = self.node(
            "BatchNormalization",
            f"{name}/norm",
            value,
            self.constant(f"{name}/norm/scale", norm.weight),
            self.constant(f"{name}/norm/bias", norm.bias),
            self.constant(f"{name}/norm/mean", norm.running_mean),
            self.constant(f"{name}/norm/variance", norm.running_var),
            epsilon=norm.eps,
        )
        return value if module.linear else self.node("Relu", f"{name}/relu", value)

    def block(self, name: str, value: str, module: Block) -> str:
        """Append an inverted residual."""
        shortcut = value
        value = self.conv_norm(f"{name}/expand", value, module.expand)
        value = self.conv_norm(f"{name}/depthwise", value, module.depthwise)
        value = self.conv_norm(f"{name}/project", value, module.project)
        return self.node("Add", f"{name}/add", shortcut, value) if module.residual else value

    def normalize(self, value: str) -> str:
        """Append the step from raw pixels to zero mean and unit deviation."""
        mean = self.constant("normalize/mean", np.array(PIXEL_MEAN, np.float32))
        deviation = self.constant("normalize/deviation", np.array(PIXEL_DEVIATION, np.float32))
        value = self.node("Sub", "normalize/subtract", value, mean)
        return self.node("Div", "normalize/divide", value, deviation)

    def classify(self, value: str, linear: nn.Linear) -> None:
        """Append the pooling and the linear layer that gives ``logits``."""
        value = self.node("GlobalAveragePool", "head/pool", value)
        value = self.node("Flatten", "head/flatten", value, axis=1)
        weight = self.constant("classifier/weight", linear.weight)
        bias = self.constant("classifier/bias", linear.bias)
        gemm = helper.make_node(
            "Gemm", [value, weight, bias], ["logits"], name="classifier/gemm", transB=1
        )
        self.nodes.append(gemm)

    def write(self, model: Classifier) -> onnx.ModelProto:
        """The whole classifier in inference mode as an ONNX model."""
        value = self.conv_norm("stem", self.normalize("image"), model.stem)
        for name, block in model.blocks.items():
            value = self.block(name, value, block)
        self.classify(self.conv_norm("head", value, model.head), model.classifier)
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 28, 28])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(CLASSES)])
        graph = helper.make_graph(self.nodes, "fashion", [image], [logits], self.weights)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="packlight"
        )


def read_split(folder: Path, split: str) -> tuple[Pixels, Labels]:
    """Read ``train`` or ``t10k``: images [n, 1, 28, 28] in 0..255 and labels [n] in 0..9."""
    images = gzip.decompress((folder / f"{split}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{split}-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return pixels.copy(), np.frombuffer(labels, np.uint8, offset=8).copy()


def balanced_choice(labels: Labels, per_class: int, seed: int) -> npt.NDArray[np.intp]:
    """Indices of ``per_class`` images of every class, in a shuffled order."""
    random = np.random.default_rng(seed)
    chosen = [
        random.choice(np.flatnonzero(labels == label), per_class, replace=False)
        for label in range(len(CLASSES))
    ]
    return random.permutation(np.concatenate(chosen))


def augment(images: Tensor, random: torch.Generator, shift: int = 2) -> Tensor:
    """Flip half of the images [n, 1, 28, 28] and move each by up to ``shift`` pixels."""
    count, _, height, width = images.shape
    flipped = torch.rand((count, 1, 1, 1), generator=random) < 0.5
    images = functional.pad(torch.where(flipped, images.flip(3), images), [shift] * 4)
    top, left = torch.randint(0, 2 * shift + 1, (2, count, 1, 1), generator=random)
    rows = top + torch.arange(height)[:, None]
    columns = left + torch.arange(width)
    return images[torch.arange(count)[:, None, None], 0, rows, columns][:, None]


def train(images: Tensor, labels: Tensor, *, epochs: int, batch: int, seed: int) -> Classifier:
    """Train on images [n, 1, 28, 28] in 0..255; return the model of the last step."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    model = Classifier().to(memory_format=torch.channels_last)
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=4e-3)
    steps = len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 4e-3, epochs=epochs, steps_per_epoch=steps, pct_start=0.2
    )
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        order = torch.randperm(len(images), generator=random)[: steps * batch]
        for chosen in order.split(batch):
            inputs = augment(images[chosen], random).float()
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(inputs)
            loss = functional.cross_entropy(logits.float(), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        took = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}, {took:.0f} s", flush=True)
    return model.eval()


@torch.no_grad()
def accuracy(model: Classifier, images: Pixels, labels: Labels) -> float:
    """Share of images [n, 1, 28, 28] whose largest logit is at their label."""
    parts = torch.from_numpy(images).split(500)
    predicted = torch.cat([model(part.float()).argmax(1) for part in parts])
    return float(np.mean(predicted.numpy() == labels))


def brightness_groups(images: Pixels) -> npt.NDArray[np.str_]:
    """Name the tercile of each image's mean pixel: ``dark``, ``middle`` or ``bright``."""
    means = images.mean((1, 2, 3))
    terciles = np.searchsorted(np.quantile(means, [1 / 3, 2 / 3]), means)
    return np.take(["dark", "middle", "bright"], terciles)


def write_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write a compressed ``.npz`` whose bytes depend on the arrays alone, not on the clock."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


def write_task(path: Path, images: Pixels, labels: Labels, calibration: Pixels) -> None:
    """Write the labelled test images with their group columns and the calibration images."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "image": images,
        "target": labels.astype(np.int64),
        "group_class": np.array(CLASSES)[labels],
        "group_brightness": brightness_groups(images),
        "calibration_image": calibration,
    }
    write_arrays(path, arrays)


def main() -> None:
    """Write the task, train, write the model, and print its accuracy."""
    parser = argparse.ArgumentParser(description="Train and write the model zoo:fashion.")
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=Path("src/packlight/zoo/data"))
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    images, labels = read_split(options.data, "train")
    held_out = balanced_choice(labels, CALIBRATION_IMAGES_PER_CLASS, options.seed)
    test_images, test_labels = read_split(options.data, "t10k")
    shipped = balanced_choice(test_labels, TEST_IMAGES_PER_CLASS, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    write_task(
        options.out / "fashion.npz", test_images[shipped], test_labels[shipped], images[held_out]
    )

    kept = np.setdiff1d(np.arange(len(images)), held_out)
    model = train(
        torch.from_numpy(images[kept]),
        torch.from_numpy(labels[kept].astype(np.int64)),
        epochs=options.epochs,
        batch=options.batch,
        seed=options.seed,
    )
    proto = GraphWriter().write(model)
    onnx.checker.check_model(proto, full_check=True)
    (options.out / "fashion.onnx").write_bytes(proto.SerializeToString(deterministic=True))
    for name, pixels, truth in (
        ("held-out training images", images[held_out], labels[held_out]),
        ("all test images", test_images, test_labels),
        ("shipped test images", test_images[shipped], test_labels[shipped]),
    ):
        print(f"accuracy on {len(pixels)} {name}: {accuracy(model, pixels, truth):.4f}")


if __name__ == "__main__":
    main()
