"""ExecuTorch: written through PyTorch and XNNPACK, read again, and run in its runtime."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np

from packlight.exporting.bookkeeping import as_encoded, exported_weights
from packlight.exporting.executorch.counting import Contents, read_contents
from packlight.exporting.executorch.examples import examples
from packlight.exporting.executorch.lowering import Lowered, lower
from packlight.exporting.executorch.obstacles import obstacle
from packlight.exporting.executorch.program import build_program
from packlight.exporting.formats import (
    Array,
    Feeds,
    Format,
    WriteOptions,
    Written,
    refuse,
    refuse_operators,
)
from packlight.exporting.keeping import as_floats, is_bias, reader_types
from packlight.exporting.neutral import Neutral
from packlight.exporting.quiet import quiet_libraries
from packlight.records.export import ExportRefusal, Reread
from packlight.torch import unsupported_operators
from packlight.torch.values import as_array, as_tensor

ENTRY = "model.pte"


def _write(neutral: Neutral, folder: Path, options: WriteOptions) -> Written:
    """Write ``model.pte``.

    Raises:
        ExportError: an operator has no lowering or no kernel, or XNNPACK does not take a weight.
    """
    source = options.source or neutral
    floats = {w.name: as_floats(w) for w in neutral.weights.values() if is_bias(w)}
    neutral = neutral.with_weights(floats)
    unsupported = unsupported_operators(neutral.float_model())
    if unsupported:
        raise refuse_operators("executorch", dict.fromkeys(unsupported, ""))
    lowered = lower(neutral)
    file = build_program(lowered, neutral.inputs, list(neutral.outputs))
    if file.outside:
        raise refuse("executorch", [_refusal(neutral, lowered, name) for name in file.outside])
    (folder / ENTRY).write_bytes(file.content)
    weights = exported_weights(neutral, source, as_encoded, options.expanded)
    renamed = {
        name: f"{kind} {index}"
        for kind, names in (("input", neutral.inputs), ("output", neutral.outputs))
        for index, name in enumerate(names)
    }
    return Written(
        entry=ENTRY,
        weights=weights,
        renamed=renamed,
        notes=_notes(lowered, read_contents(file.content)),
        rounds=lowered.rounds,
    )


def _refusal(neutral: Neutral, lowered: Lowered, name: str) -> ExportRefusal:
    weight = lowered.sources[name]
    return ExportRefusal(
        format="executorch",
        subject=weight,
        operator=", ".join(reader_types(neutral, weight)),
        form=None,
        reason="XNNPACK leaves out the operator that reads its codes, and the portable kernels "
        "restore them at every call",
    )


def _notes(lowered: Lowered, contents: Contents) -> tuple[str, ...]:
    notes = []
    if contents.operators:
        left = ", ".join(contents.operators)
        notes.append(f"speed of what XNNPACK leaves to ExecuTorch's portable kernels: {left}")
    if lowered.rounds:
        notes.append(
            "XNNPACK has no products of codes with floats: activations are rounded to 8 bits at "
            "every call, and scales of 4-bit codes to bfloat16"
        )
    return tuple(notes)


def _reread(folder: Path, neutral: Neutral, written: Written) -> Reread:
    content = (folder / written.entry).read_bytes()
    contents = read_contents(content)
    runner = ProgramRunner(folder / written.entry)
    names = {*runner.inputs, *runner.outputs}
    runner.close()
    return Reread(
        weights=contents.numbers,
        bytes={"weights": contents.bytes, "graph": len(content) - contents.bytes},
        inputs={name: written.renamed[name] for name in neutral.inputs if name in names},
        outputs={name: written.renamed[name] for name in neutral.outputs if name in names},
    )


class ProgramRunner:
    """A program that is open in ExecuTorch's runtime, on one thread.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        with quiet_libraries():
            from executorch.extension.pybindings import portable_lib  # noqa: PLC0415  an extra
            from executorch.runtime import Runtime  # noqa: PLC0415

            portable_lib._unsafe_reset_threadpool(1)
            self.program = Runtime.get().load_program(path)
            self.method = self.program.load_method("forward")
            self.inputs = self._names("input_names")
            self.outputs = self._names("output_names")

    def _names(self, method: str) -> list[str]:
        return [str(name) for name in self.program.load_method(method).execute([])]

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Outputs of one call."""
        tensors = [as_tensor(np.asarray(feeds[name])) for name in self.inputs]
        results = self.method.execute(tensors)
        return {name: as_array(tensor) for name, tensor in zip(self.outputs, results, strict=True)}

    def close(self) -> None:
        """Release it."""
        del self.method
        del self.program


def _open(folder: Path, _neutral: Neutral, written: Written) -> ProgramRunner:
    return ProgramRunner(folder / written.entry)


def _runtime() -> str:
    return f"ExecuTorch {version('executorch')} with XNNPACK"


FORMAT = Format(
    name="executorch",
    write=_write,
    reread=_reread,
    open=_open,
    runtime=_runtime,
    obstacle=obstacle,
    times=True,
    examples=examples,
    unmeasured=("no phone has run this file; ExecuTorch's runtime ran on this machine",),
    licenses=("executorch",),
)
