"""The conformance suite over the whole table of methods."""

import pytest

from packlight.compress import METHODS
from packlight.testing import DECIBELS, NETWORKS, check_method

OTHER_OPTIONS = {
    "weights per tensor": ("weights", {"per": "tensor"}, 20),
    "weights at run": ("weights", {"expand": "run"}, 25),
    "weights in blocks": ("weights", {"per": "block", "block": 16}, 25),
    "weights in blocks at load": ("weights", {"per": "block", "block": 10, "expand": "load"}, 25),
    "weights of 4 bits": ("weights", {"bits": 4, "per": "block", "block": 16}, 10),
    "weights of 3 bits": ("weights", {"bits": 3, "per": "block", "block": 7}, 5),
    "weights of 5 bits": ("weights", {"bits": 5}, 10),
    "palettes of 8 bits": ("palette", {"bits": 8}, 25),
    "palettes of 3 bits by group": ("palette", {"bits": 3, "per": "group", "group": 3}, 5),
    "static of 7 bits": ("static", {"bits": 7}, 15),
    "static per tensor": ("static", {"per": "tensor", "range": "percentile"}, 10),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_keeps_every_law_on_every_network(method, network):
    check_method(method, network)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(("name", "options", "decibels"), OTHER_OPTIONS.values(), ids=OTHER_OPTIONS)
def test_other_options_keep_every_law_too(name, options, decibels, network):
    check_method(METHODS[name], network, options, decibels)


def test_every_method_states_how_near_it_stays():
    assert set(DECIBELS) == set(METHODS)
