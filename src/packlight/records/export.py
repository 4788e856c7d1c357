"""An exported model: how its weights are stored, what was refused, and how it compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from packlight.records.display import Displayed
from packlight.records.gate import CheckedBudget
from packlight.records.measurement import Measurement

FormatName = Literal["onnx", "ort", "coreai", "coreml", "litert", "executorch", "openvino"]
"""Formats that a model can be exported to."""

FileRole = Literal["model", "card", "recipe", "example", "license"]
"""What a file of a bundle is for."""

GridGranularity = Literal["tensor", "channel", "block"]
"""Weights that share a scale: all, those of a channel, or those of a block within one."""


@dataclass(frozen=True, slots=True)
class FloatForm:
    """Weights stored as floats.

    Attributes:
        bits: of a number.
    """

    kind: ClassVar[str] = "float"

    bits: int = 32


@dataclass(frozen=True, slots=True)
class GridForm:
    """Weights stored as integers on a uniform grid.

    Attributes:
        bits: of an integer.
        signed: whether integers are in two's complement.
        symmetric: whether every code of zero is 0.
        granularity: weights that share a scale.
        axis: of channels, or along which blocks run; -1 where there are several or none.
        block: weights of a block along its axis; 0 without blocks.
    """

    kind: ClassVar[str] = "grid"

    bits: int
    signed: bool = True
    symmetric: bool = True
    granularity: GridGranularity = "channel"
    axis: int = -1
    block: int = 0


@dataclass(frozen=True, slots=True)
class PaletteForm:
    """Weights stored as indices into tables.

    Attributes:
        bits: of an index.
        tables: number of tables.
        axis: of the channels that tables are grouped by; -1 where there are several or none.
        scaled: whether channels have scales beside the tables.
    """

    kind: ClassVar[str] = "palette"

    bits: int
    tables: int = 1
    axis: int = -1
    scaled: bool = False


DenseForm = FloatForm | GridForm | PaletteForm
"""Storage of weights without a mask."""


@dataclass(frozen=True, slots=True)
class SparseForm:
    """Weights stored as a mask and the values that are not zero.

    Attributes:
        zeros: share of the weights that are zero.
        values: storage of the others.
    """

    kind: ClassVar[str] = "sparse"

    zeros: float
    values: DenseForm = FloatForm()


WeightForm = FloatForm | GridForm | PaletteForm | SparseForm
"""Storage of a weight."""


@dataclass(frozen=True, slots=True)
class ExportedWeight:
    """A weight in an exported file.

    Attributes:
        name: in the ONNX file.
        operators: types of the operators that read it.
        elements: numbers in it.
        source: its storage in the ONNX file.
        stored: its storage in the exported file.
        bytes: that it takes there: codes, scales, tables and masks.
        expanded: whether it became float because ``--expand`` allowed it.
    """

    name: str
    operators: tuple[str, ...]
    elements: int
    source: WeightForm
    stored: WeightForm
    bytes: int
    expanded: bool = False


@dataclass(frozen=True, slots=True)
class ExportRefusal:
    """A weight or an operator that a format cannot have.

    Attributes:
        format: name of the format.
        subject: name of the weight, else of the operator.
        operator: type of the operator that reads the weight, or that is missing.
        form: storage of the weight; None for an operator.
        reason: for people.
        remedy: the nearest recipe that the format keeps, as ``weights:8``; empty where there is
            none.
    """

    format: str
    subject: str
    operator: str
    form: WeightForm | None
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Reread:
    """Contents of an exported file, counted after it was read again.

    Attributes:
        weights: numbers stored in each way, by ``form_label``: ``{"grid 8": 401234}``.
        bytes: of the files by kind of content, as ``weights``, ``graph``, ``metadata``.
        inputs: names in the file, by those of the ONNX model.
        outputs: names in the file, by those of the ONNX model.
    """

    weights: Mapping[str, int]
    bytes: Mapping[str, int]
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OperatorDifference:
    """The first operator whose results differ from those of ONNX Runtime.

    Attributes:
        operator: its name in the ONNX model.
        op_type: its type.
        value: name of its result that differs.
        decibels: signal-to-noise ratio of the result.
        before: lowest signal-to-noise ratio of what it reads; infinite for inputs of the model.
    """

    operator: str
    op_type: str
    value: str
    decibels: float
    before: float


@dataclass(frozen=True, slots=True)
class OtherRun:
    """An exported file that was run in another way, on the same inputs.

    Attributes:
        runtime: that ran it so.
        worst: lowest signal-to-noise ratio of an output on a sample, in dB.
        median: median over samples of the lowest of its outputs, in dB.
    """

    runtime: str
    worst: float
    median: float


@dataclass(frozen=True, slots=True)
class Parity:
    """An exported file against ONNX Runtime on the ONNX model, on the same inputs.

    Attributes:
        runtime: that ran the file, with its version; empty where none runs here.
        samples: number of inputs.
        random: how many of them were random, because there was no task or too few samples.
        worst: lowest signal-to-noise ratio of an output on a sample, in dB.
        median: median over samples of the lowest of its outputs, in dB.
        required: lowest ratio that passes, in dB.
        agreement: share of equal decisions; None where the task decides nothing or there is none.
        metrics: the task's metric of the file, that of the ONNX model, and ``drop`` with its
            paired interval.
        latency_ratio: time of the file over that of ONNX Runtime; None where it means nothing.
        passed: whether it may be shipped.
        evaluated: True where no runtime was there and packlight evaluated the file itself.
        first_difference: the first operator that differs, searched only where parity failed.
        notes: sentences on how the numbers came about.
        other_runs: the same in other ways, which must pass too.
    """

    runtime: str
    samples: int
    random: int
    worst: float
    median: float
    required: float
    agreement: Measurement | None
    metrics: Mapping[str, Measurement]
    latency_ratio: Measurement | None
    passed: bool
    evaluated: bool = False
    first_difference: OperatorDifference | None = None
    notes: tuple[str, ...] = ()
    other_runs: tuple[OtherRun, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of a bundle.

    Attributes:
        path: in the bundle, with forward slashes.
        bytes: its size.
        sha256: of its content.
        role: what it is for.
    """

    path: str
    bytes: int
    sha256: str
    role: FileRole


