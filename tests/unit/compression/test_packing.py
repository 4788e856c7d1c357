"""Packed codes, in NumPy and in the graph."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight.compression.encoding.functions import DOMAIN, add_unpack, add_unpack_signed
from packlight.compression.encoding.storage import pack_codes, packed_bytes, twos_complement
from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import open_session

WIDTHS = range(1, 8)


def unpack_codes(packed, bits, count):
    planes = np.unpackbits(packed, axis=1, bitorder="little").reshape(-1, bits)
    return np.packbits(planes, axis=1, bitorder="little")[:count, 0]


@given(st.sampled_from(list(WIDTHS)), st.integers(1, 200), st.integers(0, 99))
def test_unpacking_gives_back_what_was_packed_in_exactly_the_bytes_stated(bits, count, seed):
    codes = np.random.default_rng(seed).integers(0, 1 << bits, count).astype(np.uint8)

    packed = pack_codes(codes, bits)

    assert packed.nbytes == packed_bytes(count, bits)
    np.testing.assert_array_equal(unpack_codes(packed, bits, count), codes)


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("bits", WIDTHS)
def test_the_runtime_unpacks_every_code_at_every_place(bits, opset):
    codes = np.arange(1 << bits, dtype=np.uint8)
    codes = np.concatenate([np.roll(codes, shift) for shift in range(8)])
    packed = pack_codes(codes, bits)

    found = unpack(packed, add_unpack, ir.DataType.UINT8, opset)

    np.testing.assert_array_equal(found[: codes.size], codes)


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("bits", WIDTHS)
def test_the_runtime_unpacks_signed_codes_into_the_highest_bits(bits, opset):
    half = 1 << (bits - 1)
    codes = np.concatenate([np.roll(np.arange(-half, half), shift) for shift in range(8)])
    packed = pack_codes(twos_complement(codes.astype(np.float32), bits), bits)

    found = unpack(packed, add_unpack_signed, ir.DataType.INT8, opset)

    np.testing.assert_array_equal(found[: codes.size], codes * 2 ** (8 - bits))


def unpack(packed, add, kind, opset):
    """Codes that a model unpacks from what it is given, in a row."""
    x = ir.val("x", ir.DataType.UINT8, packed.shape)
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": opset}, name="unpacker")
    model = ir.Model(graph, ir_version=10)
    node = ir.node(add(model), [x], domain=DOMAIN)
    graph.append(node)
    y = node.outputs[0]
    y.name, y.type, y.shape = "y", ir.TensorType(kind), ir.Shape([len(packed), 8])
    graph.outputs.append(y)
    return open_session(Model(model, "unpacker"), SessionOptions()).run({"x": packed})["y"].ravel()
