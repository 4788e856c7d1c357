"""What every compression method keeps, as functions of one case; each raises AssertionError."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.method import Method
from packlight.compression.sites.weight_roles import stored, weight_roles
from packlight.errors import RecipeError
from packlight.model import Model, file_size, load, nodes, save, stored_tensor, to_bytes
from packlight.records import Change, Recipe, Refusal, SessionOptions, Step
from packlight.records.recipe import Option
from packlight.runtime import open_session
from packlight.testing.cases import EXACT, Case, make_case

NOWHERE = "no operator has this name"
DECIBELS = {
    "tidy": 90.0,
    "equalise": 200.0,
    "float16": 50.0,
    "weights": 25.0,
    "palette": 10.0,
    "sparse": 6.0,
    "static": 15.0,
    "dynamic": 15.0,
}
"""Signal to noise that the default options of each method keep on random networks."""


def check_method(
    method: Method[Any, Any],
    network: Callable[[], Model],
    options: Mapping[str, Option] | None = None,
    decibels: float | None = None,
) -> None:
    """Check every law for one method of the table on one network.

    Args:
        method: one of ``packlight.compress.METHODS``.
        network: builds the network, as those in ``NETWORKS`` do.
        options: of the method; its defaults where none are given.
        decibels: signal to noise that the result keeps; from ``DECIBELS`` where not given.

    Raises:
        AssertionError: a law is broken; the message says which and how.
    """
    recipe = Recipe((Step(method.name, dict(options or {})),))
    case = make_case(network(), recipe)
    for law in LAWS:
        law(case)
    if not method.whole:
        a_pattern_that_matches_nothing_is_refused(case)
        no_weight_is_passed_over_in_silence(case)
    floor = DECIBELS.get(method.name, 0.0) if decibels is None else decibels
    the_result_is_near_the_reference(case, floor)


def the_input_is_untouched(case: Case) -> None:
    """The model given has the content that it had."""
    assert to_bytes(case.model) == case.content, "the method edited the model it was given"


def the_same_recipe_gives_the_same_bytes(case: Case) -> None:
    """A second run makes the same file, report and digest."""
    again = case.again(case.recipe)
    assert to_bytes(again.model) == to_bytes(case.made.model), "a second run gives other bytes"
    assert again.model.digest == case.made.model.digest, "a second run gives another digest"
    assert (again.changes, again.refusals) == (case.made.changes, case.made.refusals)


def the_size_is_known_to_the_byte(case: Case) -> None:
    """What is predicted, written and on disk agree; what is loaded back is the same content."""
    model = case.made.model
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        written = save(model, path)
        assert file_size(model.graph) == written, f"{written} bytes were written"
        assert path.read_bytes() == to_bytes(model), "the file differs from the bytes"
        assert load(path).digest == model.digest, "what is loaded back is not what was saved"


def the_interface_stays(case: Case) -> None:
    """Inputs and outputs keep their order, names, types and shapes."""
    for side in ("inputs", "outputs"):
        old, new = (interface(getattr(m, side)()) for m in (case.model, case.made.model))
        assert old == new, f"the {side} were {old} and are {new}"


def interface(values: Mapping[str, ir.Value]) -> list[tuple[str, str, str]]:
    """Names, types and shapes."""
    return [(name, str(value.dtype), str(value.shape)) for name, value in values.items()]


def the_result_is_valid(case: Case) -> None:
    """The standard's checker takes the result, with the shapes that follow from its operators."""
    onnx.checker.check_model(ir.to_proto(case.made.model.graph), full_check=True)


def entries(case: Case) -> list[Change | Refusal]:
    """All that the method reported."""
    return [*case.made.changes, *case.made.refusals]


def every_operator_has_a_name_of_its_own(case: Case) -> None:
    """Operators can be spoken of, and those spoken of exist."""
    names = Counter(str(node.name or "") for node in nodes(case.made.model.graph))
    assert "" not in names, "an operator has no name"
    assert max(names.values()) == 1, f"{names.most_common(1)[0][0]} names several operators"
    known = {str(node.name) for node in nodes(case.model.graph)} | set(names)
    for entry in entries(case):
        assert entry.operator in known, f"'{entry.operator}' is no operator"
        assert entry.method == case.recipe.steps[0].method, f"{entry} names another method"