@dataclass(frozen=True, slots=True)
class Snippet:
    """An example of how to run the exported file.

    Attributes:
        language: as ``python`` or ``swift``.
        path: in the bundle.
        executed: whether it was run here, and gave the file's outputs.
    """

    language: str
    path: str
    executed: bool


@dataclass(frozen=True, slots=True, repr=False)
class Bundle(Displayed):
    """A folder with an exported model and all that belongs to it.

    Attributes:
        folder: where it was written.
        format: name of the format.
        model: name of the ONNX model.
        digest: of the ONNX model's content.
        recipe: that made it; empty where unknown.
        entry: the model's file in the folder.
        files: everything in the folder, but the record that holds this list.
        onnx_bytes: of the ONNX file.
        bytes: of the exported files.
        weights: every stored weight.
        reread: counts of what is in the file.
        parity: against the ONNX model; None where it was not asked for.
        snippets: how to run it.
        bound: values and sizes that inputs and dimensions were bound to.
        renamed: names of inputs and outputs that the format changed, by those in ONNX.
        measured: quality that a project recorded for the variant.
        budgets: that the project was fitted to.
        unmeasured: sentences on what nobody has verified, such as a run on a device.
        timestamps: files whose bytes hold a time or a random number, and so differ between runs.
        environment: versions of what wrote it.
        session: options with which ONNX Runtime ran.
        machine: on which parity was measured.
    """

    VERSION: ClassVar[int] = 1
    TITLE: ClassVar[str] = "bundle"

    folder: str
    format: FormatName
    model: str
    digest: str
    recipe: str
    entry: str
    files: tuple[BundleFile, ...]
    onnx_bytes: int
    bytes: int
    weights: tuple[ExportedWeight, ...]
    reread: Reread
    parity: Parity | None = None
    snippets: tuple[Snippet, ...] = ()
    bound: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, Measurement] = field(default_factory=dict)
    budgets: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    timestamps: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    session: Mapping[str, str] = field(default_factory=dict)
    machine: str = ""


@dataclass(frozen=True, slots=True)
class BundleCheck:
    """A bundle that was read again.

    Attributes:
        folder: of the bundle.
        format: of its file.
        files: that it lists.
        problems: sentences on files that are missing or changed, and on a failed parity.
        budgets: each, judged by the bundle's own numbers.
        passed: whether all is well.
    """

    VERSION: ClassVar[int] = 1
    TITLE: ClassVar[str] = "check of a bundle"

    folder: str
    format: FormatName
    files: int
    problems: tuple[str, ...]
    budgets: tuple[CheckedBudget, ...]
    passed: bool


def form_label(form: WeightForm) -> str:
    """Short label of a form, under which weights are counted.

    >>> form_label(GridForm(4, granularity="block", block=32)), form_label(PaletteForm(4))
    ('grid 4', 'palette 4')
    >>> form_label(SparseForm(0.5, GridForm(8)))
    'sparse grid 8'
    """
    if isinstance(form, SparseForm):
        return f"sparse {form_label(form.values)}"
    return f"{form.kind} {form.bits}"
