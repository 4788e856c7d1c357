"""Sums of 8-bit products as x86 processors without VNNI add them up: in pairs held in 16 bits.

``vpmaddubsw`` multiplies unsigned codes with signed weights and adds neighbouring products along
the inputs, the first with the second, the third with the fourth; what leaves 16 bits becomes the
nearest number that does not. ``vpmaddwd`` adds such pairs in 32 bits, where they have room.
Source: Intel's manual of instructions; the kernels QgemmU8S8, QgemvU8S8 and ConvSym for AVX2 and
AVX512 of ONNX Runtime's MLAS, all of which pair neighbours from the first input on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Weights = NDArray[np.int8]
Integers = NDArray[np.int32]
Mask = NDArray[np.bool_]

LOW, HIGH = -(2**15), 2**15 - 1
"""What 16 bits hold."""

LARGEST = 255
"""Largest code of an activation."""

MOST_POSITIVE, MOST_NEGATIVE = HIGH // LARGEST, -(-LOW // LARGEST)
"""What the weights of a pair may sum up to without ever leaving 16 bits: 128 and -128."""


def in_pairs(weight: Weights) -> Integers:
    """A weight (in, out) as pairs (ceil(in / 2), 2, out); an odd input is paired with zero."""
    wide = np.pad(weight.astype(np.int32), ((0, len(weight) % 2), (0, 0)))
    return wide.reshape(-1, 2, weight.shape[1])


def risky(weight: Weights) -> Mask:
    """Which pairs of neighbours leave 16 bits for some codes.

    The worst codes are 255 for weights of one sign and 0 for those of the other.

    Args:
        weight: (in, out).

    Returns:
        (ceil(in / 2), out).
    """
    pairs = in_pairs(weight)
    above = np.maximum(pairs, 0).sum(axis=1) > MOST_POSITIVE
    below = np.minimum(pairs, 0).sum(axis=1) < MOST_NEGATIVE
    return np.asarray(above | below)


def losses(codes: Codes, weight: Weights) -> Iterator[tuple[NDArray[np.intp], Integers]]:
    """What saturation changes, pair after pair.

    Args:
        codes: (n, in).
        weight: (in, out).

    Yields:
        Outputs for which a pair can saturate (m,), and what is added to their sums (n, m).
    """
    pairs, wide = in_pairs(weight), np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
    for place, outputs in enumerate(risky(weight)):
        if outputs.any():
            chosen = np.flatnonzero(outputs)
            two = wide[:, 2 * place : 2 * place + 2].astype(np.int32)
            sums: Integers = two @ pairs[place][:, chosen]
            yield chosen, np.clip(sums, LOW, HIGH) - sums


def lost(codes: Codes, weight: Weights) -> tuple[Integers, Integers]:
    """What saturation changes in every sum, and how many of its pairs saturate, (n, out) each."""
    change = np.zeros((len(codes), weight.shape[1]), np.int32)
    count = np.zeros_like(change)
    for outputs, part in losses(codes, weight):
        change[:, outputs] += part
        count[:, outputs] += part != 0
    return change, count


def exact_product(codes: Codes, weight: Weights) -> Integers:
    """The product without saturation; float64 holds such sums exactly."""
    return np.asarray(codes.astype(np.float64) @ weight.astype(np.float64)).astype(np.int32)


def saturated_product(codes: Codes, weight: Weights) -> Integers:
    """The product (n, out) of codes (n, in) and weights (in, out) as these processors compute it.

    Zero points are taken off such sums afterwards, exactly: what multiplies a code is the stored
    weight, and what multiplies a weight is the stored code, in padding the zero point's.
    """
    return exact_product(codes, weight) + lost(codes, weight)[0]