def the_runtime_computes_it(case: Case) -> None:
    """ONNX Runtime opens the result and gives finite numbers of the right shape."""
    session = open_session(case.made.model, SessionOptions(matmul_accuracy=1))
    reference = open_session(case.model, EXACT)
    for feeds in case.calls:
        found, expected = session.run(feeds), reference.run(feeds)
        for name, array in found.items():
            assert np.isfinite(array).all(), f"output '{name}' is not finite"
            assert array.shape == expected[name].shape, f"output '{name}' has another shape"


def no_weight_is_passed_over_in_silence(case: Case) -> None:
    """A weight that is float32 as before, or hidden behind an operator, is named by a refusal.

    One that is float32 with other numbers is named by a change or a refusal.
    """
    told = {entry.operator for entry in entries(case)}
    refused = {entry.operator for entry in case.made.refusals}
    before = float_weights(case.model.graph)
    for readers, content in float_weights(case.made.model.graph).items():
        same = before.get(readers) == content
        spoken = refused if same else told
        assert spoken & set(readers), f"the float32 weight of {readers} is in no refusal"
    for operator, maker in behind_constants(case.model.graph):
        assert told & {operator, maker}, f"the weight of {operator} is neither changed nor refused"


def float_weights(graph: ir.Model) -> dict[tuple[str, ...], list[bytes]]:
    """What float32 weights hold, by the operators that read them."""
    readers: dict[int, tuple[ir.TensorProtocol, list[str]]] = {}
    for role, value in weight_roles(graph):
        tensor = None if value is None else stored_tensor(value)
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT:
            readers.setdefault(id(value), (tensor, []))[1].append(role.operator)
    found: dict[tuple[str, ...], list[bytes]] = {}
    for tensor, names in readers.values():
        found.setdefault(tuple(names), []).append(tensor.tobytes())
    return found


def behind_constants(graph: ir.Model) -> Iterator[tuple[str, str]]:
    """Operators whose weight another operator makes of nothing but stored values, with that."""
    for role, value in weight_roles(graph):
        node = value.producer() if value is not None and stored(value) is None else None
        if node is not None and node.inputs and all(stored(v) is not None for v in node.inputs):
            yield role.operator, str(node.name)


def a_pattern_that_matches_nothing_is_refused(case: Case) -> None:
    """A ``where`` that no operator matches is told, and the model given stays as it is."""
    (step,) = case.recipe.steps
    try:
        case.again(Recipe((replace(step, where=NOWHERE),)))
    except RecipeError as error:
        assert NOWHERE in str(error), "the error does not say which pattern matches nothing"
    else:
        raise AssertionError("a pattern that matches nothing is not told")
    assert to_bytes(case.model) == case.content, "the model changed where nothing was meant"


def the_result_is_near_the_reference(case: Case, decibels: float) -> None:
    """In exact arithmetic every output keeps a signal to noise."""
    reference, session = open_session(case.model, EXACT), open_session(case.made.model, EXACT)
    pairs = [(reference.run(feeds), session.run(feeds)) for feeds in case.calls]
    for name in case.model.outputs():
        expected, found = (np.stack([pair[side][name] for pair in pairs]) for side in (0, 1))
        kept = signal_to_noise(expected, found)
        assert kept >= decibels, f"output '{name}' keeps {kept:.1f} dB, not {decibels}"


def signal_to_noise(expected: NDArray[np.generic], found: NDArray[np.generic]) -> float:
    """Ratio of the powers of an output and of what differs, in dB; infinite where nothing does."""
    signal, noise = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    power = float(np.square(signal - noise).sum())
    return 10 * math.log10(float(np.square(signal).sum()) / power) if power else math.inf


LAWS: tuple[Callable[[Case], None], ...] = (
    the_input_is_untouched,
    the_same_recipe_gives_the_same_bytes,
    the_size_is_known_to_the_byte,
    the_interface_stays,
    the_result_is_valid,
    every_operator_has_a_name_of_its_own,
    the_runtime_computes_it,
)
"""Laws for every method; those about weights and about fidelity ask for more than the case."""
