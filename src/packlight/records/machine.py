"""The machine that a measurement was taken on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides how fast and how exactly a model runs here.

    Attributes:
        system: operating system and its release.
        processor: name of the CPU.
        architecture: as ``x86_64`` or ``arm64``.
        cores: that this process may use.
        memory: bytes of RAM.
        features: instruction sets that matter to inference, sorted.
        saturates: whether 8-bit products of ONNX Runtime saturate here: x86 without VNNI.
        python: version.
        onnxruntime: version.
    """

    VERSION: ClassVar[int] = 1

    system: str
    processor: str
    architecture: str
    cores: int
    memory: int
    features: tuple[str, ...]
    saturates: bool
    python: str
    onnxruntime: str
