"""Seeded mutations of tasks, recipes, budgets, device files, evaluations and databases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import onnx
from mutated_models import FLOATS, INTEGERS, NAMES

KINDS = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int32",
    "int64",
    "uint8",
    "bool",
    "complex64",
    "U5",
)
METRICS = (
    "top1",
    "top5",
    "top-1",
    "mae",
    "rmse",
    "pearson",
    "snr",
    "kl",
    "cosine",
    "f1",
    "agreement",
    "",
)


def arrays_for(model: onnx.ModelProto, samples: int = 6) -> dict[str, np.ndarray]:
    """Random arrays for the inputs of a model, and calibration samples."""
    draws = np.random.default_rng(0)
    stored = {tensor.name for tensor in model.graph.initializer}
    arrays = {}
    for info in model.graph.input:
        if info.name in stored:
            continue
        kind = info.type.tensor_type
        dims = [dim.dim_value or 1 for dim in kind.shape.dim][1:]
        for prefix in ("", "calibration_"):
            shape = (samples, *dims)
            values = (
                draws.integers(0, 8, shape) if kind.elem_type == 7 else draws.normal(size=shape)
            )
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            arrays[prefix + info.name] = values.astype(dtype)
    return arrays


def write_task(path: Path, arrays: dict[str, np.ndarray], random: Random | None = None) -> Path:
    """Write a task, mutated where a source of random numbers is given."""
    changed = dict(arrays)
    if random is not None:
        for _ in range(random.choice((1, 1, 2))):
            _change_arrays(changed, random)
    with np.errstate(all="ignore"):
        np.savez(path, **changed)
    if random is not None and random.random() < 0.15:
        damage_bytes(path, random)
    return path


def _change_arrays(arrays: dict[str, np.ndarray], random: Random) -> None:
    name = random.choice(list(arrays))
    array = arrays[name]
    kind = random.randrange(9)
    if kind == 0 and array.dtype.kind not in "USO":
        with np.errstate(all="ignore"):
            arrays[name] = array.real.astype(random.choice(KINDS))
    elif kind == 1:
        arrays[name] = array[..., None] if random.random() < 0.5 else array.reshape(-1)
    elif kind == 2:
        arrays[name] = array[: random.randrange(len(array) + 1)] if array.ndim else array
    elif kind == 3 and array.dtype.kind == "f" and array.size:
        changed = array.copy()
        changed.reshape(-1)[random.randrange(array.size)] = random.choice(FLOATS)
        arrays[name] = changed
    elif kind == 4:
        arrays[random.choice(NAMES).replace("/", "").replace("\x00", "") or "z"] = arrays.pop(name)
    elif kind == 5:
        targets = (
            np.arange(6), np.arange(6.0), np.array(list("abcdef")), np.array(-1), np.zeros((6, 0)),
            np.full(6, np.nan), np.full(6, 2**62), np.zeros(6, complex), np.arange(5),
        )  # fmt: skip
        arrays["target"] = random.choice(targets)
    elif kind == 6:
        arrays["metric"] = np.array(random.choice(METRICS))
    elif kind == 7:
        arrays["group_" + random.choice(("a", "", "target", "\x1b[1m"))] = np.array(
            [random.choice(NAMES) for _ in range(random.choice((6, 6, 3)))]
        )
    elif array.dtype.kind == "f":
        arrays[name] = array * array.dtype.type(random.choice((0.0, 1e30, 1e-40)))


def damage_bytes(path: Path, random: Random) -> None:
    """Change, cut or repeat some bytes of a file."""
    data = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 3, 20))):
        if data:
            data[random.randrange(len(data))] = random.randrange(256)
    if random.random() < 0.3:
        data = data[: random.randrange(len(data) + 1)]
    path.write_bytes(bytes(data))


RECIPES = (
    "simplify", "float16", "weights:8", "weights:4,block=32", "simplify+weights:4,rounding=gptq",
    "palette:4", "palette:3,mixed=4", "sparse:4,share=0.5", "static", "static,first=float",
    "simplify+static+weights:8", "dynamic", "equalize+weights:8", "quick8", "best4", "sparse4",
    "static,wide=auto", "weights:8,where=a|b", "palette:2,group=16", "weights:3,range=mse",
)  # fmt: skip
PIECES = (
    "damping", "block", "group", "per", "rounding", "range", "where", "skip", "wide", "mixed",
    "share", "run", "inputs", "bits", "bias", "target", "percentile", "search", "strength",
    "scales",
)  # fmt: skip
VALUES = (
    "gptq", "true", "false", "channel", "tensor", "mse", "0", "1", "-1", "2", "32", "1e308", "nan",
    "inf", "-inf", "1e-320", "0.5", "99999999999999999999", "", "%41", "%", ".*", "(a+)+$", "((((",
    "a{1000}{1000}", "(?=a)", "\\", "[", "auto", "float", "é",
)  # fmt: skip


def recipe_text(random: Random) -> str:
    """A recipe in short, mutated."""
    text = random.choice(RECIPES)
    for _ in range(random.choice((0, 1, 1, 2))):
        kind = random.randrange(4)
        if kind == 0:
            text += f",{random.choice(PIECES)}={random.choice(VALUES)}"
        elif kind == 1:
            text += f"+{random.choice(RECIPES)}"
        elif kind == 2 and text:
            at = random.randrange(len(text))
            text = text[:at] + random.choice(":,+= 8x%(") + text[at + 1 :]
        else:
            text = text.replace(random.choice(("8", "4", "weights", ":")), random.choice(VALUES), 1)
    return text


def recipe_file(folder: Path, random: Random) -> Path:
    """A recipe as TOML or JSON, mutated."""
    method = random.choice(("weights", "palette", "sparse", "static", "simplify", "nonsense"))
    options: dict[str, object] = {}
    for _ in range(random.randrange(3)):
        options[random.choice(PIECES)] = random.choice(
            (*VALUES, *INTEGERS, *FLOATS, True, [1], {"a": 1})
        )
    step = {"method": method, "where": random.choice(VALUES), "config": options}
    data: object = {
        "steps": [step] * random.choice((0, 1, 1, 2)),
        "seed": random.choice((0, 1, -1)),
    }
    if random.random() < 0.2:
        data = random.choice(
            ([], None, 3, "steps", {"steps": step}, {"steps": [[]]}, {"schema": 1})
        )
    path = folder / random.choice(("recipe.json", "recipe.toml"))
    if path.suffix == ".json":
        path.write_text(json.dumps(data), "utf-8")
    else:
        config = ", ".join(f"{key}={json.dumps(value)}" for key, value in options.items())
        path.write_text(
            f'[[steps]]\nmethod = "{method}"\nwhere = {json.dumps(step["where"])}\n'
            f"config = {{ {config} }}\n",
            "utf-8",
        )
    if random.random() < 0.2:
        damage_bytes(path, random)
    return path


def budget(random: Random) -> str:
    """A budget, mutated."""
    names = (
        "size", "download", "latency", "latency_p90", "peak_memory", "drop", "flips", "snr", "top1",
        "energy", "agreement", "worst_group_drop", "nonsense", "cosine", "",
    )  # fmt: skip
    number = random.choice(
        ("1", "0", "-1", "0.5", "1e308", "1e999", "nan", "5", "", "1e-300", "0x1")
    )
    unit = random.choice(("", "x", "%", "MB", "kB", "B", "ms", "s", "dB", "mJ", "points", "é"))
    return f"{random.choice(names)}{random.choice(('<=', '>=', '<', '=', ''))}{number}{unit}"


def mutate_text(text: str, random: Random) -> str:
    """A TOML or JSON text with lines or values changed."""
    lines = text.splitlines()
    for _ in range(random.choice((1, 1, 2, 4))):
        index = random.randrange(len(lines))
        kind = random.randrange(4)
        if kind == 0:
            del lines[index]
        elif kind == 1:
            lines.insert(index, random.choice(lines))
        elif "=" in lines[index] or ":" in lines[index]:
            sign = "=" if "=" in lines[index] else ":"
            name = lines[index].partition(sign)[0]
            value = random.choice(
                ("0", "-1", "1e308", "nan", "inf", '""', '"x"', "[]", "{}", "true", "1e-320",
                 str(2**70), '"\\u001b[31m"', "null", "[[1.0, 2.0]]")
            )  # fmt: skip
            lines[index] = f"{name}{sign} {value}" + ("," if sign == ":" else "")
        if not lines:
            lines = [""]
    return "\n".join(lines)


def mutate_database(path: Path, random: Random) -> None:
    """A project's database with rows, tables or bytes changed."""
    if random.random() < 0.3:
        damage_bytes(path, random)
        return
    with sqlite3.connect(path) as database:
        tables = [
            row[0] for row in database.execute("select name from sqlite_master where type='table'")
        ]
        table = random.choice(tables)
        columns = [row[1] for row in database.execute(f"pragma table_info('{table}')")]
        values = (None, "", "x", "{", "{}", "[]", b"\x00", 2**40, 1.5, '{"schema": "Variant/2"}')
        column = random.choice(columns)
        kind = random.randrange(4)
        try:
            if kind == 0:
                database.execute(
                    f"delete from '{table}' where rowid % 2 = ?", (random.randrange(2),)
                )
            elif kind == 1:
                database.execute(f"drop table '{table}'")
            elif kind == 2:
                database.execute(f"update '{table}' set '{column}' = ?", (random.choice(values),))
            else:
                database.execute(f"pragma user_version = {random.choice((0, 1, 99))}")
        except sqlite3.Error:
            return


Writer = Callable[[Path, Random], list[str]]
