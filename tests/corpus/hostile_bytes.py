"""Damage that knows nothing of the format: what disks, downloads and editors do to a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from small_models import fashion, plain, write

Random = np.random.Generator
Content = Callable[[], bytes]


def tiny() -> bytes:
    """The plain model's file."""
    return plain().SerializeToString()


def regions(content: bytes) -> dict[str, np.ndarray]:
    """Positions of the bytes of the head, the graph and the weights."""
    proto = onnx.load_from_string(content)
    kinds = np.full(len(content), 1)
    for tensor in proto.graph.initializer:
        start = content.find(tensor.raw_data)
        kinds[start : start + len(tensor.raw_data)] = 2
    start = content.find(proto.graph.SerializeToString())
    head = start if start > 0 else 64
    kinds[:head] = 0
    return {name: np.flatnonzero(kinds == i) for i, name in enumerate(("head", "graph", "weights"))}


def cut(source: Content, share: tuple[float, float]) -> Callable[[Path, Random], Path]:
    """Keep a share of the file, from a range."""

    def build(folder: Path, random: Random) -> Path:
        content = source()
        return write(folder, content[: max(1, int(len(content) * random.uniform(*share)))])

    return build


def flipped(source: Content, region: str, bits: int) -> Callable[[Path, Random], Path]:
    """Flip bits at random places of a region."""

    def build(folder: Path, random: Random) -> Path:
        content = bytearray(source())
        for place in random.choice(regions(bytes(content))[region], bits):
            content[place] ^= 1 << int(random.integers(8))
        return write(folder, bytes(content))

    return build


def patched(
    source: Content, change: Callable[[bytes, int, Random], bytes]
) -> Callable[[Path, Random], Path]:
    """Change a stretch that starts at a random place."""

    def build(folder: Path, random: Random) -> Path:
        content = source()
        return write(folder, change(content, int(random.integers(len(content))), random))

    return build


def zeroed(content: bytes, start: int, random: Random) -> bytes:
    """A sector of zeros."""
    return content[:start] + bytes(512) + content[start + 512 :]


def dropped(content: bytes, start: int, random: Random) -> bytes:
    """A few bytes lost."""
    return content[:start] + content[start + int(random.integers(1, 40)) :]


def inserted(content: bytes, start: int, random: Random) -> bytes:
    """A few bytes too many."""
    return content[:start] + random.bytes(int(random.integers(1, 40))) + content[start:]


def scrambled(content: bytes, start: int, random: Random) -> bytes:
    """A stretch of noise."""
    return content[:start] + random.bytes(64) + content[start + 64 :]


def as_text(content: bytes, start: int, random: Random) -> bytes:
    """Sent as text: line ends converted."""
    return content.replace(b"\n", b"\r\n")


def twice(content: bytes, start: int, random: Random) -> bytes:
    """Two files in one, which protobuf merges."""
    return content + content


CUT = {
    **{f"{s:.0%} of the classifier": cut(fashion, (s, s + 0.04)) for s in np.arange(0, 0.96, 0.08)},
    **{f"{s:.0%} of a tiny model": cut(tiny, (s, s + 0.1)) for s in np.arange(0.1, 0.85, 0.25)},
    "all but one byte": cut(fashion, (0.9999995, 0.9999996)),
}

HEADER = {
    **{f"classifier, {n}": flipped(fashion, "head", 1 + n) for n in range(3)},
    **{f"tiny model, {n}": flipped(tiny, "head", 1 + n) for n in range(3)},
}

GRAPH = {
    **{f"classifier, {n}": flipped(fashion, "graph", 1 + n % 4) for n in range(6)},
    **{f"tiny model, {n}": flipped(tiny, "graph", 1 + n % 4) for n in range(6)},
}

WEIGHTS = {f"{2**n} bits": flipped(fashion, "weights", 2**n) for n in (0, 6, 12)}

PATCHED = {
    "zeroed": patched(fashion, zeroed),
    "dropped": patched(fashion, dropped),
    "dropped in a tiny model": patched(tiny, dropped),
    "inserted": patched(fashion, inserted),
    "inserted in a tiny model": patched(tiny, inserted),
    "scrambled": patched(fashion, scrambled),
    "scrambled tiny model": patched(tiny, scrambled),
    "sent as text": patched(fashion, as_text),
    "written twice": patched(tiny, twice),
}
