"""The page: every section in order, its styles and its data, in one file."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from markupsafe import Markup

from packlight.errors import InputError
from packlight.presentation.markup import element, join
from packlight.presentation.numbers import (
    show_bytes,
    show_named_interval,
    show_named_value,
    show_share,
)
from packlight.presentation.verdict import choice, details, headline, original
from packlight.records import Outcome, VariantResult, canonical
from packlight.report.causes import findings, lessons
from packlight.report.contrast import contrast
from packlight.report.groups import groups
from packlight.report.labels import ACCURACY, ARITHMETIC, MEANINGS, VERDICT, pill
from packlight.report.pictures import picture
from packlight.report.plot import stylesheet, trade_off
from packlight.report.tables import MINUS, budgets, minus, refusals, shown, variants

if TYPE_CHECKING:
    from packlight.runtime import Steps

TILES = ("size", "latency_ratio", "drop", "flips", "peak_memory")
TILE_NAMES = {
    "size": "of the size",
    "latency_ratio": "of the time",
    "drop": "drop",
    "flips": "flips",
    "peak_memory": "peak memory",
}


NO_INPUTS: Mapping[int, Steps] = MappingProxyType({})


def write_report(
    outcome: Outcome, path: Path, title: str, inputs: Mapping[int, Steps] = NO_INPUTS
) -> None:
    """Write the report of a search as one HTML file that asks nothing of the network.

    Args:
        outcome: what was found.
        path: of the file; replaced at once when it is whole.
        title: of the page.
        inputs: of samples by index, to draw beside what changed most.

    Raises:
        InputError: the file cannot be written.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"a report is written to a file; '{path}' is something else")
    content = page(outcome, title, inputs).encode("utf-8", "replace")
    aside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        raise InputError(
            f"a report needs a folder that can be written; '{path}' cannot be: {error.strerror}"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def page(outcome: Outcome, title: str, inputs: Mapping[int, Steps] = NO_INPUTS) -> str:
    """The whole document."""
    css = stylesheet()
    body = element("body", *sections(outcome, title, inputs), data(outcome))
    return f"<!doctype html>\n{element('html', head(title, css), body, lang='en')}\n"


def head(title: str, css: str) -> Markup:
    """Title, styles, and the policy that allows those styles and nothing else."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Markup(css)),
    )


def data(outcome: Outcome) -> Markup:
    """The outcome's canonical JSON; no ``<`` in it can end the element."""
    text = Markup(canonical(outcome).replace("<", "\\u003c"))
    return element("script", text, type="application/json", id="outcome")


def sections(outcome: Outcome, title: str, inputs: Mapping[int, Steps]) -> list[Markup]:
    """What the page says, in order."""
    chosen = shown(outcome)
    found = [chosen] if chosen else outcome.variants[1:] if not outcome.budget.all() else []
    parts = {
        "Budgets": budgets(outcome),
        "Size against quality": trade_off(outcome),
        "Variants": variants(outcome),
        "By group": join(by_group(outcome, result) for result in found),
        "What changed": changed(outcome, inputs),
        "Why": findings(outcome.findings),
        "What practitioners know": lessons(outcome.lessons),
        "What was left as it is": refusals(outcome),
        "How it was measured": element("div", measured(outcome), meanings(), class_="two"),
    }
    told = [section(name, content) for name, content in parts.items() if content]
    return [top(outcome, title), element("main", verdict(outcome), warnings(outcome), *told)]


def changed(outcome: Outcome, inputs: Mapping[int, Steps]) -> Markup:
    """Variants against the original, sample by sample."""
    names = {result.id: result.name for result in outcome.variants}
    pictures = {index: picture(steps) for index, steps in inputs.items()}
    return join(contrast(one, names[one.variant], pictures) for one in outcome.contrasts)


def section(name: str, content: Markup) -> Markup:
    """A part of the page under its heading."""
    return element("section", element("h2", name), content)


def top(outcome: Outcome, title: str) -> Markup:
    """Title and what was looked at."""
    looked = f"{outcome.model} on {outcome.task}, {outcome.samples:,} samples"
    words = element("p", looked, class_="quiet")
    return element("header", element("h1", title), words)


def verdict(outcome: Outcome) -> Markup:
    """The verdict in words, and the chosen variant's key numbers."""
    chosen = choice(outcome)
    told = " ".join(details(outcome))
    parts = [
        *([pill(outcome.verdict, VERDICT[outcome.verdict])] if outcome.budget.all() else []),
        element("p", minus_numbers(headline(outcome)), class_="headline"),
        *([element("p", minus_numbers(told))] if told else []),
        *([tiles(chosen, original(outcome))] if chosen else []),
    ]
    tone = outcome.verdict if outcome.budget.all() else "open"
    return element("section", *parts, class_=f"verdict {tone}")


def minus_numbers(told: str) -> str:
    """True minus signs before numbers only, so that names keep their hyphens."""
    return told.replace(" -", f" {MINUS}").replace("[-", f"[{MINUS}").replace(" us", " µs")


def tiles(chosen: VariantResult, base: VariantResult) -> Markup:
    """The chosen variant's key numbers, large."""
    known = [name for name in TILES if name in chosen.metrics]
    return element("dl", *(tile(name, chosen, base) for name in known), class_="tiles")


def tile(name: str, chosen: VariantResult, base: VariantResult) -> Markup:
    """One key number with its interval, or with what it was before."""
    found, before = chosen.metrics[name], base.metrics.get(name)
    value, under = show_named_value(name, found), show_named_interval(name, found)
    if before is not None and before.value and found.unit == "B":
        now, was = value, show_named_value(name, before)
        value = f"{found.value / before.value:.2f}x" if name == "size" else now
        under = f"{now}, was {was}" if name == "size" else f"was {was}"
    small = (element("dd", minus(under), class_="under"),) if under else ()
    return element("div", element("dt", TILE_NAMES[name]), element("dd", minus(value)), *small)


def warnings(outcome: Outcome) -> Markup:
    """Sentences that limit what may be concluded."""
    if not outcome.warnings:
        return Markup("")
    items = [element("li", minus_numbers(told)) for told in outcome.warnings]
    return element("aside", element("h2", "Please note"), element("ul", *items), class_="warnings")


def by_group(outcome: Outcome, found: VariantResult) -> Markup:
    """Who pays for a variant."""
    if not found.groups:
        return Markup("")
    words = f"{found.name} against the original, with 95 % intervals. Positive drops are worse."
    return element("div", element("p", words, class_="quiet"), groups(found, outcome.metric))


def measured(outcome: Outcome) -> Markup:
    """The conditions of every number."""
    machine, session = outcome.machine, outcome.session
    saturates = "8-bit products saturate here" if machine.saturates else "no saturation of 8 bits"
    features = ", ".join(machine.features) or "none that matter"
    facts = {
        "Arithmetic": ARITHMETIC[session.arithmetic],
        "Fused low-bit products": ACCURACY[session.matmul_accuracy],
        "Threads": str(session.threads),
        "Machine": f"{machine.processor}, {machine.cores} cores, {show_bytes(machine.memory)}",
        "Instructions": f"{machine.architecture}: {features}; {saturates}",
        "System": machine.system,
        "Runtime": f"ONNX Runtime {machine.onnxruntime}, Python {machine.python}",
        "Samples": f"{outcome.samples:,} evaluated, {outcome.calibration:,} seen by the methods",
        "Smallest drop these samples can show": show_share(outcome.detectable),
    }
    return element("div", element("h3", "Conditions"), definitions(list(facts.items())))


def meanings() -> Markup:
    """What the words and numbers of this page mean."""
    return element("div", element("h3", "Words"), definitions(list(MEANINGS)))


def definitions(pairs: list[tuple[str, str]]) -> Markup:
    """Terms with their explanations."""
    rows = [element("div", element("dt", term), element("dd", told)) for term, told in pairs]
    return element("dl", join(rows), class_="facts")
