"""Facts about formats of exported models: which encodings of weights each can hold.

``plan``, ``fit`` and ``export`` ask this one table. Every fact is a field of a data file with its
source; tests write each encoding that a table claims and read it again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

from packlight.records.codec import from_json
from packlight.records.export import (
    DenseForm,
    FloatForm,
    FormatName,
    GridForm,
    GridGranularity,
    PaletteForm,
    SparseForm,
    WeightForm,
)

FOLDER = Path(__file__).with_name("formats")

WIDEST_CODE = 8
"""Bits of the widest code of a compressed weight; wider ones are those of biases."""

FORMATS: tuple[FormatName, ...] = get_args(FormatName)
"""Names of all formats."""


@dataclass(frozen=True, slots=True)
class GridSupport:
    """Uniform grids that a format holds.

    Attributes:
        bits: of a code.
        granularities: weights that may share a scale.
        asymmetric: whether codes of zero may differ from 0.
        operators: types of operators whose weights may have them; any where empty.
        integers: whether only those of them may that compute in integers, from quantized
            activations to quantized activations.
    """

    bits: tuple[int, ...]
    granularities: tuple[GridGranularity, ...]
    asymmetric: bool
    operators: tuple[str, ...] = ()
    integers: bool = False


@dataclass(frozen=True, slots=True)
class PaletteSupport:
    """Palettes that a format holds.

    Attributes:
        bits: of an index.
        grouped: whether there may be several tables.
        scaled: whether channels may have scales.
        operators: types of operators whose weights may have them; any where empty.
    """

    bits: tuple[int, ...]
    grouped: bool = False
    scaled: bool = False
    operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SparseSupport:
    """Sparse weights that a format holds.

    Attributes:
        values: kinds of storage of what is not zero: ``float``, ``grid``, ``palette``.
        bits: of their codes and indices.
        operators: types of operators whose weights may have them; any where empty.
    """

    values: tuple[str, ...]
    bits: tuple[int, ...] = ()
    operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FormatCapabilities:
    """Encodings that a format holds.

    Attributes:
        title: of the format.
        entry: name of the model's file or folder in a bundle.
        extra: of packlight that installs what writes it; empty where nothing more is needed.
        modules: that the extra installs.
        float_bits: of stored floats.
        static: whether activations may be quantized by stored ranges.
        runs_here: whether a runtime for it exists on this machine's kind.
        sources: of the facts.
        dynamic: whether activations may be quantized at every call.
        grids: uniform grids.
        palettes: palettes.
        sparse: sparse weights.
    """

    title: str
    entry: str
    extra: str
    modules: tuple[str, ...]
    float_bits: tuple[int, ...]
    static: bool
    runs_here: bool
    sources: Mapping[str, str]
    dynamic: bool = False
    grids: tuple[GridSupport, ...] = ()
    palettes: tuple[PaletteSupport, ...] = ()
    sparse: tuple[SparseSupport, ...] = ()

    def keeps(
        self, form: WeightForm, operators: Sequence[str] = (), *, integers: bool = False
    ) -> bool:
        """Say whether a weight can be stored so.

        Args:
            form: its storage.
            operators: types of the operators that read it.
            integers: whether these compute in integers, from activations to activations.
        """
        if isinstance(form, SparseForm):
            return any(
                form.values.kind in support.values
                and (form.values.kind == "float" or form.values.bits in support.bits)
                and _allows(support.operators, operators)
                for support in self.sparse
            )
        if isinstance(form, PaletteForm):
            return any(
                form.bits in support.bits
                and (support.grouped or form.tables == 1)
                and (support.scaled or not form.scaled)
                and _allows(support.operators, operators)
                for support in self.palettes
            )
        if isinstance(form, GridForm):
            return form.bits > WIDEST_CODE or any(
                form.bits in support.bits
                and form.granularity in support.granularities
                and (support.asymmetric or form.symmetric)
                and (integers or not support.integers)
                and _allows(support.operators, operators)
                for support in self.grids
            )
        return form.bits in self.float_bits or form.bits > max(self.float_bits)

    def nearest_recipe(self, form: WeightForm, operators: Sequence[str] = ()) -> str:
        """The step nearest to a form that the format keeps, as ``weights:8``; empty if none is.

        Args:
            form: that it does not keep.
            operators: types of the operators that read the weight.
        """
        for candidate in _neighbors(form):
            if self.keeps(candidate, operators):
                return recipe_text(candidate)
        if any(self.keeps(candidate, operators, integers=True) for candidate in _neighbors(form)):
            return "static"
        return ""


def _allows(allowed: Sequence[str], operators: Sequence[str]) -> bool:
    return not allowed or all(operator in allowed for operator in operators)


def _neighbors(form: WeightForm) -> Iterator[WeightForm]:
    """Forms to recommend instead, the nearest first: as many bits or more, then 8 bits."""
    if isinstance(form, SparseForm):
        yield SparseForm(form.zeros, FloatForm())
        yield from _neighbors(form.values)
        yield from _grids(min(form.values.bits, WIDEST_CODE))
        return
    bits = min(form.bits, WIDEST_CODE)
    if isinstance(form, PaletteForm):
        for width in range(bits, WIDEST_CODE + 1):
            yield PaletteForm(width, form.tables, form.axis, form.scaled)
            yield PaletteForm(width, form.tables, form.axis)
            yield PaletteForm(width)
    yield from _grids(bits, form)
    yield FloatForm(16)


def _grids(bits: int, form: DenseForm | None = None) -> Iterator[GridForm]:
    block = form.block if isinstance(form, GridForm) and form.block else 32
    for width in range(bits, WIDEST_CODE + 1):
        if isinstance(form, GridForm):
            yield GridForm(width, True, True, form.granularity, form.axis, form.block)
        if width < WIDEST_CODE:
            yield GridForm(width, granularity="block", block=block)
        yield GridForm(width)


def recipe_text(form: WeightForm) -> str:
    """The step of a recipe that stores weights in a form.

    >>> recipe_text(GridForm(4, granularity="block", block=32)), recipe_text(PaletteForm(6))
    ('weights:4,block=32', 'palette:6')
    """
    if isinstance(form, SparseForm):
        return f"sparse,values={form.values.kind}"
    if isinstance(form, GridForm):
        if form.granularity == "block":
            return f"weights:{form.bits},block={form.block}"
        per = ",per=tensor" if form.granularity == "tensor" else ""
        return f"weights:{form.bits}{per}"
    if isinstance(form, PaletteForm):
        return f"palette:{form.bits}"
    return "float16"


@cache
def format_capabilities(name: FormatName) -> FormatCapabilities:
    """Read what a format holds."""
    text = (FOLDER / f"{name}.toml").read_text("utf-8")
    return from_json(FormatCapabilities, tomllib.loads(text))
