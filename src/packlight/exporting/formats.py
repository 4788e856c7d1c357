"""The table of formats, and what a writer provides.

Each format is a module whose ``FORMAT`` holds plain functions. It is imported when the format is
asked for, and its packages when its functions run, so that nothing is needed that is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from packlight.backends.formats import FORMATS, FormatCapabilities, format_capabilities
from packlight.errors import ExportError, InputError
from packlight.exporting.neutral import Neutral
from packlight.exporting.quiet import quiet_output
from packlight.exporting.weights import StoredWeight
from packlight.model import Model
from packlight.records.export import ExportedWeight, ExportRefusal, FormatName, Reread

Array = NDArray[Any]
Feeds = Mapping[str, Array]

MODULES: Mapping[FormatName, str] = {
    "onnx": "packlight.exporting.onnx_format",
    "ort": "packlight.exporting.ort_format",
    "coreai": "packlight.exporting.coreai.format",
    "coreml": "packlight.exporting.coreml.format",
    "litert": "packlight.exporting.litert.format",
    "executorch": "packlight.exporting.executorch.format",
    "openvino": "packlight.exporting.openvino_format",
}
"""Module of each format; its ``FORMAT`` is a ``Format``."""


@dataclass(frozen=True, slots=True, eq=False)
class WriteOptions:
    """What writers get beside the neutral form.

    Attributes:
        model: the ONNX model as it was before it was prepared; None where only a part is written.
        source: the neutral form before weights were expanded; None where it is the written one.
        expanded: names of weights that became floats because the user allowed it.
        options: of the format, by name, as ``--option NAME=VALUE`` gives them.
    """

    model: Model | None = None
    source: Neutral | None = None
    expanded: frozenset[str] = frozenset()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """Files that a writer made.

    Attributes:
        entry: name of the model's file or folder, in the folder that was written to.
        extra: names of further files there, as a C array.
        weights: every weight with its storage in the file.
        renamed: names of inputs and outputs that the format changed, by those in ONNX.
        timestamps: files whose bytes hold a time or a random number.
        notes: sentences for the record.
        rounds: whether it rounds numbers that the model has in floats, as activations.
    """

    entry: str
    weights: tuple[ExportedWeight, ...]
    extra: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    timestamps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rounds: bool = False


class Runner(Protocol):
    """An exported file that is open in its runtime, or is evaluated in its place."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call by their names in ONNX; inputs have their names in ONNX too."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


@dataclass(frozen=True, slots=True)
class ExampleText:
    """An example of how to run an exported file.

    Attributes:
        language: as ``python`` or ``swift``.
        name: of its file in the bundle's folder ``examples``.
        text: the program.
        executable: whether it can be run here: Python that reads inputs from ``inputs.npz`` in
            the folder it is called with, and writes outputs to ``outputs.npz`` there.
    """

    language: str
    name: str
    text: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """A format of exported models.

    Attributes:
        name: as ``--to`` takes it.
        write: writes a model whose encodings the format keeps to a folder.
        reread: reads the written folder again, and counts what is in it.
        open: opens the written folder to run it; None where no runtime runs here and packlight
            does not evaluate it either.
        runtime: name and version of the runtime that runs it, or of the evaluation.
        obstacle: states why a weight that the table of formats keeps cannot be; empty where it can.
        required: lowest signal-to-noise ratio that passes, in dB.
        required_static: the same where activations are quantized, which runtimes round
            differently.
        evaluated: whether ``open`` evaluates the file in place of its runtime.
        other_ways: further ways to open it, which must agree too, by what runs it then.
        times: whether latency of ``open`` compares with that of ONNX Runtime.
        examples: programs that run the file.
        unmeasured: sentences on what nobody has verified here.
        licenses: distributions whose licenses apply to what is in the file.
    """

    name: FormatName
    write: Callable[[Neutral, Path, WriteOptions], Written]
    reread: Callable[[Path, Neutral, Written], Reread]
    open: Callable[[Path, Neutral, Written], Runner] | None
    runtime: Callable[[], str]
    obstacle: Callable[[Neutral, StoredWeight], str] = lambda _neutral, _weight: ""
    required: float = 80.0
    required_static: float = 20.0
    evaluated: bool = False
    other_ways: Mapping[str, Callable[[Path, Neutral, Written], Runner]] = field(
        default_factory=dict
    )
    times: bool = False
    examples: Callable[[Neutral, Written], Sequence[ExampleText]] = lambda _neutral, _written: ()
    unmeasured: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()

    @property
    def capabilities(self) -> FormatCapabilities:
        """What the format holds."""
        return format_capabilities(self.name)


ENDINGS: Mapping[str, FormatName] = {
    "tflite": "litert", "tensorflowlite": "litert", "mlpackage": "coreml", "mlmodel": "coreml",
    "aimodel": "coreai", "pte": "executorch", "xml": "openvino", "ir": "openvino",
}  # fmt: skip
"""Endings and other names of files, and the format that writes them."""


def format_by_name(name: str) -> Format:
    """The format of a name.

    Raises:
        InputError: there is none, or its extra is not installed.
    """
    names = {candidate: candidate for candidate in FORMATS}
    if name not in names:
        hint = f": '{name}' is written by {ENDINGS[name]}" if name in ENDINGS else ""
        raise InputError(f"a format is one of {', '.join(FORMATS)}; got '{name}'{hint}")
    check_installed(names[name])
    with quiet_output():
        format_: Format = import_module(MODULES[names[name]]).FORMAT
    return format_


def check_installed(name: FormatName) -> None:
    """Refuse a format whose packages are missing.

    Raises:
        InputError: with the command that installs them.
    """
    facts = format_capabilities(name)
    if not is_installed(name):
        raise InputError(
            f"writing {facts.title} needs packages that are not installed: "
            f"pip install 'packlight[{facts.extra}]'"
        )


def is_installed(name: FormatName) -> bool:
    """Tell whether the packages of a format are installed."""
    return all(find_spec(module) is not None for module in format_capabilities(name).modules)


def refuse(format_name: FormatName, refusals: Sequence[ExportRefusal]) -> ExportError:
    """The error of a model that a format cannot hold; its first refusals are in the message."""
    title = format_capabilities(format_name).title
    first = refusals[0]
    more = len(refusals) - 1
    others = f" and {more} more" if more else ""
    remedy = ""
    if first.form is not None:
        nearest = f"use {first.remedy}, or " if first.remedy else ""
        remedy = f": {nearest}--expand to store such weights as floats"
    message = f"{title} cannot hold '{first.subject}'{others}: {first.reason}{remedy}"
    return ExportError(message, tuple(refusals))


def refuse_operators(format_name: FormatName, operators: Mapping[str, str]) -> ExportError:
    """The error of a model with operators that a format does not have.

    Args:
        format_name: the format.
        operators: by type of operator, the reason; empty where there is no lowering of it.
    """
    refusals = [
        ExportRefusal(
            format=format_name,
            subject=op_type,
            operator=op_type,
            form=None,
            reason=reason or f"there is no lowering of {op_type}",
        )
        for op_type, reason in operators.items()
    ]
    return refuse(format_name, refusals)
