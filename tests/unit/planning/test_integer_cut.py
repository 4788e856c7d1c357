"""The minimum cut against every choice there is."""

import itertools

import numpy as np
import pytest

from packlight.planning.cost.integer_cut import OperatorTimes, PassedValue, cheapest_integers


def seconds(chosen, operators, values):
    """What a choice costs, by the definition."""
    total = sum(one.integers if n in chosen else one.floats for n, one in operators.items())
    for value in values:
        sides = {reader in chosen for reader in value.readers}
        if value.maker in chosen:
            total += value.to_floats * (False in sides)
        else:
            total += value.to_codes * (True in sides)
    return total


def network(seed):
    random = np.random.default_rng(seed)
    names = [f"op{index}" for index in range(7)]
    operators = {name: OperatorTimes(*random.uniform(0, 10, 2)) for name in names}
    values = [PassedValue("", ("op0", "op1"), *random.uniform(0, 3, 2))]
    for index, name in enumerate(names):
        later = [*names[index + 1 :], ""]
        readers = random.choice(later, size=min(len(later), 2), replace=False)
        values.append(PassedValue(name, tuple(map(str, readers)), *random.uniform(0, 6, 2)))
    needs = [("op4", "op2"), ("op5", "op3")] if seed % 2 else []
    return operators, values, needs


@pytest.mark.parametrize("seed", range(30))
def test_no_choice_costs_less(seed):
    operators, values, needs = network(seed)
    allowed = [
        set(names)
        for count in range(len(operators) + 1)
        for names in itertools.combinations(operators, count)
        if all(second in names for first, second in needs if first in names)
    ]

    found = cheapest_integers(operators, values, needs)

    least = min(seconds(names, operators, values) for names in allowed)
    assert set(found) in allowed
    assert seconds(found, operators, values) == pytest.approx(least, rel=1e-4)


def test_conversions_keep_a_lone_gain_in_float():
    operators = {
        "a": OperatorTimes(1.0, 2.0),
        "b": OperatorTimes(2.0, 1.0),
        "c": OperatorTimes(1.0, 2.0),
    }
    dear = [PassedValue("a", ("b",), 0.6, 0.6), PassedValue("b", ("c",), 0.6, 0.6)]
    cheap = [PassedValue("a", ("b",), 0.4, 0.4), PassedValue("b", ("c",), 0.4, 0.4)]

    assert cheapest_integers(operators, dear) == frozenset()
    assert cheapest_integers(operators, cheap) == {"b"}


def test_nothing_to_choose_from_is_nothing_chosen():
    assert cheapest_integers({}, []) == frozenset()
