"""How a search chose, in sentences."""

from __future__ import annotations

from packlight.presentation.numbers import plural, show_bytes, show_seconds
from packlight.records.exploration import Exploration, Prediction, SiteReason, StageRecord

KEPT = "keep"
OPTIONS_LEFT_OUT = ("rounding=gptq", "range=moments", "weighted=true", "scales=16", "expand=load")
"""Options that all calibrated forms share."""


def short_form(form: str) -> str:
    """A form without the options that all calibrated forms share.

    >>> short_form("palette:4,rounding=gptq,scaled=true,scales=16,weighted=true")
    'palette:4,scaled=true'
    """
    return ",".join(part for part in form.split(",") if part not in OPTIONS_LEFT_OUT)


def reason_sentence(site: SiteReason) -> str:
    """Reason for one operator's form: what it saves against the next larger one, and costs.

    >>> site = SiteReason("conv", "palette:4", 500, 2000, 300, 0.1, "palette:5", 210_000, 0.021)
    >>> reason_sentence(site)
    'palette:4 saves 210 kB against palette:5 for 0.02 dB'
    """
    if site.form == KEPT:
        return "kept as it is: no smaller form is worth its error"
    if not site.next_form:
        return f"{short_form(site.form)}: no larger form has less error"
    return (
        f"{short_form(site.form)} saves {show_bytes(site.saves)} against "
        f"{short_form(site.next_form)} for {decibels_text(site.costs)}"
    )


def decibels_text(value: float) -> str:
    """A small number of decibels."""
    if value < 0.005:  # noqa: PLR2004 - rounds to 0.00
        return "less than 0.01 dB"
    return f"{value:.2f} dB"


def split_sentence(exploration: Exploration) -> str:
    """Which samples steered the search, and which decided."""
    if exploration.shared:
        return (
            f"The same {plural(exploration.judging, 'sample')} steered the search and decide its "
            "verdict: there are too few to split."
        )
    return (
        f"{plural(exploration.steering, 'sample')} steered the search; the verdict rests on "
        f"{exploration.judging:,} others."
    )


def checks_sentence(exploration: Exploration) -> str:
    """How well predictions agreed with measurements; empty without any."""
    gaps = [abs(check.snr - check.measured_snr) for check in exploration.checks]
    if not gaps:
        return ""
    return (
        f"{plural(len(gaps), 'mix')} of forms evaluated; predicted signal to noise was off by "
        f"{max(gaps):.1f} dB at most."
    ).replace("mixs", "mixes")


def stage_sentence(stage: StageRecord) -> str:
    """One stage: why, and the time that it took beside the time that was expected."""
    if not stage.took and not stage.expected:
        return f"{stage.name}: {stage.reason}"
    return (
        f"{stage.name}: {stage.reason}; {show_seconds(stage.took)}, "
        f"{show_seconds(stage.expected)} expected"
    )


def prediction_texts(check: Prediction) -> tuple[str, ...]:
    """Cells of one evaluated mix: name, size, predicted and measured dB."""
    return (
        check.name,
        show_bytes(check.made_size),
        f"{check.snr:.1f} dB",
        f"{check.measured_snr:.1f} dB",
    )


def exploration_sentences(exploration: Exploration | None) -> list[str]:
    """What the terminal says of a search; empty where recipes were given."""
    if exploration is None:
        return []
    sentences = (split_sentence(exploration), checks_sentence(exploration), *exploration.advice)
    return [sentence for sentence in sentences if sentence]
