"""Pages by address: each takes the query of an address and gives the page's record."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packlight.errors import InputError
from packlight.planning.routes import Choice, parse_choice
from packlight.presentation.changes import describe_change
from packlight.presentation.numbers import plural
from packlight.presentation.source_paths import short_names
from packlight.records import Change, Measurement, parse_recipe
from packlight.studio.graph import graph_page
from packlight.studio.job_child import JobRequest
from packlight.studio.pages import (
    CodePage,
    ComparePage,
    DiffPage,
    GraphPage,
    LayersPage,
    OperatorsPage,
    OverviewPage,
    Prediction,
    SamplesPage,
    SavedRecipe,
    SavedView,
    WhatIfPage,
)
from packlight.studio.views.compare import (
    PAGE,
    SampleFilter,
    compare_page,
    filtered_samples,
    samples_page,
)
from packlight.studio.views.diff import diff_page
from packlight.studio.views.layers import layers_page
from packlight.studio.views.operators import operators_page
from packlight.studio.views.overview import overview_page, short_recipe, variant_row
from packlight.studio.views.what_if import prediction, what_if_page
from packlight.studio.workspace import Workspace

Query = Mapping[str, str]

SHOWN_STEP = "weights:4,block=32"
"""Step whose damage stands for an operator's sensitivity."""

LONGEST_NAME = 80
MOST_CHOICES = 500
MOST_COMPARED = 5
MOST_SAMPLES = 200
"""Samples that one answer holds at most."""

CODE_LINES = 12
"""Lines shown before and after the line that is meant."""

MOST_CODE_BYTES = 2_000_000
NAME = re.compile(r"[\w][\w .,:+()-]*")


def overview(space: Workspace, query: Query) -> OverviewPage:
    """The overview of the search."""
    del query
    outcome = space.outcome()
    return overview_page(outcome, space.tried(outcome))


def operators(space: Workspace, query: Query) -> OperatorsPage:
    """The operators of a model."""
    key = query.get("model") or space.first_model()
    profile = space.profile(key, measured=query.get("measured") == "1")
    changes: Sequence[Change] = ()
    name = profile.model
    if is_variant(space, key):
        result = space.results()[key]
        changes = result.changes
        name = result.name
    noise: Mapping[str, float] = {}
    sensitivity = space.sensitivity(key)
    if sensitivity is not None:
        noise = sensitivity.noise.get(SHOWN_STEP, {})
    return operators_page(
        key, name, profile, space.modules(key), changes=changes, sensitivity=noise
    )


def is_variant(space: Workspace, key: str) -> bool:
    """Tell whether a model is a variant of the project, not a file."""
    return space.outcome_or_none() is not None and key in space.results()


def graph(space: Workspace, query: Query) -> GraphPage:
    """The graph of a model, with some modules unfolded."""
    key = query.get("model") or space.first_model()
    profile = space.profile(key)
    unfolded = frozenset(filter(None, query.get("open", "").split(",")))
    cache_key = ("graph", space.path_of(key), unfolded)
    return space.once.get(
        cache_key,
        lambda: graph_page(profile, space.modules(key), space.edges(key), unfolded),
    )


def code(space: Workspace, query: Query) -> CodePage:
    """Source code of an operator, from the folders that may be shown.

    A model names its source files itself, so only Python files below those folders are read.
    """
    key = query.get("model") or space.first_model()
    profile = space.profile(key)
    row = whole_number(query, "operator")
    if row >= len(profile.operators):
        raise InputError(f"this model has {len(profile.operators)} operators; there is no {row}")
    source = profile.operators[row].source
    if source is None or not source.file:
        problem = (
            "The exporter left no source line. torch.onnx.export(..., dynamo=True) leaves one."
        )
        return CodePage("", 0, 0, (), problem)
    files = [o.source.file for o in profile.operators if o.source is not None]
    short = short_names(files)[source.file]
    path = readable_code(source.file, space.settings.code)
    if path is None:
        folders = ", ".join(map(str, space.settings.code))
        problem = (
            f"{short} is not a Python file below {folders}. Start the studio with --code FOLDER to "
            "show it."
        )
        return CodePage(short, source.line, 0, (), problem)
    lines = path.read_text("utf-8", "replace").splitlines()
    first = max(1, source.line - CODE_LINES)
    return CodePage(
        short, source.line, first, tuple(lines[first - 1 : source.line + CODE_LINES]), ""
    )


