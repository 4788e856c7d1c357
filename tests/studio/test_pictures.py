"""Inputs of samples are drawn as what they look like."""

import base64
import struct
import zlib

import numpy as np
import pytest

from packlight.report.pictures import pixels
from packlight.studio.pictures import picture_of


def decoded(picture):
    """Pixels of a drawn image, by the PNG specification."""
    assert picture.kind == "image"
    data = base64.b64decode(picture.source.partition("base64,")[2])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, rest = {}, data[8:]
    while rest:
        size = int.from_bytes(rest[:4], "big")
        tag, body = rest[4:8], rest[8 : 8 + size]
        assert struct.unpack(">I", rest[8 + size : 12 + size]) == (zlib.crc32(tag + body),)
        chunks[tag], rest = body, rest[12 + size :]
    width, height, depth, kind, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, width, height) == (8, picture.width, picture.height)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, {0: 1, 2: 3}[kind])


@pytest.mark.parametrize("shape", [(1, 1, 12, 9), (12, 9), (1, 3, 12, 9), (1, 12, 9, 3)])
def test_an_image_is_drawn_as_it_is_with_its_lowest_number_black(shape):
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    seen = decoded(picture_of([{"x": image}]))

    np.testing.assert_array_equal(seen, pixels(np.squeeze(image)))
    assert (seen.min(), seen.max()) == (0, 255)
    order = np.moveaxis(image[0], 0, 2) if shape == (1, 3, 12, 9) else image.reshape(seen.shape)
    np.testing.assert_allclose(np.corrcoef(order.ravel(), seen.ravel())[0, 1], 1, atol=1e-4)


def test_a_large_image_is_thinned_and_one_of_one_color_is_black():
    drawn = decoded(picture_of([{"x": np.ones((1, 3, 500, 300), np.float32)}]))

    assert max(drawn.shape) <= 112
    assert not drawn.any()


def test_sound_is_drawn_over_all_calls_and_what_is_neither_is_told_in_numbers():
    steps = [{"x": np.sin(np.arange(512) / 9, dtype=np.float32)[None]} for _ in range(4)]
    wave = picture_of(steps)
    assert wave.kind == "wave"
    assert wave.text == "2,048 numbers in order"
    assert len(wave.points) == 2 * wave.width
    assert max(wave.points) <= 1
    assert "5, 6, 7" in picture_of([{"ids": np.array([[5, 6, 7]])}]).text
    assert "... (40)" in picture_of([{"ids": np.arange(40)}]).text
    assert "0.5, 1.5" in picture_of([{"x": np.array([0.5, 1.5])}]).text
    assert picture_of([]).text == "no input"
    assert "nan" in picture_of([{"x": np.full((9, 9), np.nan)}]).text
