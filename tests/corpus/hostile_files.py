"""Paths that are no models, and weights in files that must not be read."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from small_models import info, model, node, plain, weight, write

Random = np.random.Generator
Build = Callable[[Path, Random], Path]

CANARY = np.float32(41414.25).tobytes()
"""Four bytes that stand for a secret; as a weight of the plain model it would show in results."""

WEIGHT_BYTES = 64


def holding(content: bytes | Callable[[], bytes]) -> Build:
    """A file of these bytes."""

    def build(folder: Path, random: Random) -> Path:
        return write(folder, content if isinstance(content, bytes) else content())

    return build


def zipped() -> bytes:
    """A zip that holds a model."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(zipfile.ZipInfo("model.onnx"), plain().SerializeToString())
    return held.getvalue()


def arrays() -> bytes:
    """An npz."""
    held = io.BytesIO()
    np.savez(held, x=np.zeros((3, 4), np.float32))
    return held.getvalue()


def picture() -> bytes:
    """A PNG of one pixel."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\0")),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def noise(folder: Path, random: Random) -> Path:
    """Random bytes."""
    return write(folder, random.bytes(5000))


def sparse(folder: Path, random: Random) -> Path:
    """A file of 3 GB that takes no space, larger than protobuf can read."""
    path = write(folder, plain())
    os.truncate(path, 3 * 2**30)
    return path


def holes(folder: Path, random: Random) -> Path:
    """A model followed by 200 MB of zeros."""
    path = write(folder, plain())
    os.truncate(path, 200 * 2**20)
    return path


NO_MODEL: dict[str, Build] = {
    "nothing": holding(b""),
    "one byte": holding(b"\x08"),
    "wrong magic": holding(lambda: b"ONNX" + plain().SerializeToString()),
    "a text": holding(b"This is not a model.\n" * 50),
    "a page": holding(b"<!DOCTYPE html><html><title>404 Not Found</title></html>\n"),
    "a pointer of a large file": holding(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1703995\n"
    ),
    "an archive": holding(zipped),
    "arrays": holding(arrays),
    "a picture": holding(picture),
    "a pickle": holding(b"cos\nsystem\n(S'echo unpickled'\ntR."),
    "ones": holding(b"\xff" * 10_000),
    "noise": noise,
    "a length of 2**63": holding(b"\x08\x08\x3a" + b"\xff" * 8 + b"\x7f"),
    "only a version": holding(b"\x08\x08"),
    "3 GB of holes": sparse,
    "200 MB of holes": holes,
}


def absent(folder: Path, random: Random) -> Path:
    """A path of nothing."""
    return folder / "model.onnx"


def a_folder(folder: Path, random: Random) -> Path:
    """A folder whose name is a model's."""
    (folder / "model.onnx").mkdir()
    return folder / "model.onnx"


def a_pipe(folder: Path, random: Random) -> Path:
    """A pipe that nobody writes to."""
    os.mkfifo(folder / "model.onnx")
    return folder / "model.onnx"


def linked(target: str) -> Build:
    """A link."""

    def build(folder: Path, random: Random) -> Path:
        (folder / "model.onnx").symlink_to(target)
        return folder / "model.onnx"

    return build


def unreadable(folder: Path, random: Random) -> Path:
    """A file of somebody else; root, who reads everything, gets a folder below a file instead."""
    path = write(folder, plain())
    if os.geteuid() == 0:
        return path / "model.onnx"
    path.chmod(0)
    return path


NO_FILE: dict[str, Build] = {
    "nothing there": absent,
    "a folder": a_folder,
    "a pipe": a_pipe,
    "a device without end": linked("/dev/zero"),
    "a link to nothing": linked("nothing"),
    "a link to itself": linked("model.onnx"),
    "no right to read": unreadable,
    "a name too long": lambda folder, random: folder / ("m" * 300 + ".onnx"),
}


def outside(entries: dict[str, str], tensor: TensorProto | None = None) -> TensorProto:
    """A stored matrix (4, 4) that says where its bytes are."""
    placed = weight() if tensor is None else tensor
    placed.ClearField("raw_data")
    placed.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        placed.external_data.add(key=key, value=value)
    return placed


def reading(tensor: TensorProto) -> onnx.ModelProto:
    """A model whose result shows its weights: y = x + row sums of w."""
    nodes = [node("ReduceMax", ["w"], ["m"], axes=[0], keepdims=0), node("Add", ["x", "m"], ["y"])]
    return model(nodes, [tensor])


