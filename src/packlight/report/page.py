"""HTML report: all sections, styles and data in one file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from markupsafe import Markup

from packlight.disk import replacing
from packlight.presentation.markup import element, join
from packlight.presentation.numbers import (
    DETECTABLE,
    show_bytes,
    show_detectable,
    show_named_interval,
    show_named_value,
)
from packlight.presentation.verdict import choice, details, headline, original
from packlight.records import Outcome, VariantResult, canonical
from packlight.report.causes import findings, lessons
from packlight.report.contrast import contrast
from packlight.report.exploration import exploration
from packlight.report.groups import groups
from packlight.report.labels import ACCURACY, ARITHMETIC, MEANINGS, VERDICT, pill
from packlight.report.pictures import picture
from packlight.report.plot import stylesheet, trade_off
from packlight.report.refusals import refusals
from packlight.report.tables import MINUS, budgets, minus, shown, variants

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
    """Write the report of a search as one HTML file that loads nothing from the network.

    Args:
        outcome: of the search.
        path: of the file, replaced atomically.
        title: of the page.
        inputs: of samples by index, drawn next to those that changed most.

    Raises:
        InputError: the file cannot be written.
    """
    write_page(page(outcome, title, inputs), path)


def write_page(text: str, path: Path) -> None:
    """Write a page, replaced atomically.

    Raises:
        InputError: the file cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def page(outcome: Outcome, title: str, inputs: Mapping[int, Steps] = NO_INPUTS) -> str:
    """HTML document of the report."""
    return document(title, *_sections(outcome, title, inputs), data(outcome))


def document(title: str, *parts: Markup) -> str:
    """HTML document with the report's styles that loads nothing."""
    body = element("body", *parts)
    return f"<!doctype html>\n{element('html', head(title, stylesheet()), body, lang='en')}\n"


def head(title: str, css: str) -> Markup:
    """Head with title, styles, and a policy that allows only those styles."""
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
    """Outcome as canonical JSON, with ``<`` escaped so that it cannot end the element."""
    text = Markup(canonical(outcome).replace("<", "\\u003c"))
    return element("script", text, type="application/json", id="outcome")


def _sections(outcome: Outcome, title: str, inputs: Mapping[int, Steps]) -> list[Markup]:
    """Header and sections, in order."""
    detailed = shown(outcome)
    results: Sequence[VariantResult] = ()
    if detailed:
        results = (detailed,)
    elif not outcome.budget.all():
        results = outcome.variants[1:]
    parts = {
        "Budgets": budgets(outcome),
        "Size and quality": trade_off(outcome),
        "Variants": variants(outcome),
        "How it was chosen": exploration(outcome),
        "By group": join(by_group(outcome, result) for result in results),
        "What changed": changed(outcome, inputs),
        "Why": findings(outcome.findings),
        "What practitioners know": lessons(outcome.lessons),
        "Not compressed": refusals(outcome),
        "How it was measured": element("div", measured(outcome), _meanings(), class_="two"),
    }
    filled = [_section(name, content) for name, content in parts.items() if content]
    told = (verdict(outcome), warnings(outcome), notes(outcome))
    return [top(outcome, title), element("main", *told, *filled)]


def changed(outcome: Outcome, inputs: Mapping[int, Steps]) -> Markup:
    """Comparisons of variants with the original, sample by sample."""
    names = {result.id: result.name for result in outcome.variants}
    pictures = {index: picture(steps) for index, steps in inputs.items()}
    return join(contrast(change, names[change.variant], pictures) for change in outcome.contrasts)


def _section(name: str, content: Markup) -> Markup:
    return element("section", element("h2", name), content)


def top(outcome: Outcome, title: str) -> Markup:
    """Header with title, model, task and number of samples."""
    words = f"{outcome.model} on {outcome.task}, {outcome.samples:,} samples"
    return element("header", element("h1", title), element("p", words, class_="quiet"))


