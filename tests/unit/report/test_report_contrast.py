"""What changed, why, and what is known: as the page tells it."""

import base64
import dataclasses
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from packlight.records import (
    Advice,
    Contrast,
    Finding,
    GroupContrast,
    Measurement,
    Moved,
    Outcome,
    Shift,
    Slice,
    SourceLine,
    WorstGroup,
    canonical,
    counted,
    loads,
)
from packlight.report.page import page
from packlight.report.pictures import picture, pixels

HOSTILE = "</p><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00"
VOID = {"meta", "link", "br", "wbr", "img"}


class Document(HTMLParser):
    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text, self.stray = [], [], "", []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.stray.append(tag)

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += f" {data}"

    def attributes(self, tag):
        return [found for name, found in self.elements if name == tag]


def measured(value, half=0.01, unit="1", n=5000):
    return Measurement(value, unit, value - half, value + half, "measured", n)


def group(name, drop, standing, n=500):
    return GroupContrast("class", name, n, measured(drop, n=n), 0.01, 0.02, measured(drop - 0.1),
                         0.001, 0.004, 0.05, standing)  # fmt: skip


def contrast_of(variant, name="Shirt"):
    return Contrast(
        variant=variant, reference="0" * 12, metric="top1", form="classes", n=5000,
        drop=measured(0.1234), p=1e-9, test="exact McNemar test", detectable=0.0068,
        level={"top1": Shift(measured(0.93), measured(0.807), measured(-0.1234))},
        rates={"lost": measured(0.15), "won": measured(0.027), "churn": measured(0.2)},
        rates_p=0.2, rates_test="exact McNemar test",
        groups=(group(name, 0.41, "harder"), group("Bag", 0.01, "lighter"),
                group("Coat", 0.1, "alike"), group("Rare", 0.9, "too small", n=7)),
        worst=WorstGroup("class", name, measured(0.41, 0.05)),
        slices=(Slice(f"class = {name} and input_mean > 0.4", 120, measured(0.5), measured(0.4),
                      0.0001, 0.0004, 0.5),),
        trust={"calibration_error": Shift(measured(0.033), measured(0.153), measured(0.12))},
        distance="Jensen-Shannon",
        moved=(Moved(17, 0.62, "6", "0", "lost"), Moved(4021, 0.5, name, name, "same")),
        notes=("1 of 4 groups have fewer than 30 samples and are not judged",),
    )  # fmt: skip


@pytest.fixture
def told(fits):
    """An outcome with all that a page can tell."""
    finding = Finding(
        "not-enough-bits", "serious", "quality", "the grids of 'conv1' are too coarse",
        operator="conv1", evidence={"snr": measured(5.8, unit="dB"), "bits": counted(3)},
        next_step="give it more bits", source=SourceLine("net.py", 12, "blocks.0"),
    )  # fmt: skip
    lesson = Advice("groups-suffer", "Damage is spread unevenly.", "Somebody et al.",
                    "the worst group loses most", measured(0.41))  # fmt: skip
    return dataclasses.replace(
        fits, contrasts=(contrast_of(fits.best),), findings=(finding,), lessons=(lesson,)
    )


IMAGES = {17: [{"x": np.arange(784, dtype=np.uint8).reshape(1, 1, 28, 28)}],
          4021: [{"x": np.zeros((1, 1, 28, 28), np.uint8)}]}  # fmt: skip


def test_the_page_tells_for_whom_how_surely_why_and_what_is_known(told):
    document = Document(page(told, "t", IMAGES))
    text = " ".join(document.text.split())

    assert (document.open, document.stray) == ([], [])
    for words in (
        "top1 drop: 12.3 points", "p < 0.001 (exact McNemar test)", "right before, wrong now",
        "Worst group: class = Shirt, drop 41 points", "class = Bag", "hit lighter",
        "class = Shirt and input_mean > 0.4", "calibration error", "Jensen-Shannon divergence",
        "Sample 4,021", "6 → 0", "not-enough-bits", "serious", "12 blocks.0",
        "give it more bits", "Damage is spread unevenly.", "Somebody et al.",
        "Here the worst group loses most (41",
    ):  # fmt: skip
        assert words in text, words
    assert "class = Coat" not in text, "groups like the rest are in the table of all groups alone"


