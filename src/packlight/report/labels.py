"""The report's fixed words: names of quantities, badges, and what each number means."""

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
    "drop": "Drop",
    "worst_group_drop": "Worst group's drop",
    "flips": "Flips",
}
MARK = {
    "yes": "✓", "unclear": "?", "no": "✕", "fits": "✓", "undecided": "?", "misses": "✕",
    "serious": "✕", "warning": "!", "note": "·",
}  # fmt: skip
TONE = {
    "yes": "good", "fits": "good", "unclear": "open", "undecided": "open", "no": "bad",
    "misses": "bad", "serious": "bad", "warning": "open", "note": "plain",
}  # fmt: skip
VERDICT = {"fits": "Fits", "undecided": "Undecided", "misses": "Budget missed"}

MEANINGS = (
    ("[0.1, 0.9]", "95 % interval: where the true value lies, as far as these samples and runs "
     "can tell. A number without one was counted exactly."),
    ("~", "Estimated from a model, not observed."),
    ("Size", "Bytes of the model's file with all its external data."),
    ("Download", "The same after zip compression (deflate)."),
    ("Time", "Latency ratio: the median time of one run over that of the original, measured in "
     "turns with it in one process. Below 1x is faster; only an interval wholly below 1x is "
     "called so."),
    ("Latency", "The median time of one run."),
    ("Peak memory", "The most memory that a fresh process needs to load and run the model, less "
     "what the empty runtime needs."),
    ("Drop", "How much worse than the original on the same samples: in percentage points where "
     "the metric lies between 0 and 1, else relative to the original. Negative is better."),
    ("Flips", "Share of decisions that were right and are wrong now; without labels, of those that "
     "are no longer the original's."),
    ("q", "Probability that a group this unlike the rest comes by chance, adjusted over all "
     "groups (Benjamini-Hochberg); at most 0.05 is told."),
    ("Front", "No other variant is better in size, time and drop at once."),
    ("yes, unclear, no", "A budget is met when the whole interval keeps it, and missed when none "
     "of it does."),
    ("runtime differs", "The optimised runtime computes something else than exact arithmetic "
     "would, by more than compression itself changed."),
)  # fmt: skip
ARITHMETIC = {
    "runtime": "as the optimised session computes it",
    "exact": "exact: graph optimisations off, integer operators by exact references",
}
ACCURACY = {
    0: "as the runtime chooses", 1: "in 32-bit float", 2: "in 16-bit float", 3: "in bfloat16",
    4: "with 8-bit activations, the runtime's default",
}  # fmt: skip


def pill(state: str, words: str) -> Markup:
    """A mark and a word for a state; the colour is never alone."""
    mark = element("span", MARK[state], aria_hidden="true")
    return element("span", mark, " ", words, class_=f"pill {TONE[state]}")


def badge(label: str, tone: str = "") -> Markup:
    """A label beside a variant's name."""
    return element("span", label, class_=f"badge {tone}".rstrip())


def name_of(metric: str) -> str:
    """A quantity's name for reading."""
    return QUANTITY.get(metric, metric)
