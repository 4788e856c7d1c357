"""What changed from a bench's original to a variant, sample by sample."""

from __future__ import annotations

from dataclasses import replace

from packlight.comparison import contrast as set_beside
from packlight.evaluation import columns
from packlight.records import Contrast, Evaluation
from packlight.search.bench import Bench
from packlight.task import SampleTable


def contrast(bench: Bench, found: Evaluation) -> Contrast | None:
    """What changed from the original to a variant that was judged; None for the original itself."""
    if found.variant == found.reference:
        return None
    return set_beside(
        bench.task.metric,
        reference_table(bench, found),
        bench.table(found),
        columns(bench.task),
        variant=found.variant,
        reference=found.reference,
        distance=found.distance,
        seed=bench.seed,
    )


def reference_table(bench: Bench, found: Evaluation) -> SampleTable:
    """What the original did on single samples, kept when the variant was judged beside it."""
    return bench.table(replace(found, samples=found.beside))
