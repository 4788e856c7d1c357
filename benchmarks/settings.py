"""What is tried: packlight's recipes for each width, and the settings of each peer.

A peer's best is shown, not its default: every way of its own that its documentation offers for
weights alone and that runs on these models, at every width that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from packlight.records.recipe_options import CALIBRATED, FITTED

Setting = Mapping[str, object]
Settings = Mapping[str, Setting]

WIDTHS = (8, 6, 4, 3)

PALETTE = f"simplify+palette,{FITTED}"

RECIPES: Mapping[int, tuple[str, ...]] = {
    8: (
        f"simplify+weights:8,{CALIBRATED}",
        f"{PALETTE},bits=8",
        f"{PALETTE},mixed=7.5",
        "simplify+float16",
    ),
    6: (f"{PALETTE},mixed=6.1", f"{PALETTE},mixed=5.6"),
    4: (f"{PALETTE},mixed=4.2", f"{PALETTE},mixed=3.7"),
    3: (f"{PALETTE},mixed=3.15", f"{PALETTE},mixed=2.7"),
}
"""packlight's, by width. A file may serve in the cell of any width whose bytes it keeps."""

GROUPS = f"{PALETTE},bits=8,group=24"
SMALL = (f"{PALETTE},mixed=2.75", f"{PALETTE},mixed=2.5", f"{PALETTE},mixed=2.4")
HALF = f"{PALETTE},bits=8,where=coder+float16"
"""All of silero but its first convolution, where most of the error is, as palettes."""

BLOCKS = tuple(f"simplify+weights:8,{CALIBRATED},block={size},where=MatMul" for size in (32, 128))
"""Convolutions in float32, as the tools for products leave them."""

CLOSE_TO_8 = (
    f"{PALETTE},mixed=7.8",
    f"{PALETTE},mixed=6.9",
    "simplify+palette,rounding=gptq,weighted=true,bits=8",
)
CLOSE_TO_4 = (
    f"{PALETTE},mixed=4.8",
    f"{PALETTE},mixed=3.1",
    f"{PALETTE},bits=4",
    "simplify+palette,rounding=gptq,weighted=true,bits=4",
    f"simplify+weights:4,{CALIBRATED}",
)

MORE: Mapping[str, Mapping[int, tuple[str, ...]]] = {
    "fashion": {8: (GROUPS,), 3: SMALL},
    "silero": {8: (GROUPS, HALF), 3: SMALL},
    "ocr": {8: BLOCKS, 3: (f"{PALETTE},mixed=2.6",)},
    "cqt": {8: CLOSE_TO_8, 4: CLOSE_TO_4},
    "decoder": {8: CLOSE_TO_8, 4: CLOSE_TO_4},
}
"""More of packlight's by model, for sizes that peers have."""


GROUPED = ("fashion", "silero")
"""Where coremltools fits a table to every 8 output channels. On EfficientNet-Lite0 at 8 bits that
took 64 minutes and gave 4.7 dB: not its best there, and the larger models are left out too."""

GROUP = 8


def recipes(width: int, case: str) -> tuple[str, ...]:
    """packlight's of a width for a model."""
    return RECIPES[width] + MORE.get(case, {}).get(width, ())


def short(recipe: str) -> str:
    """A recipe without what most of packlight's have in common."""
    return recipe.removeprefix("simplify+").replace(f",{FITTED}", "").replace(f",{CALIBRATED}", "")


PRODUCTS = ("minilm", "ocr")
"""Models that have products with a stored matrix, which block quantizers are made for."""


def coremltools(width: int, case: str) -> Settings:
    """Palettes of every width; grids of 8 and 4."""
    palette: Setting = {"kind": "palette", "bits": width}
    small = {**palette, "weight_threshold": 512}
    found: dict[str, Setting] = {
        "k-means": palette,
        "k-means, small weights too": small,
        "k-means, channel scale": {**small, "enable_per_channel_scale": True},
    }
    if case in GROUPED:
        found[f"k-means, groups of {GROUP}"] = {
            **small, "granularity": "per_grouped_channel", "group_size": GROUP
        }  # fmt: skip
    if width in (8, 4):
        linear = {"kind": "linear", "bits": width, "weight_threshold": 512}
        found["linear per channel"] = linear
        found["linear, blocks of 32"] = {
            **linear, "granularity": "per_block", "block_size": 32
        }  # fmt: skip
    return found


def aimet(width: int, case: str) -> Settings:
    """Every width; what learns or searches only where it ends within hours."""
    found: dict[str, Setting] = {
        "nearest": {"bits": width, "steps": []},
        "nearest, enhanced ranges": {"bits": width, "steps": ["enhanced"]},
    }
    if (case, width) in LEARNT:
        found["AdaRound"] = {"bits": width, "steps": ["adaround"], "batch": 1}
    if (case, width) in SEARCHED:
        found["SeqMSE"] = {"bits": width, "steps": ["seq_mse"]}
    return found


LEARNT = (("fashion", 4), ("efficientnet", 4))
"""Where AdaRound is run: for every layer the 15,000 steps that its documentation recommends, each
on one calibration sample. On batches a depthwise convolution learns tens of times slower on a CPU,
so that it does not end within hours."""

SEARCHED = (("fashion", 4), ("efficientnet", 4))
"""Where SeqMSE is run."""


def lengthy(setting: Setting) -> bool:
    """Whether a peer learns or searches by this setting, which takes it up to an hour."""
    steps = setting.get("steps", ())
    return isinstance(steps, list) and not {"adaround", "seq_mse"}.isdisjoint(steps)


def nncf(width: int, case: str) -> Settings:
    """Widths 8 and 4."""
    if width == 8:
        return {"symmetric": {"mode": "int8_sym"}, "asymmetric": {"mode": "int8_asym"}}
    if width != 4:
        return {}
    found: dict[str, Setting] = {}
    for mode in ("sym", "asym"):
        whole = {"mode": f"int4_{mode}", "ratio": 1.0, "all_layers": True, "group_size": -1}
        found[f"{mode}, per channel"] = whole
        if case in PRODUCTS:
            size = 24 if case == "ocr" else 64
            groups = {**whole, "group_size": size}
            found[f"{mode}, groups of {size}"] = groups
            found[f"{mode}, groups of {size}, AWQ, scale estimation"] = {
                **groups, "awq": True, "scale_estimation": True
            }  # fmt: skip
    return found


def onnxruntime(width: int, case: str) -> Settings:
    """Widths 8 and 4."""
    found: dict[str, Setting] = {}
    if width in (8, 4):
        found["per channel"] = {"kind": "channels", "bits": width}
    if case not in PRODUCTS or width not in (8, 4):
        return found
    for block in (32, 128):
        of_blocks = {"kind": "blocks", "bits": width, "block": block, "symmetric": False}
        found[f"blocks of {block}"] = {**of_blocks, "algorithm": "rtn"}
        if width == 4:
            found[f"blocks of {block}, HQQ"] = {**of_blocks, "algorithm": "hqq"}
            found[f"blocks of {block}, k-quant"] = {**of_blocks, "algorithm": "k_quant"}
            found[f"blocks of {block}, GPTQ"] = {**of_blocks, "algorithm": "gptq"}
    return found


PEERS: Mapping[str, Callable[[int, str], Settings]] = {
    "coremltools": coremltools, "aimet": aimet, "nncf": nncf, "onnxruntime": onnxruntime,
}  # fmt: skip
"""Settings of each peer, by width and model."""
