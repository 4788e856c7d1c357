"""Stored forms of weights as functions of latent weights, which gradients pass as they are.

A latent weight is a float for each number of the weight. Its form rounds it as the file does, and
the gradient of the rounded weight is that of the latent one (a straight-through estimate), while
scales and tables get their own gradients. What is learned is written back in the same bytes.
Source: Bengio et al. (2013) for the estimate; Esser et al., "LSQ" (ICLR 2020), for scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from packlight.compression.encoding.scales import scale_parts
from packlight.torch.values import Tensor

Array = NDArray[Any]
ENTRY_TOP = 127
"""Largest entry of a table of 8 bits."""


class Scale(torch.nn.Module):
    """Scales of channels, in 16 or 32 bits.

    Args:
        parts: stored arrays of a weight; ``scale``, or ``half`` and ``widest``, or neither.
    """

    def __init__(self, parts: Mapping[str, Array]) -> None:
        super().__init__()
        self.bits = 16 if "half" in parts else 32
        self.exists = "half" in parts or "scale" in parts
        values = np.ones((), np.float32)
        if "half" in parts:
            values = parts["half"].astype(np.float32) * parts["widest"].astype(np.float32)
        elif "scale" in parts:
            values = parts["scale"].astype(np.float32)
        tensor = torch.from_numpy(np.array(values))
        self.values = torch.nn.Parameter(tensor, requires_grad=self.exists)

    def arrays(self) -> Mapping[str, Array]:
        """What is stored, by the name of the part."""
        if not self.exists:
            return {}
        values = self.values.detach().numpy()
        return scale_parts(np.maximum(values, np.finfo(np.float32).tiny), self.bits)  # type: ignore[arg-type]


class GridForm(torch.nn.Module):
    """Codes of a uniform grid.

    Args:
        parts: stored arrays, codes as integers.
        limits: least and largest code.
        scale_shape: shape in which scales are aligned with the codes, before ``repeats``.
        repeats: axis and size of blocks that share a scale; None where none do.
    """

    def __init__(
        self,
        parts: Mapping[str, Array],
        limits: tuple[int, int],
        scale_shape: Sequence[int],
        repeats: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.scale = Scale(parts)
        self.limits = limits
        self.scale_shape = tuple(scale_shape)
        self.repeats = repeats
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
        scale = self.aligned(self.scale.values, latent.shape)
        ratio = latent / scale + self.aligned(self.zero, latent.shape)
        inside = torch.nn.functional.hardtanh(ratio, *map(float, self.limits))
        return inside + (inside.round() - inside).detach()

    def forward(self, latent: Tensor) -> Tensor:
        """The weight as the file gives it."""
        scale = self.aligned(self.scale.values, latent.shape)
        return (self.codes(latent) - self.aligned(self.zero, latent.shape)) * scale

    def restored_codes(self, codes: Tensor) -> Tensor:
        """The weight with these codes."""
        scale = self.aligned(self.scale.values, codes.shape).detach()
        return (codes.float() - self.aligned(self.zero, codes.shape)) * scale

    def nearest_inside(self, latent: Tensor, codes: Tensor) -> Tensor:
        """Latent weights moved to where they have these codes."""
        scale = self.aligned(self.scale.values, latent.shape)
        center = codes - self.aligned(self.zero, latent.shape)
        edge = EDGE * scale.abs()
        return torch.minimum(torch.maximum(latent, center * scale - edge), center * scale + edge)

    def arrays(self, latent: Tensor) -> Mapping[str, Array]:
        """Codes as integers, and scales, by the name of the part."""
        return {"codes": self.codes(latent).numpy().astype(np.int64), **self.scale.arrays()}


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
            points = latent / self.scale.values.clamp(min=torch.finfo(torch.float32).tiny)
            tables = self.tables()
            middles = (tables[..., 1:] + tables[..., :-1]) / 2
            if self.table_of is None:
                return torch.bucketize(points, middles)
            found = torch.zeros(points.shape, dtype=torch.int64)
            for place in range(middles.shape[-1]):
                found += points > middles[:, place][self.table_of]
            return found

    def restored(self, indices: Tensor) -> Tensor:
        """Values of indices."""
        tables = self.tables()
        if self.table_of is None:
            return tables[indices] * self.scale.values
        flat = indices + self.table_of * tables.shape[-1]
        return tables.reshape(-1)[flat] * self.scale.values

    def forward(self, latent: Tensor) -> Tensor:
        """The weight as the file gives it."""
        value = self.restored(self.indices(latent))
        return value + (latent - latent.detach())

    def restored_codes(self, codes: Tensor) -> Tensor:
        """The weight with these indices."""
        return self.restored(codes.to(torch.int64)).detach()

    def nearest_inside(self, latent: Tensor, codes: Tensor) -> Tensor:
        """Latent weights moved to where they have these indices."""
        indices = codes.to(torch.int64)
        tables = self.tables().detach()
        flat = indices if self.table_of is None else indices + self.table_of * tables.shape[-1]
        below = torch.cat([tables[..., :1], (tables[..., 1:] + tables[..., :-1]) / 2], -1)
        above = torch.cat([(tables[..., 1:] + tables[..., :-1]) / 2, tables[..., -1:]], -1)
        scale = self.scale.values.detach()
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

    def __init__(self, mask: Array, values: GridForm | PaletteForm | None) -> None:
        super().__init__()
        self.register_buffer("mask", torch.from_numpy(mask.astype(np.float32)))
        self.values = values

    def forward(self, latent: Tensor) -> Tensor:
        """The weight as the file gives it."""
        if self.values is None:
            return latent * self.mask
        return self.values(latent) * self.mask

    def restored_codes(self, codes: Tensor) -> Tensor:
        """The weight with these codes, or values where it has none."""
        if self.values is None:
            return codes
        return self.values.restored_codes(codes) * self.mask

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


StoredForm = GridForm | PaletteForm | SparseForm