def readable_code(file: str, folders: tuple[Path, ...]) -> Path | None:
    """The path of a source file below one of the folders; None where there is none."""
    for folder in folders:
        root = folder.resolve()
        try:
            path = (root / file).resolve()
            inside = path.is_relative_to(root) and path.suffix == ".py" and path.is_file()
            if inside and path.stat().st_size <= MOST_CODE_BYTES:
                return path
        except (OSError, ValueError):
            continue  # a name that is no path here is not readable
    return None


def what_if(space: Workspace, query: Query) -> WhatIfPage:
    """Choices for every operator of a model."""
    key = query.get("model") or space.first_model()
    rows = space.choice_rows(key)
    recipes = {recipe.name: recipe.recipe for recipe in space.recipes()}
    with space.what_if_lock:
        return what_if_page(key, space.what_if(key), rows, space.sensitivity(key), recipes)


def compare(space: Workspace, query: Query) -> ComparePage:
    """Variants against the original."""
    outcome = space.outcome()
    results = space.results()
    keys = [key for key in query.get("variants", "").split(",") if key]
    unknown = [key for key in keys if key not in results]
    if unknown:
        raise InputError(f"there is no variant '{unknown[0]}'")
    if not keys:
        keys = [outcome.best or outcome.nearest or outcome.variants[-1].id]
    original = outcome.variants[0]
    chosen = [results[key] for key in keys if key != original.id][:MOST_COMPARED]
    rows = [variant_row(original, outcome.metric, original=True)]
    rows += [variant_row(r, outcome.metric, best=r.id == outcome.best) for r in chosen]
    pairs = {r.id: pair for r in chosen if (pair := space.samples(r.id)) is not None}
    contrasts = {r.id: found for r in chosen if (found := space.contrast(r.id)) is not None}
    return compare_page(outcome, rows, contrasts, pairs, space.task_reason())


def samples(space: Workspace, query: Query) -> SamplesPage:
    """Samples of a variant whose decision changed."""
    variant = query.get("variant", "")
    pair = space.samples(variant)
    if pair is None:
        raise InputError(f"no samples of the variant '{variant}' were measured")
    wanted = SampleFilter(
        outcome=query.get("outcome", ""),
        column=query.get("column", ""),
        group=query.get("group", ""),
        before=query.get("before", ""),
        after=query.get("after", ""),
        start=whole_number(query, "start"),
        count=min(whole_number(query, "count", str(PAGE)), MOST_SAMPLES),
    )
    matches = filtered_samples(pair, wanted)
    shown = [sample for sample, _ in matches[wanted.start : wanted.start + wanted.count]]
    return samples_page(variant, pair, wanted, matches, space.pictures(shown))


def layers(space: Workspace, query: Query) -> LayersPage:
    """A variant inside."""
    outcome = space.outcome()
    results = space.results()
    key = query.get("variant") or outcome.best or outcome.variants[-1].id
    if key not in results:
        raise InputError(f"there is no variant '{key}'")
    return layers_page(key, results[key].name, space.layers(key))


def diff(space: Workspace, query: Query) -> DiffPage:
    """Two models operator by operator."""
    choices = space.models()
    first = query.get("first") or space.first_model()
    best = next((choice.id for choice in choices if choice.role == "best"), choices[-1].id)
    second = query.get("second") or best
    pages = [operators(space, {"model": key}) for key in (first, second)]
    changes = space.results()[second].changes if is_variant(space, second) else ()
    notes = {change.operator: describe_change(change) for change in changes}
    return diff_page(
        pages[0],
        pages[1],
        (space.profile(first), space.profile(second)),
        notes,
        measured=(measurements(space, first), measurements(space, second)),
        metric=space.metric(),
    )


def measurements(space: Workspace, key: str) -> Mapping[str, Measurement]:
    """Measurements of a variant; none of a file."""
    if not is_variant(space, key):
        return {}
    return space.results()[key].metrics


def whole_number(query: Query, name: str, default: str = "0") -> int:
    """A number of a query, from 0.

    Raises:
        InputError: it is none.
    """
    text = query.get(name, default)
    if not text.isascii() or not text.isdecimal() or len(text) > 9:  # noqa: PLR2004
        raise InputError(f"'{name}' is a whole number; got '{text[:40]}'")
    return int(text)


