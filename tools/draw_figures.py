"""Draw the figures of ``docs/techniques`` from what packlight makes of ``zoo:fashion``.

One figure or all of them, into ``docs/figures``::

    python tools/draw_figures.py
    python tools/draw_figures.py palettes storage --out drawn

Every number in them is computed here by packlight: 64 calibration images, 200 test images, one
thread. The same versions on the same processor give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

import packlight
from packlight.api.compress import Compressed
from packlight.compression.grids.codebook import blank_codebook
from packlight.compression.grids.codebook import fit_codebook as fit_tables
from packlight.compression.grids.grouping import per_tensor
from packlight.compression.grids.uniform import fit_grid
from packlight.compression.qdq.integer_weights import PairLayout, excess, in_pairs
from packlight.compression.sites.weight_sites import Weight, weight_sites
from packlight.model import initializers
from packlight.records import SessionOptions
from packlight.runtime import open_session
from packlight.sources.opening import open_task
from plain_svg import BLACK, BLUE, GREEN, GREY, ORANGE, PALE, PURPLE, RED, SKY, Axis, Drawing

Floats = npt.NDArray[np.float32]
OUT = Path(__file__).parents[1] / "docs" / "figures"
MODEL = "zoo:fashion"
CALIBRATION, JUDGED = 64, 200
WIDTHS = (2, 3, 4, 6, 8)


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart.

    Attributes:
        name: in the legend.
        colour: of line and points.
        points: (x, y).
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float]]


@cache
def task() -> packlight.Task:
    """The first images of the zoo's data."""
    whole = open_task(MODEL, packlight.load(MODEL))
    return replace(
        whole,
        samples=[whole.samples[index] for index in range(JUDGED)],
        targets=whole.targets[:JUDGED],
        groups={},
        calibration=[whole.calibration[index] for index in range(CALIBRATION)],
    )


@cache
def simplified() -> packlight.Model:
    """The model that recipes start from: constants and batch norms folded."""
    return packlight.compress(MODEL, "simplify").model


@cache
def made(recipe: str) -> Compressed:
    """What a recipe makes of the simplified model."""
    return packlight.compress(simplified(), recipe, task=task())


@cache
def outputs(recipe: str) -> npt.NDArray[np.float64]:
    """Logits (images, classes) after a recipe."""
    session = open_session(made(recipe).model, SessionOptions())
    found = [session.run_steps(steps, {}) for steps in task().samples]
    return np.concatenate([np.asarray(next(iter(one.values())), np.float64) for one in found])


def decibels(recipe: str) -> float:
    """Signal to noise of the logits against those of the float model."""
    return ratio(outputs("original"), outputs(recipe))


def ratio(wanted: npt.NDArray[np.floating], found: npt.NDArray[np.floating]) -> float:
    """Signal to noise in dB."""
    signal, wrong = np.asarray(wanted, np.float64), np.asarray(found, np.float64) - wanted
    return float(10 * np.log10(np.square(signal).sum() / np.square(wrong).sum()))


def weights(recipe: str) -> dict[str, Weight]:
    """Every stored weight after a recipe, by its operator."""
    sites = weight_sites(made(recipe).model.graph)
    return {site.operator: site for site in sites if isinstance(site, Weight)}


def chart(title: str, across: Axis, up: Axis, curves: Sequence[Curve]) -> Drawing:
    """Curves in a frame, with a legend at the right."""
    drawing = Drawing(title, 860, 400)
    drawing.axes(across, up)
    for place, curve in enumerate(curves):
        spots = [(across.at(x), up.at(y)) for x, y in curve.points]
        for one, other in pairwise(spots):
            drawing.line(*one, *other, curve.colour, width=2)
        for spot in spots:
            drawing.dot(*spot, 4, curve.colour)
        drawing.key(620, 80 + 24 * place, curve.colour, curve.name)
    return drawing