def verdict(outcome: Outcome) -> Markup:
    """Verdict in words, and the chosen variant's key numbers."""
    chosen = choice(outcome)
    text = " ".join(details(outcome))
    tone = "open"
    parts = [element("p", _minus_numbers(headline(outcome)), class_="headline")]
    if outcome.budget.all():
        tone = outcome.verdict
        parts.insert(0, pill(outcome.verdict, VERDICT[outcome.verdict]))
    if text:
        parts.append(element("p", _minus_numbers(text)))
    if chosen:
        parts.append(_tiles(chosen, original(outcome)))
    return element("section", *parts, class_=f"verdict {tone}")


def _minus_numbers(text: str) -> str:
    return text.replace(" -", f" {MINUS}").replace("[-", f"[{MINUS}").replace(" us", " µs")


def _tiles(chosen: VariantResult, base: VariantResult) -> Markup:
    shown_names = [name for name in TILES if name in chosen.metrics]
    return element("dl", *(_tile(name, chosen, base) for name in shown_names), class_="tiles")


def _tile(name: str, chosen: VariantResult, base: VariantResult) -> Markup:
    measurement = chosen.metrics[name]
    before = base.metrics.get(name)
    value = show_named_value(name, measurement)
    under = show_named_interval(name, measurement)
    if before is not None and before.value and measurement.unit == "B":
        under = f"was {show_named_value(name, before)}"
        if name == "size":
            under = f"{value}, {under}"
            value = f"{measurement.value / before.value:.2f}x"
    parts = [element("dt", TILE_NAMES[name]), element("dd", minus(value))]
    if under:
        parts.append(element("dd", minus(under), class_="under"))
    return element("div", *parts)


def warnings(outcome: Outcome) -> Markup:
    """What makes the result less sure or less good than it looks; empty if there is nothing."""
    return _aside("Please note", outcome.warnings, "warnings")


def notes(outcome: Outcome) -> Markup:
    """What is worth knowing with nothing wrong; empty if there is nothing."""
    return _aside("About the data and the model", outcome.notes, "notes")


def _aside(heading: str, sentences: Sequence[str], kind: str) -> Markup:
    if not sentences:
        return Markup("")
    items = [element("li", _minus_numbers(text)) for text in sentences]
    return element("aside", element("h2", heading), element("ul", *items), class_=kind)


def by_group(outcome: Outcome, result: VariantResult) -> Markup:
    """Drop and flips of a variant by group."""
    if not result.groups:
        return Markup("")
    words = f"{result.name} against the original, with 95 % intervals. Positive drops are worse."
    return element("div", element("p", words, class_="quiet"), groups(result, outcome.metric))


def measured(outcome: Outcome) -> Markup:
    """Conditions of all measurements."""
    machine = outcome.machine
    session = outcome.session
    saturates = "8-bit products can saturate" if machine.saturates else "8-bit products are exact"
    features = ", ".join(machine.features) or "no integer extensions"
    facts = {
        "Arithmetic": ARITHMETIC[session.arithmetic],
        "Fused low-bit products": ACCURACY[session.matmul_accuracy],
        "Threads": str(session.threads),
        "Machine": f"{machine.processor}, {machine.cores} cores, {show_bytes(machine.memory)}",
        "Instructions": f"{machine.architecture}: {features}; {saturates}",
        "System": machine.system,
        "Runtime": f"ONNX Runtime {machine.onnxruntime}, Python {machine.python}",
        "Samples": f"{outcome.samples:,} for evaluation, {outcome.calibration:,} for calibration",
    }
    if outcome.detectable:
        facts[DETECTABLE] = show_detectable(outcome.metric, outcome.detectable)
    return element("div", element("h3", "Conditions"), _definitions(list(facts.items())))


def _meanings() -> Markup:
    return element("div", element("h3", "Terms"), _definitions(list(MEANINGS)))


def _definitions(pairs: list[tuple[str, str]]) -> Markup:
    rows = [element("div", element("dt", term), element("dd", text)) for term, text in pairs]
    return element("dl", join(rows), class_="facts")
