"""Multiply-accumulates and parameters, beside PyTorch's own counter and published figures.

    python benchmarks/counts.py              # all
    python benchmarks/counts.py resnet50     # some

PyTorch's FlopCounterMode runs the module and counts 2 floating-point operations for each
multiply-accumulate. Parameters are those of the module; in the file, batch normalisations are
folded into the convolutions before them, which takes away one of their two parameters for each
channel: stored and folded ones together are those of the module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import photos
import texts
import torch_networks
from packlight.model import load
from packlight.profiling import profile
from sources import asked

HEADS = (
    "model", "MACs", "PyTorch", "difference", "stored + folded", "parameters", "published",
    "lines", "s",
)  # fmt: skip
TOKENS = 128
FLOPS_PER_MAC = 2


@dataclass(frozen=True, slots=True)
class Case:
    """A model in both forms.

    Attributes:
        path: gives its ONNX file.
        module: gives the PyTorch module.
        feeds: gives its inputs, by name.
        published: multiply-accumulates and parameters, in words.
    """

    path: Callable[[], Path]
    module: Callable[[], nn.Module]
    feeds: Callable[[], Mapping[str, torch.Tensor]]
    published: str


def efficientnet() -> nn.Module:
    """EfficientNet-Lite0; what its weights are does not matter to its counts."""
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")


def tokens() -> dict[str, torch.Tensor]:
    """A text of 128 pieces, whatever they say."""
    ids = torch.arange(1000, 1000 + TOKENS)[None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def network(name: str, published: str) -> Case:
    """One of the three networks of ``torch_networks``."""
    return Case(
        lambda: torch_networks.model_path(name),
        lambda: torch_networks.network(name),
        lambda: {"image": torch_networks.picture()},
        published,
    )


CASES = {
    "efficientnet-lite0": Case(
        photos.model_path,
        efficientnet,
        lambda: {"image": torch.zeros(1, 3, 224, 224)},
        "0.385 G, 4.65 M",
    ),
    "minilm": Case(texts.model_path, texts.encoder, tokens, "-, 22.7 M with its pooler"),
    "resnet50": network("resnet50", "4.09 G, 25.6 M"),
    "mobilenetv2": network("mobilenetv2", "0.30 G, 3.5 M"),
    "vit-s16": network("vit-s16", "4.6 G, 22.1 M"),
}


def torch_macs(module: nn.Module, feeds: Mapping[str, torch.Tensor]) -> int:
    """What PyTorch counts."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(*feeds.values())
    return int(counter.get_total_flops()) // FLOPS_PER_MAC


def line(name: str, case: Case) -> str:
    """A model's counts."""
    feeds, module = case.feeds(), case.module()
    model = load(case.path())
    start = time.perf_counter()
    found = profile(model, {key: tuple(value.shape) for key, value in feeds.items()})
    seconds = time.perf_counter() - start
    macs, stored = (int(found.totals[key].value) for key in ("macs", "parameters"))
    theirs = torch_macs(module, feeds)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    folded = sum(part.num_features for part in norms)
    trained = sum(parameter.numel() for parameter in module.parameters())
    arithmetic = [one for one in found.operators if one.macs or one.other_ops]
    known = [one for one in arithmetic if one.source and one.source.line and one.source.module]
    return (
        f"| {name} | {macs:,} | {theirs:,} | {macs / theirs - 1:+.3%} | {stored:,} + {folded:,} "
        f"| {trained:,} | {case.published} | {len(known)} of {len(arithmetic)} | {seconds:.2f} |"
    )


def main() -> None:
    """Print the table."""
    names = asked(__doc__, CASES)
    print(f"| {' | '.join(HEADS)} |")
    print("| --- | --: | --: | --: | --: | --: | --- | --: | --: |")
    for name in names:
        print(line(name, CASES[name]), flush=True)


if __name__ == "__main__":
    main()