def grids() -> Drawing:
    """Size and fidelity of grids of 2 to 8 bits."""
    kinds = {
        "one scale per tensor": ("per=tensor", ORANGE),
        "per channel, range=minmax": ("range=minmax", SKY),
        "per channel (range=mse)": ("per=channel", BLUE),
        "per block of 32 inputs": ("block=32", GREEN),
    }
    curves = []
    for name, (options, colour) in kinds.items():
        recipes = [f"weights:{bits},{options}" for bits in WIDTHS]
        points = [(made(recipe).after / 1000, decibels(recipe)) for recipe in recipes]
        curves.append(Curve(name, colour, points))
    across = Axis("kB of file; points from left to right: 2, 3, 4, 6, 8 bits", 150, 550, 70, 600)
    up = Axis("dB of the logits", -10, 50, 330, 60)
    return chart("Who shares a scale, and how wide the grid is", across, up, curves)


def error_feedback() -> Drawing:
    """Fidelity of four ways to round."""
    kinds = {
        "rounding=nearest": ORANGE,
        "rounding=gptq,target=present,bias=false": SKY,
        "rounding=gptq,target=present": BLUE,
        "rounding=gptq": GREEN,
    }
    curves = [
        Curve(options.removeprefix("rounding="), colour,
              [(bits, decibels(f"weights:{bits},{options}")) for bits in WIDTHS])
        for options, colour in kinds.items()
    ]  # fmt: skip
    across = Axis("bits of a weight; files of one width differ by less than 1 %", 2, 8, 70, 600, 1)
    up = Axis("dB of the logits", 0, 60, 330, 60)
    return chart("What error feedback and bias correction gain", across, up, curves)


def mixed_widths() -> Drawing:
    """The width of every weight at a mean of four bits."""
    one, many = "weights:4,rounding=gptq", "weights,rounding=gptq,mixed=4"
    sizes = {name: site.tensor.size for name, site in weights("original").items()}
    changes = [change for change in made(many).variant.changes if change.method == "weights"]
    drawing = Drawing("Bits for every weight, 4 on average, in the order they run",
                      860, 110 + 16 * len(changes))  # fmt: skip
    across = Axis("bits", 0, 8, 260, 560, 1)
    for place, change in enumerate(changes):
        y, bits = 52 + 16 * place, change.storage.bits
        drawing.text(252, y + 11, short(change.operator), "end", 11)
        drawing.box(across.start, y, across.at(bits) - across.start, 13, BLUE if bits > 4 else SKY)
        drawing.text(across.at(bits) + 5, y + 11, f"{bits}", size=11)
        drawing.text(650, y + 11, f"{sizes[change.operator]:,}", "end", 11)
    drawing.text(650, 46, "numbers", "end", 11, colour=GREY)
    drawing.across(across, 56 + 16 * len(changes))
    for place, (name, recipe) in enumerate({"4 bits for all": one, "mixed=4": many}.items()):
        drawing.text(680, 80 + 50 * place, name, size=13)
        told = f"{decibels(recipe):.1f} dB, {made(recipe).after / 1000:.0f} kB"
        drawing.text(680, 98 + 50 * place, told, size=12, colour=GREY)
    return drawing


def short(operator: str) -> str:
    """An operator's name without what all of them have."""
    return operator.removeprefix("/").removesuffix("/Conv")


def palettes() -> Drawing:
    """The numbers of one weight, a grid for them and a table for them."""
    name, weight = max(weights("original").items(), key=lambda pair: pair[1].tensor.size)
    array = weight.read()
    rows = array.reshape(len(array), -1)
    even = np.broadcast_to(np.float32(1), rows.shape)
    grid = fit_grid(rows, even, per_tensor(rows.shape), 3, symmetric=False, search="mse")
    table = fit_tables(
        blank_codebook(rows.shape, (0, 1), len(rows), 3, outputs=len(rows)),
        rows, even, scaled=False, short=False,
    )  # fmt: skip
    steps = ((np.arange(8) - grid.zero.ravel()) * grid.scale.ravel()).astype(np.float32)
    ends = float(np.quantile(np.abs(array), 0.9995))
    across = Axis(f"value of a weight of {short(name)}", -ends, ends, 70, 600, 0.05)
    counts, edges = np.histogram(array, 80, (-ends, ends))
    drawing = Drawing("Eight values for one weight: a grid and a table", 860, 400)
    up = Axis("", 0, float(counts.max()), 270, 60)
    for count, low, high in zip(counts, edges, edges[1:], strict=False):
        left, top = across.at(low), up.at(count)
        drawing.box(left, top, across.at(high) - left - 0.5, 270 - top, PALE)
    found: dict[str, tuple[str, Floats, Floats]] = {
        "3-bit grid": (ORANGE, steps, grid.values(grid.nearest(rows))),
        "palette of 8": (BLUE, table.tables[0], table.values(table.nearest(rows))),
    }
    for place, (kind, (colour, values, rounded)) in enumerate(found.items()):
        y = 290 + 22 * place
        for value in values:
            drawing.dot(across.at(value), y, 5, colour)
        drawing.key(620, y, colour, f"{kind}: {ratio(rows, rounded):.1f} dB")
    drawing.key(620, 100, PALE, "how many numbers lie there")
    drawing.across(across, 335)
    return drawing


