"""Digests of samples, by which data are told apart."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from packlight.runtime.calls import Steps

FINGERPRINT_BYTES = 16


def fingerprint(steps: Steps) -> bytes:
    """A digest of a sample: names, types, shapes and numbers of every call."""
    total = hashlib.blake2b(digest_size=FINGERPRINT_BYTES)
    for feeds in steps:
        for name in sorted(feeds):
            total.update(array_bytes(name, np.asarray(feeds[name])))
        total.update(b"|")
    return total.digest()


def array_bytes(name: str, array: NDArray[np.generic]) -> bytes:
    """Content of an array under a name."""
    head = f"{name}:{array.dtype.name}:{array.shape}:".encode()
    if array.dtype.kind in "OU":
        return head + "\0".join(map(str, array.reshape(-1).tolist())).encode()
    return head + array.tobytes()