def choices_of(content: object) -> list[Choice]:
    """Choices of a request's JSON.

    Raises:
        InputError: they have another form.
    """
    if not isinstance(content, list) or not all(isinstance(text, str) for text in content):
        raise InputError("'choices' is a list of texts, as 'conv_3=weights:4'")
    if len(content) > MOST_CHOICES:
        raise InputError(f"at most {MOST_CHOICES} choices are predicted together")
    return [parse_choice(text) for text in content]


def predict(space: Workspace, content: Mapping[str, object]) -> Prediction:
    """Predicted costs of choices.

    Raises:
        InputError: the model does not exist, or a choice cannot be used.
    """
    key = text_of(content, "model") or space.first_model()
    choices = choices_of(content.get("choices", []))
    rows = space.choice_rows(key)
    with space.what_if_lock:
        return prediction(space.what_if(key), rows, choices, space.budget(), space.metric())


def text_of(content: Mapping[str, object], name: str, longest: int = 100_000) -> str:
    """A text of a request's JSON; empty where there is none.

    Raises:
        InputError: it is no text, or far too long.
    """
    text = content.get(name, "")
    if not isinstance(text, str) or len(text) > longest:
        raise InputError(f"'{name}' is a text of at most {longest:,} characters")
    return text


def name_of(content: Mapping[str, object]) -> str:
    """The name of something that is saved.

    Raises:
        InputError: it is no name.
    """
    name = text_of(content, "name", LONGEST_NAME).strip()
    if not NAME.fullmatch(name):
        raise InputError(
            "a name starts with a letter or digit and has letters, digits, spaces and .,:+()-"
        )
    return name


def saved_view(content: Mapping[str, object]) -> SavedView:
    """A named view from a request's JSON.

    Raises:
        InputError: it has another form.
    """
    address = text_of(content, "address", 8000)
    if address and not address.startswith("#/"):
        raise InputError("the address of a view starts with '#/'")
    return SavedView(name_of(content), address, text_of(content, "note", 4000))


def saved_recipe(space: Workspace, content: Mapping[str, object]) -> SavedRecipe:
    """A named recipe from a request's JSON.

    Raises:
        InputError: a choice cannot be used, or nothing changes.
    """
    found = predict(space, content)
    if not found.recipe:
        raise InputError("these choices change nothing; choose a step for an operator first")
    texts = content.get("choices", [])
    assert isinstance(texts, list)
    return SavedRecipe(name_of(content), found.recipe, tuple(map(str, texts)))


def job_request(
    space: Workspace, content: Mapping[str, object]
) -> tuple[JobRequest, str, Prediction | None]:
    """A job from a request's JSON, with its title and what was predicted.

    Raises:
        InputError: it cannot be run, with what to do.
    """
    reason = space.runs_reason()
    if reason:
        raise InputError(reason)
    settings = space.settings
    request = JobRequest(
        kind=text_of(content, "kind", 20),
        project=str(settings.project),
        task=space.task_name(),
        variant=text_of(content, "variant", 80),
        device=settings.device if space.outcome().device else "",
        unit=settings.unit,
        seconds=settings.seconds,
    )
    if request.kind == "layers":
        results = space.results()
        if request.variant not in results:
            raise InputError(f"there is no variant '{request.variant}'")
        return request, f"Layers of {results[request.variant].name}", None
    if request.kind == "sensitivity":
        return request, "Sensitivity of every operator", None
    if request.kind != "measure":
        raise InputError("a job is 'measure', 'layers' or 'sensitivity'")
    found = predict(space, content)
    if not found.recipe:
        raise InputError("these choices change nothing; choose a step for an operator first")
    methods = short_recipe(parse_recipe(found.recipe))
    name = text_of(content, "name", LONGEST_NAME).strip()
    name = name or f"{methods[:LONGEST_NAME]} on {plural(found.changed, 'operator')}"
    return replace(request, recipe=found.recipe, name=name), name, found


PAGES: Mapping[str, Callable[[Workspace, Query], object]] = {
    "overview": overview,
    "operators": operators,
    "graph": graph,
    "code": code,
    "what-if": what_if,
    "compare": compare,
    "samples": samples,
    "layers": layers,
    "diff": diff,
}
"""Answers to GET requests by the last part of their address."""