def test_groups_that_all_lose_alike_are_said_to(told):
    found = told.contrasts[0]
    alike = dataclasses.replace(found, groups=found.groups[2:], worst=None)
    text = page(dataclasses.replace(told, contrasts=(alike,)), "t")

    assert "None of 1 groups loses significantly more or less than the rest." in text


def test_inputs_are_drawn_beside_the_samples_that_changed_most_and_run_nothing(told):
    document = Document(page(told, "t", IMAGES))
    sources = [found["src"] for found in document.attributes("img")]

    assert len(sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(found["alt"] for found in document.attributes("img"))
    scripts = document.attributes("script")
    assert [found["type"] for found in scripts] == ["application/json"]


def test_the_record_of_the_page_reads_back_whole(told):
    assert loads(Outcome, canonical(told)) == told


def test_no_text_of_a_contrast_a_finding_or_a_lesson_becomes_markup(told):
    finding = dataclasses.replace(
        told.findings[0], cause=HOSTILE, sentence=HOSTILE, next_step=HOSTILE,
        evidence={HOSTILE: counted(1)}, source=SourceLine(HOSTILE, 1, HOSTILE),
    )  # fmt: skip
    lesson = Advice(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    spoiled = dataclasses.replace(
        told, contrasts=(contrast_of(told.best, HOSTILE),), findings=(finding,), lessons=(lesson,)
    )
    texts = {4021: [{"x": np.array([HOSTILE])}]}
    document, plain = Document(page(spoiled, "t", texts)), Document(page(told, "t"))

    assert (document.open, document.stray) == ([], [])
    assert document.attributes("img") == []
    assert len(document.attributes("script")) == 1
    assert {tag for tag, _ in document.elements} <= {tag for tag, _ in plain.elements} | {"code"}


def decoded(html):
    """Pixels of the PNG in a page, by the letter of its format."""
    data = base64.b64decode(html.partition("base64,")[2].partition('"')[0])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, rest = {}, data[8:]
    while rest:
        (size,) = struct.unpack(">I", rest[:4])
        tag, body = rest[4:8], rest[8 : 8 + size]
        assert struct.unpack(">I", rest[8 + size : 12 + size]) == (zlib.crc32(tag + body),)
        chunks[tag], rest = body, rest[12 + size :]
    width, height, depth, kind, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    colours = {0: 1, 2: 3}[kind]
    assert depth == 8
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, colours)


@pytest.mark.parametrize("shape", [(1, 1, 12, 9), (12, 9), (1, 3, 12, 9), (1, 12, 9, 3)])
def test_an_image_is_drawn_as_it_is_with_its_lowest_number_black(shape):
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    wanted = pixels(np.squeeze(image))

    seen = decoded(picture([{"x": image}]))

    np.testing.assert_array_equal(seen, wanted)
    assert (seen.min(), seen.max()) == (0, 255)
    order = np.moveaxis(image[0], 0, 2) if shape == (1, 3, 12, 9) else image.reshape(seen.shape)
    np.testing.assert_allclose(np.corrcoef(order.ravel(), seen.ravel())[0, 1], 1, atol=1e-4)


def test_a_large_image_is_thinned_and_one_of_one_colour_is_black():
    assert max(decoded(picture([{"x": np.ones((1, 3, 500, 300), np.float32)}])).shape) <= 112
    assert not decoded(picture([{"x": np.ones((1, 3, 500, 300), np.float32)}])).any()


def test_sound_is_drawn_over_all_calls_and_what_is_neither_is_told_in_numbers():
    steps = [{"x": np.sin(np.arange(512) / 9, dtype=np.float32)[None]} for _ in range(4)]
    assert "2,048 numbers in order" in picture(steps)
    assert "5, 6, 7" in picture([{"ids": np.array([[5, 6, 7]])}])
    assert "... (40)" in picture([{"ids": np.arange(40)}])
    assert "0.5, 1.5" in picture([{"x": np.array([0.5, 1.5])}])
    assert picture([]) == ""
    assert "nan" in picture([{"x": np.full((9, 9), np.nan)}])
