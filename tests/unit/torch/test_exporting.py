"""Networks of PyTorch: which input is which, what they are called, and what is told of it."""

import logging
import warnings

import pytest

from packlight.errors import ModelError
from packlight.sources.torch_network import exported

torch = pytest.importorskip("torch")

NETWORKS = """
import logging
import torch
from torch import nn


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x, scale=None):
        y = self.linear(x)
        return y if scale is None else y * scale


class Masked(nn.Module):
    def forward(self, x, *, mask):
        return x.repeat(1, 2) * mask


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, ids):
        return self.table(ids)


class Loud(nn.Module):
    def forward(self, x):
        logging.getLogger("mine").warning("of the network")
        return x * 2


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else x * 2


def examples():
    return Scaled(), {"scale": torch.rand(4), "x": torch.rand(2, 8)}


def number():
    return Scaled(), 3


def pair():
    class Pair(nn.Module):
        def forward(self, both):
            return both[0] + both[1]

    return Pair(), {"both": (torch.rand(4), torch.rand(4))}
"""


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """The inputs of the model of a network, by name."""
    (tmp_path / "nets.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)

    def export(name, **shapes):
        graph = exported(f"nets.py:{name}", shapes).graph.graph
        return {value.name: tuple(value.shape.numpy()) for value in graph.inputs}

    return export


@pytest.mark.parametrize(
    ("name", "shapes", "found"),
    [
        ("Scaled", {"scale": (4,), "x": (2, 8)}, {"x": (2, 8), "scale": (4,)}),
        ("Masked", {"mask": (1, 4), "x": (1, 2)}, {"x": (1, 2), "mask": (1, 4)}),
        ("examples", {}, {"x": (2, 8), "scale": (4,)}),
    ],
)
def test_names_of_arguments_say_which_input_is_which(inputs, name, shapes, found):
    given = inputs(name, **shapes)

    assert given == found
    assert list(given) == list(found)


def test_names_of_no_argument_count_in_order_and_reach_the_model(inputs):
    given = inputs("Scaled", picture=(2, 8), gain=(4,))

    assert list(given.items()) == [("picture", (2, 8)), ("gain", (4,))]


def test_a_name_may_be_that_of_a_value_or_a_weight_inside(inputs):
    given = inputs("Scaled", **{"linear.weight": (2, 8), "linear": (4,)})

    assert list(given) == ["linear.weight", "linear"]


def test_inputs_of_an_argument_that_is_a_tuple_keep_the_names_of_pytorch(inputs):
    assert list(inputs("pair")) == ["both_0", "both_1"]


@pytest.mark.parametrize(
    ("name", "shapes", "told"),
    [
        ("Scaled", {"x": (2, 8), "gain": (4,)}, "takes x, scale=None; got 'x', 'gain'"),
        ("Scaled", {"scale": (4,)}, "takes x, scale=None; got 'scale'"),
        ("Scaled", {"a": (2, 8), "b": (4,), "c": (4,)}, "takes x, scale=None; got 'a', 'b', 'c'"),
        ("Masked", {"x": (1, 2)}, r"takes x, \*, mask; got 'x'"),
        ("examples", {"x": (2, 8)}, "leave --input out"),
        ("number", {}, "returns int"),
        ("Scaled", {"x": (2**40, 2**20)}, "'x' does not"),
    ],
)
def test_inputs_that_a_network_does_not_take_are_one_sentence(inputs, name, shapes, told):
    with pytest.raises(ModelError, match=told):
        inputs(name, **shapes)


def test_the_exporter_tells_nothing_of_its_own(inputs, capfd):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        inputs("Scaled", x=(2, 8))

    assert capfd.readouterr() == ("", "")
    assert not [one for one in warned if "treespec" in str(one.message)]


def test_what_a_network_logs_itself_is_kept(inputs, caplog):
    inputs("Loud", x=(2, 8))

    assert "of the network" in caplog.messages


def test_handlers_are_as_before_after_an_export(inputs):
    inputs("Loud", x=(2, 8))

    assert not logging.lastResort.filters


@pytest.mark.parametrize(
    ("name", "shape", "told"),
    [("Branching", (1, 4), "data-dependent"), ("Embedded", (1, 4), "float32 numbers; for others")],
)
def test_a_failed_export_says_why_and_nothing_else(inputs, capfd, name, shape, told):
    with pytest.raises(ModelError, match=told):
        inputs(name, **{"x" if name == "Branching" else "ids": shape})
    assert capfd.readouterr() == ("", "")
