"""Codes of 1 to 7 bits packed into bytes.

Eight codes of b bits fill b bytes, the first code in the lowest bits. The graph takes each code out
of the two bytes it may lie in by Gather, BitShift and BitwiseAnd: ``functions.add_unpack``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

CODES_PER_RUN = 8
WIDTHS = range(1, 8)


def packed_bytes(count: int, bits: int) -> int:
    """Bytes of so many codes.

    >>> packed_bytes(9, 3)
    6
    """
    return -(-count // CODES_PER_RUN) * bits


def pack_codes(codes: Bytes, bits: int) -> Bytes:
    """Codes (any shape), each below 2^bits, as bytes (count / 8 rounded up, bits)."""
    flat = codes.ravel()
    padded = np.zeros(-(-flat.size // CODES_PER_RUN) * CODES_PER_RUN, np.uint8)
    padded[: flat.size] = flat
    planes = np.unpackbits(padded[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(planes.reshape(-1, CODES_PER_RUN * bits), axis=1, bitorder="little")


def unpack_codes(packed: Bytes, bits: int, count: int) -> Bytes:
    """The first ``count`` codes that ``pack`` packed."""
    planes = np.unpackbits(packed, axis=1, bitorder="little").reshape(-1, bits)
    return np.packbits(planes, axis=1, bitorder="little")[:count, 0]
