"""Laws of every compression method, as functions of a case that raise AssertionError."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.functions import DOMAIN
from packlight.compression.method import Method
from packlight.compression.sites.weight_roles import stored, weight_roles
from packlight.errors import RecipeError
from packlight.model import Model, file_size, graphs, load, nodes, save, stored_tensor, to_bytes
from packlight.records import Change, Recipe, Refusal, SessionOptions, Step, parse_recipe
from packlight.records.recipe_options import Option, config_of
from packlight.runtime import open_session
from packlight.testing.cases import EXACT, Case, make_case

NOWHERE = "no operator has this name"
DECIBELS = {
    "simplify": 90.0,
    "equalize": 200.0,
    "channels": 0.0,
    "lowrank": 0.0,
    "float16": 50.0,
    "weights": 25.0,
    "palette": 10.0,
    "sparse": 6.0,
    "static": 15.0,
    "dynamic": 15.0,
    "distill": 40.0,
}
"""Signal to noise ratio that each method's default options keep on random networks."""


def check_method(
    method: Method[Any, Any],
    network: Callable[[], Model],
    options: Mapping[str, Option] | None = None,
    decibels: float | None = None,
    before: str = "",
) -> None:
    """Check every law for one method of the table on one network.

    Args:
        method: one of ``packlight.compress.METHODS``.
        network: builds the network, as those in ``NETWORKS`` do.
        options: of the method; its defaults if None.
        decibels: least signal to noise ratio of the result; from ``DECIBELS`` if None.
        before: steps before, in short.

    Raises:
        AssertionError: a law is broken; the message says which and how.
    """
    steps = parse_recipe(before).steps if before else ()
    recipe = Recipe((*steps, Step(config_of(method.name, options or {}))))
    case = make_case(network(), recipe)
    for law in LAWS:
        law(case)
    if not method.whole:
        _a_pattern_that_matches_nothing_is_refused(case)
        _no_weight_is_passed_over_in_silence(case)
    if method.least_size:
        _every_byte_of_weights_is_changed_or_refused(case, method)
    floor = DECIBELS.get(method.name, 0.0) if decibels is None else decibels
    _the_result_is_near_the_reference(case, floor)


def _the_input_is_untouched(case: Case) -> None:
    assert to_bytes(case.model) == case.content, "the method edited the model it was given"


def _the_same_recipe_gives_the_same_bytes(case: Case) -> None:
    again = case.again(case.recipe)
    assert to_bytes(again.model) == to_bytes(case.result.model), "a second run gives other bytes"
    assert again.model.digest == case.result.model.digest, "a second run gives another digest"
    assert (again.changes, again.refusals) == (case.result.changes, case.result.refusals)


def _the_size_is_known_to_the_byte(case: Case) -> None:
    """Predicted, written and stored sizes agree, and the loaded file has the saved content."""
    model = case.result.model
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        written = save(model, path)
        assert file_size(model.graph) == written, f"{written} bytes were written"
        assert path.read_bytes() == to_bytes(model), "the file differs from the bytes"
        assert load(path).digest == model.digest, "what is loaded back is not what was saved"


def _the_interface_stays(case: Case) -> None:
    for side in ("inputs", "outputs"):
        old, new = (_interface(getattr(m, side)()) for m in (case.model, case.result.model))
        assert old == new, f"the {side} were {old} and are {new}"


def _interface(values: Mapping[str, ir.Value]) -> list[tuple[str, str, str]]:
    return [(name, str(value.dtype), str(value.shape)) for name, value in values.items()]


def _the_result_is_valid(case: Case) -> None:
    onnx.checker.check_model(ir.to_proto(case.result.model.graph), full_check=True)


def entries(case: Case) -> list[Change | Refusal]:
    """Changes and refusals that the method reported."""
    return [*case.result.changes, *case.result.refusals]


def _every_operator_has_a_name_of_its_own(case: Case) -> None:
    """Operator names are unique, and reported operators, or the calls they came of, exist."""
    names = Counter(str(node.name or "") for node in nodes(case.result.model.graph))
    assert "" not in names, "an operator has no name"
    assert max(names.values()) == 1, f"{names.most_common(1)[0][0]} names several operators"
    existing = {str(node.name) for node in nodes(case.model.graph)} | set(names)
    for entry in entries(case):
        caller = entry.operator.split("/", maxsplit=1)[0]
        assert existing & {entry.operator, caller}, f"'{entry.operator}' is no operator"
        methods = [step.method for step in case.recipe.steps]
        assert entry.method in methods, f"{entry} names another method"


