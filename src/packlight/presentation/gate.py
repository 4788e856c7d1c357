"""Checked budgets in words: one line for each, and the sentence that sums them up."""

from __future__ import annotations

import re

from packlight.presentation.numbers import plural, show_named, show_named_value, show_share
from packlight.records.gate import CheckedBudget, Gate

MARKS = {True: "pass", False: "FAIL"}


def headline(gate: Gate) -> str:
    """The result in one sentence.

    The models are named, so that it can stand alone in the log of a CI job.
    """
    failed = [checked for checked in gate.budgets if not checked.passed]
    if not failed:
        kept = plural(len(gate.budgets), "budget")
        verb = "keeps" if all(checked.meets == "yes" for checked in gate.budgets) else "passes"
        return f"{gate.new} {verb} {kept}."
    missed = [checked.budget for checked in failed if checked.meets == "no"]
    unclear = [checked.budget for checked in failed if checked.meets == "unclear"]
    parts = []
    if missed:
        parts.append(f"misses {', '.join(missed)}")
    if unclear:
        parts.append(f"may miss {', '.join(unclear)}")
    return f"{gate.new} {' and '.join(parts)}."


def mark(checked: CheckedBudget) -> str:
    """``pass`` or ``FAIL``."""
    return MARKS[checked.passed]


def numbers(checked: CheckedBudget) -> str:
    """The new model's number with its interval."""
    return show_named(checked.metric, checked.measurement)


def base_number(checked: CheckedBudget) -> str:
    """The base's number; empty for what is relative to it anyway."""
    if checked.base is None or checked.metric in RELATIVE:
        return ""
    return show_named_value(checked.metric, checked.base)


RELATIVE = (
    "drop",
    "flips",
    "worst_group_drop",
    "latency_ratio",
    "agreement",
    "snr",
    "kl",
    "cosine",
)


def remark(checked: CheckedBudget) -> str:
    """Note on a budget that these samples do not decide; empty for one that is decided.

    Latency rests on runs, quality on samples.
    """
    if checked.meets != "unclear":
        return ""
    if checked.samples_needed is None:
        return "unclear: the estimate is on the bound"
    what = "runs" if checked.metric.startswith("latency") else "samples"
    return (
        f"unclear: about {checked.samples_needed:,} {what} would decide it, "
        f"there are {checked.measurement.n:,}"
    )


def treatment(gate: Gate) -> str:
    """Sentence about tolerance and undecided budgets; empty where neither matters."""
    sentences = []
    if gate.tolerance:
        sentences.append(f"Every bound is widened by {show_share(gate.tolerance)}.")
    if any(checked.meets == "unclear" for checked in gate.budgets):
        sentences.append(UNCLEAR[gate.unclear])
    return " ".join(sentences)


UNCLEAR = {
    "fail": "A budget whose bound lies in the 95 % interval fails (--unclear fail, the default).",
    "pass": "A budget whose bound lies in the 95 % interval passes.",
    "estimate": "A budget whose bound lies in the 95 % interval is judged by the estimate.",
}


def markdown(gate: Gate) -> str:
    """A table for a pull request or the summary of a job."""
    lines = [f"### {_plain(headline(gate))}", "", "| | budget | measured | base | |", "|-|-|-|-|-|"]
    for checked in gate.budgets:
        sign = SIGNS[checked.passed]
        cells = [numbers(checked), base_number(checked), remark(checked)]
        lines.append(f"| {sign} | `{checked.budget}` | {' | '.join(map(_plain, cells))} |")
    details = [conditions(gate), treatment(gate), *gate.notes]
    lines += ["", "\n\n".join(_plain(text) for text in details if text)]
    return "\n".join(lines) + "\n"


def failure_markdown(message: str, new: str) -> str:
    """A note for a pull request on a check that could not be made."""
    return f"### {_plain(new)} was not checked\n\n{_plain(message)}\n"


SIGNS = {True: "✅", False: "❌"}
MARKUP = re.compile(r"([\\|<>*_`\[\]#~])")


def conditions(gate: Gate) -> str:
    """Sentence about the models and the data."""
    where = ""
    if gate.samples:
        where = f" on {gate.task or 'the same data'}, {gate.samples:,} samples"
    return f"{gate.new} against {gate.base}{where}. [low, high]: 95 % confidence interval."


def _plain(text: str) -> str:
    """A text that starts no markup: names come from files of strangers."""
    return MARKUP.sub(r"\\\1", " ".join(text.split()))
