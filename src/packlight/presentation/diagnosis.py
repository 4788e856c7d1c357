"""A diagnosed variant in words: its costs against the reference, and where its time goes."""

from __future__ import annotations

from packlight.presentation.numbers import plural, show_bytes, show_named, show_seconds, show_share
from packlight.records.diagnosis import DiagnosisSummary, TimeShare

MAX_SHARES = 8
SMALL_SHARE = 0.005
UNKNOWN = "-"
EXACT_DB = 120.0
"""Signal to noise from which on outputs count as equal."""

HEADS = ("where time goes", "computes in", "kernels", "time", "share", "before", "could be")


def headline(summary: DiagnosisSummary) -> str:
    """Size, latency and quality in one sentence."""
    parts = []
    if summary.size_before:
        share = summary.size / summary.size_before
        parts.append(f"{share:.2g}x the size ({show_bytes(summary.size)})")
    if summary.latency_ratio is not None:
        parts.append(f"{show_named('latency_ratio', summary.latency_ratio)} the latency")
    if summary.snr is not None:
        parts.append(_quality(summary.snr.value, summary.snr.n))
    return f"{summary.variant} against {summary.reference}: {', '.join(parts)}."


def _quality(decibels: float, samples: int) -> str:
    over = f"over {plural(samples, 'sample')}"
    if decibels >= EXACT_DB:
        return f"equal outputs {over}"
    return f"{decibels:.1f} dB signal to noise {over}"


def share_rows(summary: DiagnosisSummary) -> list[list[str]]:
    """A row for each kind of kernel, most time first; tiny ones are left out."""
    shown = [share for share in summary.shares if share.share >= SMALL_SHARE]
    return [_row(share) for share in shown[:MAX_SHARES]]


def _row(share: TimeShare) -> list[str]:
    before = UNKNOWN if share.before is None else show_seconds(share.before)
    time = show_seconds(share.time.value)
    count = f"{len(share.operators):,}"
    step = share.step or UNKNOWN
    return [share.op, share.arithmetic, count, time, show_share(share.share), before, step]


def float_note(summary: DiagnosisSummary) -> str:
    """Sentence about what stayed in float and could be in integers; empty where nothing could."""
    rows = [share for share in summary.shares if share.step]
    if not rows:
        return ""
    share = sum(row.share for row in rows)
    names = ", ".join(row.operators[0] for row in rows[:NAMED])
    steps = " and ".join(dict.fromkeys(row.step for row in rows))
    return (
        f"{show_share(share)} of the time is spent in float operators that {steps} can compute in "
        f"integers, as {names}."
    )


NAMED = 3
