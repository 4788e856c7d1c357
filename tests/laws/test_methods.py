"""The conformance suite over the whole table of methods."""

import pytest

from packlight.compression import METHODS
from packlight.testing import DECIBELS, NETWORKS, check_method

OTHER_OPTIONS = {
    "equalize by weights": ("equalize", {"by": "weights"}, 200),
    "equalize by activations": ("equalize", {"by": "activations"}, 200),
    "equalize by any scales": ("equalize", {"scales": "any"}, 100),
    "channels by weights": ("channels", {"importance": "l2", "share": 0.25}, 0),
    "channels without samples": ("channels", {"importance": "l2", "refit": False}, -20),
    "channels by a budget": ("channels", {"macs": 0.5, "importance": "activation"}, 0),
    "low rank by weights": ("lowrank", {"weighted": False, "sensitive": False}, 0),
    "low rank within arithmetic": ("lowrank", {"cost": "macs", "share": 0.7}, 0),
    "weights per tensor": ("weights", {"per": "tensor"}, 20),
    "weights at run": ("weights", {"expand": "run"}, 25),
    "weights in blocks": ("weights", {"per": "block", "block": 16}, 25),
    "weights in blocks at load": ("weights", {"per": "block", "block": 10, "expand": "load"}, 25),
    "weights of 4 bits": ("weights", {"bits": 4, "per": "block", "block": 16}, 10),
    "weights of 3 bits": ("weights", {"bits": 3, "per": "block", "block": 7}, 5),
    "weights of 5 bits": ("weights", {"bits": 5}, 10),
    "weights by gptq": ("weights", {"bits": 5, "rounding": "gptq", "range": "moments"}, 8),
    "weights by gptq, asymmetric": (
        "weights",
        {"bits": 4, "rounding": "gptq", "symmetric": False, "bias": True, "scales": 16},
        4,
    ),
    "weights by gptq in blocks": ("weights", {"rounding": "gptq", "per": "block", "block": 7}, 20),
    "weights of mixed widths": ("weights", {"mixed": 5.5, "rounding": "gptq"}, 8),
    "weights in asymmetric blocks at run": (
        "weights",
        {"bits": 4, "per": "block", "block": 16, "expand": "run", "symmetric": False},
        8,
    ),
    "palettes by gptq": (
        "palette",
        {"bits": 5, "rounding": "gptq", "weighted": True, "scaled": True},
        8,
    ),
    "palettes of bytes": ("palette", {"bits": 6, "entry": 8, "scaled": True, "group": 5}, 15),
    "palettes of mixed widths": ("palette", {"mixed": 6.0}, 8),
    "palettes of 8 bits": ("palette", {"bits": 8}, 25),
    "palettes of 3 bits by group": ("palette", {"bits": 3, "per": "group", "group": 3}, 5),
    "sparse everywhere": ("sparse", {"inputs": 1}, 4),
    "sparse in runs by gptq": ("sparse", {"run": 4, "inputs": 1, "rounding": "gptq"}, 3),
    "sparse and 8 bits": ("sparse", {"bits": 8, "values": "grid", "share": 0.75, "inputs": 1}, 1),
    "sparse and 5 bits by gptq": (
        "sparse",
        {"bits": 5, "values": "grid", "share": 0.7, "rounding": "gptq", "bias": True, "inputs": 1},
        4,
    ),
    "sparse and palettes by gptq": (
        "sparse",
        {"bits": 7, "values": "palette", "share": 0.7, "scaled": True, "rounding": "gptq"}
        | {"weighted": True, "inputs": 1},
        3,
    ),
    "static of 7 bits": ("static", {"bits": 7}, 15),
    "static per tensor": ("static", {"per": "tensor", "range": "percentile"}, 10),
    "dynamic by gptq": ("dynamic", {"rounding": "gptq"}, 15),
    "dynamic per tensor": ("dynamic", {"bits": 7, "per": "tensor", "portable": False}, 15),
    "static, plain": (
        "static",
        {"rounding": "nearest", "bias": False, "portable": False, "range": "minmax"}
        | {"search": "minmax"},
        15,
    ),
    "static, ends in float": (
        "static",
        {"first": "float", "last": "float", "range": "kl", "search": "moments"},
        15,
    ),
}


LEARNED = {
    "weights of 4 bits": ("weights:4", 3),
    "palettes": ("simplify+palette:3,scaled=true,scales=16", 0),
    "sparse": ("sparse:6,values=grid,inputs=1", 0),
    "channels": ("channels,importance=l2,share=0.25", 0),
    "static": ("simplify+static", 10),
}
"""Steps behind which ``distill`` learns what they stored, and the least dB."""


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(("before", "decibels"), LEARNED.values(), ids=LEARNED)
def test_what_is_learned_keeps_every_law(before, decibels, network):
    pytest.importorskip("torch")
    check_method(METHODS["distill"], network, {"steps": 3}, decibels, before)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_keeps_every_law_on_every_network(method, network):
    if method.learns:
        pytest.importorskip("torch")
    check_method(method, network)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(("name", "options", "decibels"), OTHER_OPTIONS.values(), ids=OTHER_OPTIONS)
def test_other_options_keep_every_law_too(name, options, decibels, network):
    check_method(METHODS[name], network, options, decibels)


def test_every_method_states_how_near_it_stays():
    assert set(DECIBELS) == set(METHODS)