def sparse() -> Drawing:
    """Fidelity at every share of zeros."""
    kinds = {
        "magnitude": ("rounding=nearest", ORANGE),
        "magnitude, weighted=true": ("weighted=true", SKY),
        "second order (gptq)": ("rounding=gptq", BLUE),
    }
    shares = (0.2, 0.35, 0.5, 0.65, 0.8)
    curves = [
        Curve(name, colour, [(s, decibels(f"sparse,share={s},{options}")) for s in shares])
        for name, (options, colour) in kinds.items()
    ]
    pair = [(0.5, decibels("sparse,share=0.5,run=4,rounding=gptq"))]
    curves.append(Curve("second order, two of every four", RED, pair))
    across = Axis("share of zeros; what stays is float", 0.2, 0.8, 70, 600, 0.1)
    up = Axis("dB of the logits", -5, 35, 330, 60, 5)
    return chart("Which numbers become zero", across, up, curves)


def equalization() -> Drawing:
    """The largest number of every channel of one weight, before and after."""
    before, after = (weights(recipe) for recipe in ("original", "equalize,by=weights"))
    reach = {name: reaches(site) for name, site in before.items() if len(site.shape) == 4}
    name = max(reach, key=lambda one: float(reach[one].max() / np.median(reach[one])))
    order = np.argsort(-reach[name])
    drawing = Drawing(f"Largest magnitude in every output channel of {short(name)}", 860, 400)
    across = Axis("output channels, sorted", 0, len(order), 70, 600, len(order) // 8)
    kinds = {"as trained": (ORANGE, reach[name]), "equalized": (BLUE, reaches(after[name]))}
    up = Axis("largest |w|", 0.01, 100, 330, 60, powers=True)
    drawing.axes(across, up)
    for place, (kind, (colour, sizes)) in enumerate(kinds.items()):
        middle, y = float(np.median(sizes)), 80 + 66 * place
        spots = [(across.at(i), up.at(float(size))) for i, size in enumerate(sizes[order])]
        drawing.dots(spots, 2, colour)
        drawing.key(620, y, colour, kind)
        drawing.text(640, y + 20, f"largest channel: {float(sizes.max()):.2f}", size=12)
        drawing.text(640, y + 36, f"channel in the middle: {middle:.2f}", size=12)
    for place, step in enumerate(("", "equalize,by=weights+")):
        recipe = f"{step}weights:4,per=tensor"
        y = 240 + 40 * place
        drawing.text(620, y, recipe, size=11)
        drawing.text(640, y + 16, f"{decibels(recipe):.1f} dB of the logits", size=12)
    return drawing


def reaches(weight: Weight) -> Floats:
    """The largest magnitude of every output channel (out,)."""
    array = weight.read()
    found: Floats = np.abs(array).reshape(len(array), -1).max(axis=1)
    return found


PLAIN = "static,rounding=nearest,bias=false"
SAFE = 128
"""What two neighbours of one sign may sum up to."""

SHOWN = 2000
"""Pairs that are drawn."""


def integers() -> Drawing:
    """Neighbouring codes of one weight, and where their products fit 16 bits in pairs."""
    drawing = Drawing("Pairs of neighbouring 8-bit weights, and which of them are safe", 860, 400)
    across = Axis("first weight of a pair", -128, 128, 70, 370, 64)
    up = Axis("second weight", -128, 128, 350, 50, 64)
    drawing.axes(across, up)
    pairs = in_pairs(widest_codes()).reshape(-1, 2)
    over = excess(pairs) != 0
    some = np.linspace(0, len(pairs) - 1, SHOWN).astype(int)
    few, wide = pairs[some], over[some]
    for colour, chosen in ((SKY, few[~wide]), (ORANGE, few[wide])):
        drawing.dots([(across.at(a), up.at(b)) for a, b in chosen.tolist()], 1.5, colour)
    edge = [(SAFE, -SAFE), (SAFE, 0), (0, SAFE), (-SAFE, SAFE), (-SAFE, 0), (0, -SAFE)]
    for (a, b), (c, d) in pairwise([*edge, edge[0]]):
        drawing.line(across.at(a), up.at(b), across.at(c), up.at(d), BLUE, width=2)
    box = [(-63, -63), (63, -63), (63, 63), (-63, 63), (-63, -63)]
    for (a, b), (c, d) in pairwise(box):
        drawing.line(across.at(a), up.at(b), across.at(c), up.at(d), RED, width=2)
    drawing.key(410, 80, SKY, f"safe pairs: {float(1 - over.mean()):.1%}")
    drawing.key(410, 106, ORANGE, f"pairs that can saturate: {float(over.mean()):.1%}")
    drawing.key(410, 132, BLUE, "where pairs are safe: portable=true")
    drawing.key(410, 158, RED, "where weights of 7 bits lie")
    for place, options in enumerate(("portable=false", "portable=true", "portable=false,bits=7")):
        recipe, y = f"{PLAIN},{options}", 210 + 44 * place
        drawing.text(410, y, recipe, size=11)
        drawing.text(430, y + 16, f"{decibels(recipe):.1f} dB of the logits, exactly", size=12)
    return drawing


def widest_codes() -> Floats:
    """Codes (out, in) of the convolution with the most weights, in the order they are added up."""
    graph = made(f"{PLAIN},portable=false").model.graph
    codes = [v.const_value.numpy() for v in initializers(graph) if v.const_value is not None]
    convolutions = [array for array in codes if array.dtype == np.int8 and array.ndim == 4]
    largest = max(convolutions, key=lambda array: array.size)
    return PairLayout(largest.shape, (0, 2, 3, 1)).rows(largest.astype(np.float32))


PARTS = {
    "codes, indices or values": (BLUE, ("codes", "values")),
    "scales": (ORANGE, ("scale", "half", "widest")),
    "zeros": (RED, ("zero",)),
    "tables": (GREEN, ("table", "short", "step")),
    "mask": (PURPLE, ("mask",)),
}
STORED = (
    "weights:8", "weights:4", "weights:4,symmetric=false", "weights:4,block=32",
    "weights:4,block=32,scales=16", "weights:3", "palette:4", "palette:4,scaled=true",
    "palette:4,group=16", "palette:4,group=16,entry=8", "sparse:4,share=0.5",
)  # fmt: skip


def storage() -> Drawing:
    """The bytes of files by what they hold."""
    drawing = Drawing(
        "What the bytes of a file are: zoo:fashion, simplified, then one step", 860, 440
    )
    across = Axis("kB", 0, 500, 220, 640, 100)
    others = {"weights and biases left as floats": PALE, "graph: operators, names, shapes": BLACK}
    for place, recipe in enumerate(STORED):
        y, left = 56 + 24 * place, across.start
        drawing.text(212, y + 13, recipe, "end", 12)
        for colour, size in contents(recipe):
            width = across.at(size / 1000) - across.start
            drawing.box(left, y, width, 17, colour)
            left += width
        drawing.text(left + 6, y + 13, f"{made(recipe).after / 1000:.0f} kB", size=12)
    drawing.across(across, 60 + 24 * len(STORED))
    colours = {name: colour for name, (colour, _) in PARTS.items()} | others
    for place, (name, colour) in enumerate(colours.items()):
        x, y = 40 + 270 * (place % 3), 386 + 20 * (place // 3)
        drawing.key(x, y, colour, name)
    return drawing


def contents(recipe: str) -> list[tuple[str, int]]:
    """(colour, bytes) of what a file holds; they sum up to its size."""
    sizes = dict.fromkeys([*(colour for colour, _ in PARTS.values()), PALE], 0)
    by_part = {part: colour for colour, parts in PARTS.values() for part in parts}
    for value in initializers(made(recipe).model.graph):
        tensor = value.const_value
        assert tensor is not None
        colour = by_part.get(str(value.name).rsplit(".", 1)[-1])
        if colour or tensor.dtype.name == "FLOAT":
            sizes[colour or PALE] += tensor.nbytes
    return [*sizes.items(), (BLACK, made(recipe).after - sum(sizes.values()))]


def channels() -> Drawing:
    """Fidelity at every share of channels that go."""
    kinds = {
        "smallest weights, not fitted": ("importance=l2,refit=false", ORANGE),
        "smallest weights": ("importance=l2", SKY),
        "least added": ("importance=activation", RED),
        "reconstruction": ("importance=reconstruction", BLUE),
    }
    shares = (0.1, 0.25, 0.4, 0.55, 0.7)
    curves = [
        Curve(name, colour, [(s, decibels(f"channels,share={s},{options}")) for s in shares])
        for name, (options, colour) in kinds.items()
    ]
    across = Axis("share of channels that go", 0.1, 0.7, 70, 600, 0.1)
    up = Axis("dB of the logits", -5, 35, 330, 60, 5)
    return chart("Which channels go, and what is fitted to their loss", across, up, curves)


def low_rank() -> Drawing:
    """Fidelity at every share of the weights' bytes."""
    kinds = {
        "of the weights, equal shares": ("weighted=false,sensitive=false", ORANGE),
        "of the weights": ("weighted=false", SKY),
        "for the inputs, equal shares": ("sensitive=false", RED),
        "for the inputs": ("weighted=true", BLUE),
    }
    shares = (0.2, 0.35, 0.5, 0.65, 0.8)
    curves = [
        Curve(name, colour, [(s, decibels(f"lowrank,share={s},{options}")) for s in shares])
        for name, (options, colour) in kinds.items()
    ]
    across = Axis("share of the weights' bytes that stays", 0.2, 0.8, 70, 600, 0.1)
    up = Axis("dB of the logits", -5, 45, 330, 60, 5)
    return chart("Products of two weights, nearest to what", across, up, curves)


def distillation() -> Drawing:
    """Fidelity on images that were not learned from, by the number of steps."""
    kinds = {
        "palette:1": ORANGE,
        "palette:2": BLUE,
    }
    steps = (0, 20, 40, 80)
    curves = []
    for recipe, colour in kinds.items():
        points = [(0, decibels(recipe))]
        points += [(n, decibels(f"{recipe}+distill,steps={n},batch=16")) for n in steps[1:]]
        curves.append(Curve(recipe, colour, points))
    across = Axis("steps of 16 images", 0, 80, 70, 600, 10)
    up = Axis("dB of the logits", -5, 20, 330, 60, 5)
    return chart("Learned from 64 images, judged on others", across, up, curves)


FIGURES: dict[str, Callable[[], Drawing]] = {
    "grids": grids,
    "error-feedback": error_feedback,
    "mixed-widths": mixed_widths,
    "palettes": palettes,
    "sparse": sparse,
    "channels": channels,
    "low-rank": low_rank,
    "distillation": distillation,
    "equalization": equalization,
    "storage": storage,
    "integers": integers,
}


def main() -> None:
    """Draw the figures that are named."""
    parser = argparse.ArgumentParser(description="Draw the figures of docs/techniques.")
    parser.add_argument("figures", nargs="*", default=[*FIGURES], help="names; all by default")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write them to")
    given = parser.parse_args()
    for name in given.figures:
        if name not in FIGURES:
            parser.error(f"there is no figure '{name}'; there are {', '.join(FIGURES)}")
        path = given.out / f"{name}.svg"
        path.write_text(FIGURES[name]().svg(), "utf-8")
        print(path)


if __name__ == "__main__":
    main()
