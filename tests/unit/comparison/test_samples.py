"""The table of single samples: what went in comes out of the file, to the last digit."""

import csv
import importlib.util
import json

import numpy as np
import pytest

from packlight.comparison import check_format, write_samples
from packlight.errors import InputError
from packlight.task import SampleTable


def table(n=4, several=False, **more):
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(n), 2) if several else np.arange(n)
    m = len(owner)
    return SampleTable(
        rng.random((n, 2)), rng.integers(0, 9, m), rng.random(m) < 0.5, owner, rng.random(m), **more
    )


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_come_back_as_they_were(tmp_path):
    values = np.array([1 / 3, np.nan, 1e-300, 7.0])
    one, other = table(), table(fidelity={"kl": np.random.default_rng(1).random((4, 2))},
                                samples={"divergence": values})  # fmt: skip

    write_samples(tmp_path / "s.csv", {"a": one, "b": other}, {"light": list("xyxy")}, "top1")

    rows = read(tmp_path / "s.csv")
    assert [row["model"] for row in rows] == ["a"] * 4 + ["b"] * 4
    assert [row["group_light"] for row in rows] == list("xyxyxyxy")
    assert [float(row["top1_1"]) for row in rows[:4]] == one.rows[:, 1].tolist()
    assert [row["decision"] for row in rows[:4]] == [str(d) for d in one.decisions]
    assert [row["right"] for row in rows[:4]] == [str(bool(r)) for r in one.right]
    assert [row["divergence"] for row in rows[:4]] == [""] * 4
    assert [row["divergence"] for row in rows[4:]] == ["0.3333333333333333", "", "1e-300", "7.0"]
    assert [float(row["kl_0"]) for row in rows[4:]] == other.fidelity["kl"][:, 0].tolist()


def test_several_decisions_of_a_sample_are_a_list(tmp_path):
    found = table(several=True)

    write_samples(tmp_path / "s.csv", {"a": found}, {}, "top1")

    rows = read(tmp_path / "s.csv")
    kept = [json.loads(row["confidence"]) for row in rows]
    assert np.concatenate(kept).tolist() == found.confidence.tolist()
    assert [len(json.loads(row["right"])) for row in rows] == [2] * 4


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="pyarrow is there")
def test_parquet_without_pyarrow_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="needs pyarrow, which is not installed"):
        check_format(tmp_path / "s.parquet")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
def test_parquet_holds_what_csv_holds(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_samples(tmp_path / "s.parquet", {"a": table()}, {}, "top1")
    write_samples(tmp_path / "s.csv", {"a": table()}, {}, "top1")
    found = parquet.read_table(tmp_path / "s.parquet").to_pylist()
    assert [{key: str(cell) for key, cell in row.items()} for row in found] == read(
        tmp_path / "s.csv"
    )


def test_other_kinds_of_files_and_places_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"is OUT.csv or OUT.parquet; got '.*s.xlsx'"):
        check_format(tmp_path / "s.xlsx")
    with pytest.raises(InputError, match="folder must exist"):
        write_samples(tmp_path / "none" / "s.csv", {"a": table()}, {}, "top1")
