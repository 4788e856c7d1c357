"""Stored forms of weights as functions of latent weights, which gradients pass as they are.

A latent weight is a float for each number of the weight. Its form rounds it as the file does, and
the gradient of the rounded weight is that of the latent one (a straight-through estimate), while
scales and tables get their own gradients. What is learned is written back in the same bytes.
Source: Bengio et al. (2013) for the estimate; Esser et al., "LSQ" (ICLR 2020), for scales.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from packlight.compression.encoding.scales import scale_parts
from packlight.compression.qdq.integer_weights import PairLayout
from packlight.records.configs import ScaleBits
from packlight.runtime.kernel_sums import MOST_NEGATIVE, MOST_POSITIVE
from packlight.torch.values import Tensor

Array = NDArray[Any]
ENTRY_TOP = 127
"""Largest entry of a table of 8 bits."""

SHORT = 16
LEAST_SHARE = float(np.finfo(np.float16).smallest_subnormal)
LEAST_SCALE = float(np.finfo(np.float32).tiny)


class Scale(torch.nn.Module):
    """Scales of channels, in 16 or 32 bits.

    Args:
        parts: stored arrays of a weight; ``scale``, or ``half`` and ``widest``, or neither.
    """

    def __init__(self, parts: Mapping[str, Array]) -> None:
        super().__init__()
        self.bits: ScaleBits = 16 if "half" in parts else 32
        self.exists = "half" in parts or "scale" in parts
        values = np.ones((), np.float32)
        if "half" in parts:
            values = parts["half"].astype(np.float32) * parts["widest"].astype(np.float32)
        elif "scale" in parts:
            values = parts["scale"].astype(np.float32)
        tensor = torch.from_numpy(np.array(values))
        self.values = torch.nn.Parameter(tensor, requires_grad=self.exists)

    def forward(self) -> Tensor:
        """Scales as they are stored; gradients pass as if they were not rounded."""
        values = self.values.clamp(min=LEAST_SCALE)
        if self.bits != SHORT:
            return values
        widest = values.detach().max()
        half = (values.detach() / widest).clamp(min=LEAST_SHARE).half()
        return values + (half.float() * widest - values.detach())

    def arrays(self) -> Mapping[str, Array]:
        """What is stored, by the name of the part."""
        if not self.exists:
            return {}
        values = self.values.detach().clamp(min=LEAST_SCALE).numpy()
        return scale_parts(values, self.bits)


class GridForm(torch.nn.Module):
    """Codes of a uniform grid.

    Args:
        parts: stored arrays, codes as integers.
        limits: least and largest code.
        scale_shape: shape in which scales are aligned with the codes, before ``repeats``.
        repeats: axis and size of blocks that share a scale; None where none do.
        pairs: of weights that must be safe to add in 16 bits; None where none must.
        learns_scale: whether scales are learned.
    """

    zero: Tensor

    def __init__(
        self,
        parts: Mapping[str, Array],
        limits: tuple[int, int],
        scale_shape: Sequence[int],
        repeats: tuple[int, int] | None = None,
        pairs: PairLayout | None = None,
        *,
        learns_scale: bool = True,
    ) -> None:
        super().__init__()
        self.scale = Scale(parts)
        self.scale.values.requires_grad_(self.scale.exists and learns_scale)
        self.limits = limits
        self.scale_shape = tuple(scale_shape)
        self.repeats = repeats
        self.pairs = pairs
        zero = parts.get("zero", np.zeros(1)).astype(np.float32)
        self.register_buffer("zero", torch.from_numpy(zero))

    def aligned(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """Scales or zeros in a shape that goes with the codes."""
        if values.numel() == 1:
            return values.reshape(())
        aligned = values.reshape(self.scale_shape)
        if self.repeats is None:
            return aligned
        axis, size = self.repeats
        return aligned.repeat_interleave(size, axis).narrow(axis, 0, shape[axis])

    def codes(self, latent: Tensor) -> Tensor:
        """Codes as floats; gradients pass as if they were not rounded."""
        ratio = latent / self._step(latent) + self.aligned(self.zero, latent.shape)
        low, high = self.limits
        inside = torch.nn.functional.hardtanh(ratio, low, high)
        codes = inside.detach().round()
        if self.pairs is not None:
            codes = held_pairs(codes, self.pairs)
        return inside + (codes - inside.detach())

    def _step(self, latent: Tensor) -> Tensor:
        scale: Tensor = self.scale()
        return self.aligned(scale, latent.shape)

    def forward(self, latent: Tensor) -> Tensor:
        """The weight as the file gives it."""
        return self.restored_codes(self.codes(latent))

    def restored_codes(self, codes: Tensor) -> Tensor:
        """The weight with these codes."""
        return (codes.float() - self.aligned(self.zero, codes.shape)) * self._step(codes)

    def expected_error(self, latent: Tensor) -> Tensor:
        """Root mean square of errors that are even within a step."""
        return self._step(latent).abs().expand(latent.shape).square().mean().sqrt() / 12**0.5

    def nearest_inside(self, latent: Tensor, codes: Tensor) -> Tensor:
        """Latent weights moved to where they have these codes."""
        center = self.restored_codes(codes)
        edge = EDGE * self._step(latent).abs()
        return torch.minimum(torch.maximum(latent, center - edge), center + edge)

    def arrays(self, latent: Tensor) -> Mapping[str, Array]:
        """Codes as integers, and scales, by the name of the part."""
        codes = self.codes(latent).round().numpy().astype(np.int64)
        return {"codes": codes, **(self.scale.arrays() if self.scale.values.requires_grad else {})}


def held_pairs(codes: Tensor, form: PairLayout) -> Tensor:
    """The nearest codes whose pairs are safe to add in 16 bits, as ``hold_pairs`` has them."""
    rows = codes.permute(form.order).reshape(math.prod(codes.shape[a] for a in form.first), -1)
    count = rows.shape[1]
    pairs = torch.nn.functional.pad(rows, (0, count % 2)).reshape(len(rows), -1, 2)
    above = (pairs.clamp(min=0).sum(-1) - MOST_POSITIVE).clamp(min=0)
    below = (pairs.clamp(max=0).sum(-1) - MOST_NEGATIVE).clamp(max=0)
    over = above + below
    half = (over / 2).trunc()
    safe = (pairs - torch.stack([over - half, half], -1)).reshape(len(rows), -1)[:, :count]
    moved = [codes.shape[axis] for axis in form.order]
    return safe.reshape(moved).permute(*np.argsort(form.order).tolist())


class BiasForm(torch.nn.Module):
    """Codes of 32 bits with scales that stay.

    Args:
        scale: in a shape that goes with the codes.
        zero: in such a shape.
    """

    scale: Tensor
    zero: Tensor

    def __init__(self, scale: Array, zero: Array) -> None:
        super().__init__()
        self.register_buffer("scale", torch.from_numpy(np.array(scale, np.float32)))
        self.register_buffer("zero", torch.from_numpy(np.array(zero, np.float32)))

    def forward(self, latent: Tensor) -> Tensor:
        """The bias as the file gives it."""
        codes = self.codes(latent.detach())
        return latent + (self.restored_codes(codes) - latent.detach())

    def codes(self, latent: Tensor) -> Tensor:
        """The nearest codes."""
        ratio = latent.double() / self.scale.double()
        return ratio.round().clamp(-LARGEST_BIAS, LARGEST_BIAS) + self.zero

    def restored_codes(self, codes: Tensor) -> Tensor:
        """The bias with these codes."""
        return ((codes.double() - self.zero) * self.scale).float()

    def expected_error(self, latent: Tensor) -> Tensor:
        """None that matters: a bias moves as what is not rounded."""
        return latent.new_zeros(())

    def nearest_inside(self, latent: Tensor, codes: Tensor) -> Tensor:
        """The bias with these codes: its steps are too small to matter."""
        del latent
        return self.restored_codes(codes)

    def arrays(self, latent: Tensor) -> Mapping[str, Array]:
        """Codes as integers."""
        return {"codes": self.codes(latent).numpy().astype(np.int64)}


LARGEST_BIAS = 2**30
"""Largest code of a bias: half of what int32 holds leaves room for the sum it is added to."""

EDGE = 0.45
"""Share of a step from a point to where a latent weight begins that belongs to another one."""


class PaletteForm(torch.nn.Module):
    """Indices into tables.

    Args:
        parts: stored arrays, indices as integers.
        table_of: table of each channel, in the shape of the scales; None for a single table.
    """

    def __init__(self, parts: Mapping[str, Array], table_of: Array | None) -> None:
        super().__init__()
        self.scale = Scale(parts)
        table = parts["table"].astype(np.float32)
        step = parts.get("step")
        self.step: Tensor | None = None
        if step is not None:
            table = table * step
            self.step = torch.from_numpy(np.array(step))
        self.table = torch.nn.Parameter(torch.from_numpy(np.array(table)))
        self.table_of = None if table_of is None else torch.from_numpy(table_of)

    def tables(self) -> Tensor:
        """Entries in order, as they are stored."""
        ordered = self.table.sort(-1).values
        if self.step is None:
            return ordered
        ratio = torch.nn.functional.hardtanh(
            ordered / self.step, -float(ENTRY_TOP), float(ENTRY_TOP)
        )
        return (ratio + (ratio.round() - ratio).detach()) * self.step

    def indices(self, latent: Tensor) -> Tensor:
        """The nearest entry of every number."""
        with torch.no_grad():
            points = latent / self.scale()
            tables = self.tables()
            middles = (tables[..., 1:] + tables[..., :-1]) / 2
            if self.table_of is None:
                return torch.bucketize(points, middles)
            indices = torch.zeros(points.shape, dtype=torch.int64)
            for index in range(middles.shape[-1]):
                indices += points > middles[:, index][self.table_of]
            return indices

    def restored(self, indices: Tensor) -> Tensor:
        """Values of indices."""
        tables = self.tables()
        if self.table_of is None:
            return self._scaled(tables[indices])
        flat = indices + self.table_of * tables.shape[-1]
        return self._scaled(tables.reshape(-1)[flat])

    def _scaled(self, values: Tensor) -> Tensor:
        scale: Tensor = self.scale()
        return values * scale

    def forward(self, latent: Tensor) -> Tensor:
        """The weight as the file gives it."""
        value = self.restored(self.indices(latent))
        return value + (latent - latent.detach())

    def restored_codes(self, codes: Tensor) -> Tensor:
        """The weight with these indices."""
        return self.restored(codes.to(torch.int64)).detach()

    def expected_error(self, latent: Tensor) -> Tensor:
        """Root mean square of the errors that there are."""
        error: Tensor = self(latent) - latent
        return error.square().mean().sqrt()

    def nearest_inside(self, latent: Tensor, codes: Tensor) -> Tensor:
        """Latent weights moved to where they have these indices."""
        indices = codes.to(torch.int64)
        tables = self.tables().detach()
        flat = indices if self.table_of is None else indices + self.table_of * tables.shape[-1]
        below = torch.cat([tables[..., :1], (tables[..., 1:] + tables[..., :-1]) / 2], -1)
        above = torch.cat([(tables[..., 1:] + tables[..., :-1]) / 2, tables[..., -1:]], -1)
        scale = self.scale().detach()
        center = tables.reshape(-1)[flat]
        low = center + 2 * EDGE * (below.reshape(-1)[flat] - center)
        high = center + 2 * EDGE * (above.reshape(-1)[flat] - center)
        return torch.minimum(torch.maximum(latent, low * scale), high * scale)

    def arrays(self, latent: Tensor) -> Mapping[str, Array]:
        """Indices as integers, tables and scales, by the name of the part."""
        tables = self.tables().detach()
        parts: dict[str, Array] = {"codes": self.indices(latent).numpy()}
        if self.step is None:
            parts["table"] = tables.numpy().astype(np.float32)
        else:
            parts["table"] = (tables / self.step).round().numpy().astype(np.int8)
            parts["step"] = self.step.numpy()
        return {**parts, **self.scale.arrays()}


class SparseForm(torch.nn.Module):
    """Values between zeros, which stay where they are.

    Args:
        mask: of the weight, true where it is not zero.
        values: form of the values: a grid, a palette, or floats as they are.
    """

    mask: Tensor

    def __init__(self, mask: Array, values: GridForm | PaletteForm | None) -> None:
        super().__init__()
        self.register_buffer("mask", torch.from_numpy(mask.astype(np.float32)))
        self.values = values

    def forward(self, latent: Tensor) -> Tensor:
        """The weight as the file gives it."""
        if self.values is None:
            return latent * self.mask
        values: Tensor = self.values(latent)
        return values * self.mask

    def restored_codes(self, codes: Tensor) -> Tensor:
        """The weight with these codes, or values where it has none."""
        if self.values is None:
            return codes
        return self.values.restored_codes(codes) * self.mask

    def expected_error(self, latent: Tensor) -> Tensor:
        """Root mean square of the errors of values; 0 where these are floats."""
        if self.values is None:
            return latent.new_zeros(())
        return self.values.expected_error(latent)

    def nearest_inside(self, latent: Tensor, codes: Tensor) -> Tensor:
        """Latent weights moved to where they have these codes."""
        if self.values is None:
            return codes
        return self.values.nearest_inside(latent, codes)

    def arrays(self, latent: Tensor) -> Mapping[str, Array]:
        """Values between the zeros, and what belongs to them, by the name of the part."""
        chosen = self.mask.bool()
        if self.values is None:
            return {"values": latent[chosen].numpy()}
        parts = dict(self.values.arrays(latent))
        codes = torch.from_numpy(parts.pop("codes"))
        return {"values": codes[chosen].numpy(), **parts}


StoredForm = GridForm | PaletteForm | SparseForm | BiasForm
