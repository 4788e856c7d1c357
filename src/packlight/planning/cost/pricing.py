"""Costs of the files that a recipe makes of one model, for one unit of a device."""

from __future__ import annotations

from collections.abc import Sequence

from packlight.benchmarking.latency import CPU
from packlight.errors import ModelError
from packlight.model import Model
from packlight.planning.cost.kernels import Kernels
from packlight.planning.cost.predict import Precision, Predictor, Workload, workload_of
from packlight.planning.size.download_estimate import (
    DownloadSample,
    download,
    download_of_floats,
)
from packlight.records.device import Device
from packlight.records.measurement import Measurement, counted
from packlight.records.profile import Profile
from packlight.records.recipe import Recipe
from packlight.records.storage import (
    FewerChannels,
    IntegerArithmetic,
    StoredGrid,
    StoredLowRank,
)
from packlight.records.variant import Change


class Pricing:
    """Predicts what files of a model cost.

    Args:
        model: simplified.
        profile: of it.
        device: that it must run on.
        unit: of the device, that computes.
        sample: codes of its weights, compressed for a download.
        larger: of the model that this one was made of by structural steps.

    Attributes:
        workload: of one run.
        predictor: of latency, memory and energy.
        converts: whether the model is converted for another runtime than ONNX Runtime.
    """

    def __init__(
        self,
        model: Model,
        profile: Profile,
        device: Device,
        unit: str,
        *,
        sample: DownloadSample,
        larger: Predictor | None = None,
    ) -> None:
        self.sample = sample
        self.converts = "onnxruntime" not in device.units[unit].runtimes
        self.workload = workload_of(model.graph, profile)
        kernels = _kernels(model, profile, device, unit, self.workload)
        self.predictor = Predictor(self.workload, device, unit, kernels, larger)

    def of_floats(self, size: int, operators: int) -> dict[str, Measurement]:
        """Costs of a file whose weights are stored as they are.

        Args:
            size: bytes of the file.
            operators: bytes of operators, names, types and functions among them.
        """
        total = counted(size, "B")
        zipped = download_of_floats(total, operators, self.sample)
        costs = self.predictor.costs(self.predictor.original, total)
        return {"size": total, "download": zipped, **costs}

    def of_codes(
        self, size: Measurement, changes: Sequence[Change], recipe: Recipe, computes: str
    ) -> dict[str, Measurement]:
        """Costs of a compressed file.

        Args:
            size: bytes of the file.
            changes: that the recipe made.
            recipe: of the file, without structural steps.
            computes: data type of the products, where changes do not say.
        """
        precision = self.precision(changes, computes)
        before, after = coded_bytes(changes)
        zipped = download(size, before, after, self.sample.codes(recipe), self.sample)
        return {"size": size, "download": zipped, **self.predictor.costs(precision, size)}

    def precision(self, changes: Sequence[Change], computes: str) -> Precision:
        """Precision in which each operator computes.

        ONNX Runtime's CPU computes 16-bit weights in float32; a converted model may not.
        """
        integer = {c.operator for c in changes if isinstance(c.storage, IntegerArithmetic)}
        at_run = {
            change.operator: change.after / change.before
            for change in changes
            if expands_at_run(change) and change.before
        }
        half = computes == "float16" and self.converts
        half = half and self.predictor.computes("float16") == "float16"
        original = self.predictor.original
        weight_bytes = original.weight_bytes.copy()
        dtypes = list(original.dtypes)
        for row, name in enumerate(self.workload.names):
            if name in integer:
                weight_bytes[row] = 1.0
                dtypes[row] = "int8"
            elif name in at_run:
                weight_bytes[row] = 4.0 * at_run[name]
            elif half and dtypes[row] == "float32":
                weight_bytes[row] = 2.0
                dtypes[row] = "float16"
        if integer:
            _pass_codes_on(dtypes, self.workload)
        return Precision(tuple(dtypes), weight_bytes)


def _kernels(
    model: Model, profile: Profile, device: Device, unit: str, workload: Workload
) -> Kernels | None:
    """Kernel latencies, where the device was measured and every shape is known."""
    if unit != CPU or not device.curves or workload.unknown:
        return None
    try:
        return Kernels(model, profile, device, workload.names)
    except ModelError:  # a shape depends on numbers; the roofline needs no shapes
        return None


def expands_at_run(change: Change) -> bool:
    """Tell whether a weight becomes float at every run."""
    return isinstance(change.storage, StoredGrid) and change.storage.expand == "run"


def coded_bytes(changes: Sequence[Change]) -> tuple[float, float]:
    """Bytes of weights that become codes, and of the codes."""
    coded = [c for c in changes if not isinstance(c.storage, FewerChannels | StoredLowRank)]
    before = float(sum(change.before for change in coded))
    return before, float(sum(change.after for change in coded))


def _pass_codes_on(dtypes: list[str], workload: Workload) -> None:
    """Let operators between those that a route puts in integers move codes too, in place."""
    for row in range(1, len(dtypes)):
        follows = dtypes[row - 1] == "int8" and workload.dtypes[row - 1] != "int8"
        if workload.families[row] == "other" and follows:
            dtypes[row] = "int8"