def secret(folder: Path) -> Path:
    """A readable file beside the model's folder, as long as the weights that ask for it."""
    path = folder.parent / f"{folder.name}-secret.bin"
    path.write_bytes(CANARY * (WEIGHT_BYTES // len(CANARY)))
    return path


def escape(location: Callable[[Path], str], prepare: Callable[[Path], object] = secret) -> Build:
    """A model whose weights lie at a location outside."""

    def build(folder: Path, random: Random) -> Path:
        prepare(folder)
        return write(folder, reading(outside({"location": location(folder)})))

    return build


def link_to(make: Callable[[Path], Path]) -> Callable[[Path], None]:
    """A link in the model's folder."""
    return lambda folder: (folder / "weights").symlink_to(make(folder))


def in_attribute(folder: Path, random: Random) -> Path:
    """A Constant whose value lies outside."""
    value = outside({"location": f"../{secret(folder).name}"})
    return write(folder, model([node("Constant", [], ["w"], value=value), *READ]))


def in_body(folder: Path, random: Random) -> Path:
    """Weights outside, in the body of an If."""
    tensor = outside({"location": f"../{secret(folder).name}"})
    body = helper.make_graph([node("Identity", ["w"], ["b"])], "b", [], [info("b", 1, [4, 4])])
    body.initializer.append(tensor)
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    outer = node("If", ["c"], ["r"], then_branch=body, else_branch=body)
    return write(folder, model([outer, node("Gemm", ["x", "r"], ["y"])], [condition]))


def in_function(folder: Path, random: Random) -> Path:
    """A Constant outside, in a function of the model."""
    value = outside({"location": f"../{secret(folder).name}"})
    inner = [node("Constant", [], ["w"], value=value), node("Gemm", ["a", "w"], ["b"])]
    imports = [helper.make_opsetid("", 17)]
    made = helper.make_function("own", "F", ["a"], ["b"], inner, imports)
    proto = model([node("F", ["x"], ["y"], domain="own")])
    proto.functions.append(made)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    return write(folder, proto)


def in_sparse(folder: Path, random: Random) -> Path:
    """Values of a sparse tensor outside."""
    values = outside({"location": f"../{secret(folder).name}"})
    values.dims[:] = [16]
    indices = helper.make_tensor("i", TensorProto.INT64, [16], list(range(16)))
    proto = model(READ)
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 4]))
    return write(folder, proto)


def beside_function(folder: Path, random: Random) -> Path:
    """A Constant in the right folder, in a function of the model: looked for where one stands."""
    (folder / "w.bin").write_bytes(bytes(WEIGHT_BYTES))
    path = in_function(folder, random)
    proto = onnx.load(path, load_external_data=False)
    proto.functions[0].node[0].attribute[0].t.external_data[0].value = "w.bin"
    return write(folder, proto)


def as_strings(folder: Path, random: Random) -> Path:
    """Strings outside, which no file can hold."""
    tensor = outside({"location": f"../{secret(folder).name}"})
    tensor.data_type = TensorProto.STRING
    return write(folder, model([node("Identity", ["x"], ["y"])], [tensor]))


READ = [node("ReduceMax", ["w"], ["m"], axes=[0], keepdims=0), node("Add", ["x", "m"], ["y"])]

ESCAPING: dict[str, Build] = {
    "the password file": escape(lambda folder: "../" * 30 + "etc/passwd"),
    "the password file by its full path": escape(lambda folder: "/etc/passwd"),
    "a file beside the folder": escape(lambda folder: f"../{folder.name}-secret.bin"),
    "a file by its full path": escape(lambda folder: str(secret(folder))),
    "in and out again": escape(lambda folder: f"a/../../{folder.name}-secret.bin"),
    "through a link": escape(lambda folder: "weights", link_to(secret)),
    "through a linked folder": escape(
        lambda folder: f"weights/{secret(folder).name}", link_to(lambda folder: folder.parent)
    ),
    "memory of the process": escape(lambda folder: "/proc/self/mem"),
    "a value in an operator": in_attribute,
    "a body": in_body,
    "a function": in_function,
    "sparse values": in_sparse,
    "strings": as_strings,
    "a home folder": escape(lambda folder: "~/.profile"),
}


def placed(prepare: Callable[[Path], object] = lambda folder: None, **entries: str) -> Build:
    """A model whose weights lie at a place that does not hold them."""

    def build(folder: Path, random: Random) -> Path:
        (folder / "w.bin").write_bytes(bytes(WEIGHT_BYTES))
        prepare(folder)
        return write(folder, reading(outside({"location": "w.bin", **entries})))

    return build


MISPLACED: dict[str, Build] = {
    "missing": placed(location="gone.bin"),
    "no location": placed(location=""),
    "an offset past the end": placed(offset="64"),
    "an offset below zero": placed(offset="-64"),
    "an absurd offset": placed(offset=str(10**30)),
    "an offset that is no number": placed(offset="first"),
    "a length below zero": placed(length="-64"),
    "an absurd length": placed(length=str(2**62)),
    "a number too long to read": placed(length="9" * 5000),
    "a location with a zero byte": placed(location="w\0.bin"),
    "a location too long": placed(location="w" * 5000),
    "a folder": placed(location="."),
    "a pipe": placed(lambda folder: os.mkfifo(folder / "pipe"), location="pipe"),
    "a device": placed(lambda folder: (folder / "z").symlink_to("/dev/zero"), location="z"),
    "a function": beside_function,
    "a file cut short": placed(lambda folder: os.truncate(folder / "w.bin", 63)),
    "a name in bytes": placed(location="\udc80".encode("utf-8", "replace").decode() + ".bin"),
}