def _nothing_is_stored_that_no_one_reads(case: Case) -> None:
    """A changed model has no stored value without a reader, as an initializer or a Constant."""
    if not case.result.changes:
        return
    for graph in graphs(case.result.model.graph):
        stored_values = [*graph.initializers.values()]
        stored_values += [n.outputs[0] for n in graph if n.op_type == "Constant"]
        for value in stored_values:
            read = value.uses() or value.is_graph_output() or value.is_graph_input()
            assert read, f"'{value.name}' is stored and never read"


def _weights_are_counted_once(case: Case) -> None:
    """Bytes before and after are no more than what the models store."""
    for side, model in (("before", case.model), ("after", case.result.model)):
        counted = sum(getattr(change, side) for change in case.result.changes)
        held = file_size(model.graph)
        assert counted <= held, f"the changes count {counted} bytes {side}, the file has {held}"


def _the_runtime_computes_it(case: Case) -> None:
    """ONNX Runtime opens the result and gives finite numbers of the right shape."""
    session = open_session(case.result.model, SessionOptions(matmul_accuracy=1))
    reference = open_session(case.model, EXACT)
    for feeds in case.calls:
        outputs = session.run(feeds)
        expected = reference.run(feeds)
        for name, array in outputs.items():
            assert np.isfinite(array).all(), f"output '{name}' is not finite"
            assert array.shape == expected[name].shape, f"output '{name}' has another shape"


def _no_weight_is_passed_over_in_silence(case: Case) -> None:
    """A weight that is float32 as before, or hidden behind an operator, is named by a refusal.

    One that is float32 with other numbers is named by a change or a refusal.
    """
    reported = {entry.operator for entry in entries(case)}
    refused = {entry.operator for entry in case.result.refusals}
    before = _float_weights(case.model.graph)
    for readers, content in _float_weights(case.result.model.graph).items():
        same = before.get(readers) == content
        expected = refused if same else reported
        assert expected & set(readers), f"the float32 weight of {readers} is in no refusal"
    for operator, maker in _behind_constants(case.model.graph):
        assert reported & {operator, maker}, (
            f"the weight of {operator} is neither changed nor refused"
        )


def _every_byte_of_weights_is_changed_or_refused(case: Case, method: Method[Any, Any]) -> None:
    """Bytes of stored floats above the method's size limit are those changed plus those refused.

    A weight that the result stores as it was, or in the same type under the same name, must be
    named by a refusal. Bytes that changes speak of are those of all others.
    """
    refused = {entry.operator for entry in case.result.refusals}
    inlined = refused - {str(node.name) for node in nodes(case.model.graph)}
    kept = {key for weight in _stored_floats(case.result.model.graph, 1) for key in weight.keys}
    changed = 0
    for weight in _stored_floats(case.model.graph, method.least_size):
        if kept.isdisjoint(weight.keys):
            changed += weight.bytes
        else:
            naming = refused.intersection(weight.readers) or inlined
            assert naming, (
                f"{weight.bytes} bytes of '{weight.name}' are neither changed nor refused"
            )
    for name, count in _attribute_floats(case.model.graph):
        if count >= method.least_size:
            assert name in refused, f"{4 * count} bytes in attributes of {name} are not refused"
    if method.replaces or method.name == "float16":
        told = sum(change.before for change in case.result.changes)
        assert told == changed, f"changes speak of {told} bytes, and {changed} changed"


@dataclass(frozen=True)
class _StoredFloats:
    """A stored tensor of floats, with the operators of the model that read it."""

    name: str
    keys: tuple[tuple[object, ...], ...]
    bytes: int
    readers: tuple[str, ...]


FLOAT_TYPES = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)


def _stored_floats(model: ir.Model, least: int) -> Iterator[_StoredFloats]:
    """Initializers and Constants that are read, of so many floats at least, in functions too."""
    for graph in graphs(model):
        constants = [node.outputs[0] for node in graph if node.op_type == "Constant"]
        yield from _floats_of([*graph.initializers.values(), *constants], least)
    for function in model.functions.values():
        if function.domain != DOMAIN:
            constants = [node.outputs[0] for node in function if node.op_type == "Constant"]
            yield from _floats_of(constants, least, f"{function.name}.")


