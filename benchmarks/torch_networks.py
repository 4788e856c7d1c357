"""Three well-known networks as plain PyTorch modules with random weights, for counts and timings.

ResNet50 (He et al. 2016, with the stride in the 3 x 3 convolution, as "v1.5"), MobileNetV2 (Sandler
et al. 2018) and ViT-S/16 (Dosovitskiy et al. 2021, in the size of Touvron et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from exporting import export
from sources import cached

PIXELS, CLASSES = 224, 1000


def convolution(
    inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution without bias and a batch normalisation."""
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Residual(nn.Module):
    """What its layers give, added to what it reads, or to a projection of that."""

    def __init__(self, layers: list[nn.Module], shortcut: list[nn.Module], last: nn.Module) -> None:
        super().__init__()
        self.layers, self.shortcut = nn.Sequential(*layers), nn.Sequential(*shortcut)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.layers(x) + self.shortcut(x))


class Classifier(nn.Module):
    """Features, their mean over the picture, and a linear layer."""

    def __init__(self, features: list[nn.Module], width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(image).mean((2, 3)))


def bottleneck(inputs: int, width: int, stride: int) -> Residual:
    """A block of ResNet50: 1 x 1, 3 x 3, 1 x 1 with four times the channels."""
    outputs = 4 * width
    layers = [
        *convolution(inputs, width, 1), nn.ReLU(),
        *convolution(width, width, 3, stride=stride), nn.ReLU(),
        *convolution(width, outputs, 1),
    ]  # fmt: skip
    same = stride == 1 and inputs == outputs
    shortcut = [] if same else convolution(inputs, outputs, 1, stride=stride)
    return Residual(layers, shortcut, nn.ReLU())


def resnet50() -> nn.Module:
    """25.6M parameters, 4.09 GMACs."""
    layers = [*convolution(3, 64, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(bottleneck(channels, width, stride if block == 0 else 1))
            channels = 4 * width
    return Classifier(layers, channels)


def inverted(inputs: int, outputs: int, stride: int, factor: int) -> nn.Module:
    """A block of MobileNetV2: wider by a factor, depthwise, and narrow again without activation."""
    wide = inputs * factor
    layers = [] if factor == 1 else [*convolution(inputs, wide, 1), nn.ReLU6()]
    layers += [*convolution(wide, wide, 3, stride=stride, groups=wide), nn.ReLU6()]
    layers += convolution(wide, outputs, 1)
    same = stride == 1 and inputs == outputs
    return Residual(layers, [], nn.Identity()) if same else nn.Sequential(*layers)


MOBILENET = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Factor, channels, blocks, stride of the first: table 2 of the paper."""


def mobilenet_v2() -> nn.Module:
    """3.5M parameters, 0.30 GMACs."""
    layers = [*convolution(3, 32, 3, stride=2), nn.ReLU6()]
    channels = 32
    for factor, width, blocks, stride in MOBILENET:
        for block in range(blocks):
            layers.append(inverted(channels, width, stride if block == 0 else 1, factor))
            channels = width
    return Classifier([*layers, *convolution(channels, 1280, 1), nn.ReLU6()], 1280)


class Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        parts = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5
        mixed = scores.softmax(-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Encoder(nn.Module):
    """A block of a transformer, normalised before each part."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.between = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.before(x))
        return x + self.narrow(nn.functional.gelu(self.wide(self.between(x))))


class VisionTransformer(nn.Module):
    """Patches of a picture and a token for its class."""

    def __init__(self, width: int, heads: int, blocks: int, patch: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, (PIXELS // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*(Encoder(width, heads) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit_small() -> nn.Module:
    """22.1M parameters, 4.6 GMACs."""
    return VisionTransformer(width=384, heads=6, blocks=12, patch=16)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": resnet50,
    "mobilenetv2": mobilenet_v2,
    "vit-s16": vit_small,
}


def network(name: str, seed: int = 0) -> nn.Module:
    """A network by its name, with random weights, those of normalisations too.

    With the ones and zeros that PyTorch starts normalisations with, the exporter would store them
    once for all, and leave out biases.
    """
    torch.manual_seed(seed)
    made = NETWORKS[name]().eval()
    for part in made.modules():
        if isinstance(part, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.1)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return made


def picture(seed: int = 0) -> torch.Tensor:
    """A random input (1, 3, 224, 224)."""
    return torch.randn(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(seed))


def model_path(name: str) -> Path:
    """A network as ONNX, as PyTorch exports it; its batch is free."""
    path = cached(f"{name}.onnx")
    if not path.exists():
        batch = torch.cat([picture(0), picture(1)])
        export(network(name), {"image": batch}, {"image": {0: "batch"}}, "scores", path)
    return path
