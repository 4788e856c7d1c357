"""Calibration samples that go on from where they were when a method looked before.

Methods that round in the order operators run look again and again, each time further on. What lies
before is settled then, so its values are kept, and the next look begins with them: every operator
runs about once, and no more than a part of the model is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Lock

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import Steps, stream
from packlight.runtime.calibration.partial_runs import Form, Line, behind, line_before
from packlight.runtime.disk_cache import MOST, Spool
from packlight.runtime.progress import Progress

Values = Mapping[str, NDArray[np.generic]]


BESIDE = 2
"""Models that are looked at in turns or at once, each with a line of its own."""


class Crossed:
    """The values that crossed a line, call by call.

    Args:
        most: bytes that are kept; where there are more, none are.
    """

    def __init__(self, most: int) -> None:
        self.spool = Spool((), most)
        self.forms: dict[str, Form] = {}
        self.calls = 0

    def keep(self, values: Values) -> None:
        """Keep those of one call, if all are arrays; what is none cannot be fed again."""
        if not all(isinstance(value, np.ndarray) for value in values.values()):
            self.calls, self.spool = self.calls + 1, Spool((), 0)
            return
        for name, value in values.items():
            form = self.forms.get(name) or Form(ir.DataType.from_numpy(value.dtype), value.shape)
            self.forms[name] = form.with_another(value.shape)
        self.spool.keep(self.calls, [values])
        self.calls += 1
        if not self.whole:
            self.spool = Spool((), 0)

    @property
    def whole(self) -> bool:
        """Whether every call is kept."""
        return 0 < self.calls == len(self.spool.places)

    def steps(self, progress: Progress) -> Iterator[Steps]:
        """What lies behind the line is fed, each call as a sample."""
        for place in range(self.calls):
            progress("calibrating", place, self.calls)
            yield self.spool[place]


class Relay:
    """Values of chosen tensors over samples without a state.

    Args:
        samples: makes them anew at every look that begins at the model's inputs.
        options: of the sessions.
        progress: is told how far a look is.
        most: bytes of values of one model that are kept between looks; where they are more, the
            next look begins at the inputs.
    """

    def __init__(
        self, samples: Callable[[], Iterable[Steps]], options: SessionOptions,
        progress: Progress, most: int = MOST,
    ) -> None:  # fmt: skip
        self.samples = samples
        self.options = options
        self.progress = progress
        self.most = most
        self.kept: list[tuple[Line, Crossed]] = []
        self.lock = Lock()

    def values(self, model: Model, names: Sequence[str]) -> Iterator[Values]:
        """Values of each call, one after the other."""
        line = line_before(model.graph, names)
        start, calls = self.begun(model, line)
        crossing = line.crossing if line.before else ()
        crossed = Crossed(self.most if crossing else 0)
        for found in stream(start, [*names, *crossing], calls, {}, self.options):
            yield {name: found[name] for name in names if name in found}
            crossed.keep({name: found[name] for name in crossing})
        if crossing and crossed.whole:
            with self.lock:
                self.kept = [*self.kept[1 - BESIDE :], (line, crossed)]

    def begun(self, model: Model, line: Line) -> tuple[Model, Iterator[Steps]]:
        """The model from where the last look ended, if that still holds, and what it is fed."""
        for before, crossed in self.taken(model.graph):
            if before.first() <= line.first() and before.holds(model.graph):
                return behind(model, before, crossed.forms), crossed.steps(self.progress)
        return model, ([feeds] for steps in self.samples() for feeds in steps)

    def taken(self, graph: ir.Model) -> list[tuple[Line, Crossed]]:
        """What is kept of a graph, which is let go of; of others it stays."""
        with self.lock:
            own = [one for one in self.kept if not one[0].first().isdisjoint(graph.graph)]
            self.kept = [one for one in self.kept if one not in own]
        return own
