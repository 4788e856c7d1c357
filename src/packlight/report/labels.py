"""Fixed labels of pages: quantities, marks, and definitions of numbers."""

from __future__ import annotations

from markupsafe import Markup

from packlight.presentation.markup import element

QUANTITY = {
    "size": "File size",
    "download": "Download",
    "latency": "Latency",
    "latency_ratio": "Time",
    "peak_memory": "Peak memory",
    "energy": "Energy",
    "device_latency": "Latency on the device",
    "device_peak_memory": "Memory on the device",
    "device_energy": "Energy on the device",
    "drop": "Drop",
    "worst_group_drop": "Worst group's drop",
    "flips": "Flips",
}
MARK = {
    "yes": "✓", "unclear": "?", "no": "✕", "fits": "✓", "undecided": "?", "misses": "✕",
    "serious": "✕", "warning": "!", "note": "·", "unjudged": "·",
}  # fmt: skip
TONE = {
    "yes": "good", "fits": "good", "unclear": "open", "undecided": "open", "no": "bad",
    "misses": "bad", "serious": "bad", "warning": "open", "note": "plain", "unjudged": "plain",
}  # fmt: skip

MEANINGS = (
    ("[0.1, 0.9]", "95 % confidence interval. A number without an interval was counted exactly."),
    ("~", "Predicted, not measured."),
    ("Size", "Bytes of the model file, external data included."),
    ("Download", "Size after zip compression (deflate)."),
    ("Time", "Latency ratio: the median time of a run over that of the original, interleaved with "
     "it in one process. Below 1x is faster; a variant is called faster only if the whole "
     "interval is below 1x."),
    ("Latency", "Median time of a run."),
    ("Peak memory", "Peak memory of a fresh process that loads and runs the model, minus that of "
     "the empty runtime."),
    ("Drop", "Loss of quality against the original on the same samples: in percentage points if "
     "the metric lies between 0 and 1, else relative to the original. Negative is better."),
    ("Flips", "Share of decisions that were right and are wrong now; without labels, share of "
     "decisions that differ from the original's."),
    ("q", "p-value for a group that differs from the rest, adjusted for the number of groups "
     "(Benjamini-Hochberg); groups are listed up to 0.05."),
    ("Front", "Pareto front: no other variant is better in size, latency and drop at once."),
    ("yes, unclear, no", "A budget is met if the whole interval keeps it, and missed if none of "
     "the interval does."),
    ("runtime differs", "The optimized runtime differs from exact arithmetic by more than "
     "compression changed the outputs."),
)  # fmt: skip
ARITHMETIC = {
    "runtime": "as the optimized session computes it",
    "exact": "exact: graph optimizations off, integer operators by exact references",
}
ACCURACY = {
    0: "as the runtime chooses", 1: "in 32-bit float", 2: "in 16-bit float", 3: "in bfloat16",
    4: "with 8-bit activations, the runtime's default",
}  # fmt: skip


MINUS = "\N{MINUS SIGN}"


def minus(text: str) -> str:
    """Replace hyphens by minus signs and u by µ; the terminal keeps ASCII."""
    return text.replace("-", MINUS).replace(" us", " µs")


def pill(state: str, words: str) -> Markup:
    """Mark and word for a state, so that color is never the only sign."""
    mark = element("span", MARK[state], aria_hidden="true")
    return element("span", mark, " ", words, class_=f"pill {TONE[state]}")


def name_of(metric: str) -> str:
    """Readable name of a metric."""
    return QUANTITY.get(metric, metric)
