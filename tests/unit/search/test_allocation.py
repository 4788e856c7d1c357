"""Exact allocation of forms, against every combination."""

import itertools

import numpy as np
import pytest

from packlight.search.allocation import Alternative, Program

FUNCTIONS = {"unpack": 60, "gather": 25}


def drawn_program(seed, operators=5, forms=4):
    rng = np.random.default_rng(seed)
    alternatives = []
    for operator in range(operators):
        for form in range(forms):
            bits = form + 1
            functions = (("unpack",), (), ("gather", "unpack"), ())[form]
            alternatives.append(
                Alternative(
                    operator,
                    form,
                    float(rng.lognormal(0, 2) * 4.0**-bits),
                    {"size": int(rng.integers(20, 90)) * bits, "latency": float(rng.random())},
                    functions,
                )
            )
    return Program(tuple(alternatives), FUNCTIONS)


def costs_of(program, chosen):
    picked = [program.alternatives[index] for index in chosen]
    functions = {name for entry in picked for name in entry.functions}
    size = sum(entry.costs["size"] for entry in picked) + sum(FUNCTIONS[f] for f in functions)
    return size, sum(entry.costs["latency"] for entry in picked), sum(e.damage for e in picked)


def combinations(program):
    per_operator = [
        [i for i, entry in enumerate(program.alternatives) if entry.operator == operator]
        for operator in range(program.operators)
    ]
    return itertools.product(*per_operator)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("size", "latency"), [(500, 9.0), (700, 2.2), (420, 3.0)])
def test_no_combination_within_the_limits_has_less_damage(seed, size, latency):
    program = drawn_program(seed)
    allowed = [
        costs_of(program, chosen)
        for chosen in combinations(program)
        if costs_of(program, chosen)[0] <= size and costs_of(program, chosen)[1] <= latency
    ]

    chosen = program.solve({"size": size, "latency": latency})

    if not allowed:
        assert chosen is None
        return
    found = costs_of(program, chosen)
    assert found[0] <= size
    assert found[1] <= latency + 1e-9
    assert found[2] <= min(damage for _, _, damage in allowed) * (1 + 1e-3)


def test_the_cheapest_counts_each_function_once():
    program = drawn_program(7)
    least = min(costs_of(program, chosen)[0] for chosen in combinations(program))

    assert costs_of(program, program.cheapest("size"))[0] == least