def _floats_of(values: Sequence[ir.Value], least: int, owner: str = "") -> Iterator[_StoredFloats]:
    for value in values:
        tensor = stored_tensor(value)
        if tensor is None or tensor.dtype not in FLOAT_TYPES or tensor.size < least:
            continue
        if value.uses():
            kind = (tensor.dtype, tuple(tensor.shape.numpy()))
            keys = ((owner + str(value.name), *kind), (tensor.tobytes(), *kind))
            readers = tuple(str(node.name) for node in value.consumers())
            yield _StoredFloats(owner + str(value.name), keys, tensor.nbytes, readers)


def _attribute_floats(model: ir.Model) -> Iterator[tuple[str, int]]:
    """Operators with floats as an attribute, and how many there are in the longest."""
    for node in nodes(model):
        lists = [a for a in node.attributes.values() if a.type == ir.AttributeType.FLOATS]
        count = max((len(a.as_floats()) for a in lists if not a.is_ref()), default=0)
        if count and node.op_type != "Constant":
            yield str(node.name), count


def _float_weights(graph: ir.Model) -> dict[tuple[str, ...], list[bytes]]:
    """Contents of float32 weights, by the operators that read them."""
    readers: dict[int, tuple[ir.TensorProtocol, list[str]]] = {}
    for role, value in weight_roles(graph):
        tensor = stored_tensor(value)
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT:
            readers.setdefault(id(value), (tensor, []))[1].append(role.operator)
    contents: dict[tuple[str, ...], list[bytes]] = {}
    for tensor, names in readers.values():
        contents.setdefault(tuple(names), []).append(tensor.tobytes())
    return contents


def _behind_constants(graph: ir.Model) -> Iterator[tuple[str, str]]:
    for role, value in weight_roles(graph):
        node = value.producer() if value is not None and stored(value) is None else None
        if node is not None and node.inputs and all(stored(v) is not None for v in node.inputs):
            yield role.operator, str(node.name)


def _a_pattern_that_matches_nothing_is_refused(case: Case) -> None:
    """A ``where`` that no operator matches is an error, and the input model stays unchanged."""
    (step,) = case.recipe.steps
    try:
        case.again(Recipe((replace(step, where=NOWHERE),)))
    except RecipeError as error:
        assert NOWHERE in str(error), "the error does not say which pattern matches nothing"
    else:
        raise AssertionError("a pattern that matches nothing is not refused")
    assert to_bytes(case.model) == case.content, "the model changed though nothing matched"


def _the_result_is_near_the_reference(case: Case, decibels: float) -> None:
    """In exact arithmetic every output keeps a signal to noise ratio."""
    reference = open_session(case.model, EXACT)
    session = open_session(case.result.model, EXACT)
    pairs = [(reference.run(feeds), session.run(feeds)) for feeds in case.calls]
    for name in case.model.outputs():
        expected, actual = (np.stack([pair[side][name] for pair in pairs]) for side in (0, 1))
        decibel = signal_to_noise(expected, actual)
        assert decibel >= decibels, f"output '{name}' keeps {decibel:.1f} dB, not {decibels}"


def signal_to_noise(expected: NDArray[np.generic], actual: NDArray[np.generic]) -> float:
    """Power of an output over the power of its error, in dB; infinite without error."""
    signal = np.asarray(expected, np.float64)
    noise = signal - np.asarray(actual, np.float64)
    noise_power = float(np.square(noise).sum())
    if not noise_power:
        return math.inf
    return 10 * math.log10(float(np.square(signal).sum()) / noise_power)


LAWS: tuple[Callable[[Case], None], ...] = (
    _the_input_is_untouched,
    _the_same_recipe_gives_the_same_bytes,
    _the_size_is_known_to_the_byte,
    _the_interface_stays,
    _the_result_is_valid,
    _every_operator_has_a_name_of_its_own,
    _nothing_is_stored_that_no_one_reads,
    _weights_are_counted_once,
    _the_runtime_computes_it,
)
"""Laws for every method; those about weights and fidelity take more than the case."""
