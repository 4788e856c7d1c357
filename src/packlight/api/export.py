"""Export a model to the format of a device's runtime, and prove that it computes the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from packlight import zoo
from packlight.disk import folder_beside
from packlight.errors import CheckError, InputError
from packlight.exporting.binding import Bindings, Shapes, parse_bindings
from packlight.exporting.bookkeeping import lost_encodings
from packlight.exporting.bundle import (
    Draft,
    Origin,
    check_bundle_folder,
    finish_bundle,
    place_bundle,
    stated_licenses,
)
from packlight.exporting.first_difference import first_difference
from packlight.exporting.formats import Feeds, Format, WriteOptions, Written, format_by_name, refuse
from packlight.exporting.front_end import prepare, prepared
from packlight.exporting.keeping import Kept, keep_encodings
from packlight.exporting.neutral import Neutral
from packlight.exporting.parity import (
    SAMPLES,
    Comparison,
    choose_samples,
    common_shapes,
    measure_parity,
)
from packlight.model import Model, file_size, stored_size
from packlight.records import Outcome, SessionOptions, to_json
from packlight.records.export import Bundle, Parity
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime import machine
from packlight.runtime.progress import Progress, silent
from packlight.search.study import Result, open_project
from packlight.sources.opening import ZOO, AnyModel, AnyTask, open_model, task_or_none

STEPS = 5
"""Steps of an export, for its progress: open, prepare, write, compare, finish."""


def export(
    model: AnyModel | Result,
    to: str,
    folder: str | Path,
    *,
    task: AnyTask | None = None,
    bind: Sequence[str] | Bindings = (),
    expand: bool = False,
    samples: int = SAMPLES,
    parity: bool = True,
    format_options: Sequence[str] | Mapping[str, str] = (),
    options: SessionOptions = DEFAULT_SESSION,
    seconds: float = 1.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Bundle:
    """Export a model to the format of a device's runtime.

    The weights' encodings are kept. A format that cannot keep one refuses the model, unless
    ``expand`` lets such weights become floats. The file is then read again, its weights are
    counted, and it is compared with ONNX Runtime on the ONNX model.

    Args:
        model: path of an ONNX file, ``zoo:NAME``, a ``Model``, a ``Result`` of a study, or a
            project's folder, with ``:VARIANT`` for another variant than the best.
        to: ``onnx``, ``ort``, ``coreai``, ``coreml``, ``litert``, ``executorch`` or ``openvino``.
        folder: new or empty; it becomes the bundle.
        task: its samples are the inputs of the comparison; without it they are random.
        bind: sizes of open dimensions, shapes and values of inputs, as
            ``["batch=1", "ids=1,128", "sr=16000"]``.
        expand: whether weights that the format cannot keep become floats.
        samples: inputs to compare on.
        parity: whether the file is run and compared.
        format_options: of the format, as ``{"precision": "float16"}``.
        options: of ONNX Runtime's session.
        seconds: to measure latency for, where the runtime is a real one.
        seed: of random inputs and intervals.
        progress: told what is being done.

    Returns:
        The record of the bundle. ``bundle.parity.passed`` tells whether it may be shipped.

    Raises:
        ExportError: the format cannot hold a weight or an operator; ``refusals`` say which.
        InputError: the model, the task, a binding or the folder cannot be used, or the format's
            extra is not installed.
        CheckError: the written file lacks an encoding that it should have.
    """
    chosen = format_by_name(to)
    target = Path(folder)
    check_bundle_folder(target)
    bindings = bind if isinstance(bind, Mapping) else parse_bindings(bind)
    settings = (
        format_options if isinstance(format_options, Mapping) else parse_bindings(format_options)
    )
    progress("opening", 0, STEPS)
    source = _source(model)
    data = task_or_none(task, source.model)
    shapes = common_shapes(data, samples)
    progress("preparing", 1, STEPS)
    comparison = Comparison(source.model, data, samples, options, seed, seconds)
    with _neutral(source, bindings, shapes) as neutral, folder_beside(target) as scratch:
        kept = keep_encodings(neutral, chosen.name, expand=expand, obstacle=chosen.obstacle)
        if kept.refusals:
            raise refuse(chosen.name, kept.refusals)
        work = scratch / target.name
        work.mkdir()
        progress("writing", 2, STEPS)
        write_options = WriteOptions(source.model, neutral, kept.expanded, settings)
        written = chosen.write(kept.neutral, work, write_options)
        comparison = replace(comparison, rounded=written.rounds)
        job = _Job(chosen, kept, written, work, comparison, progress)
        draft = _proven(job, source.origin, parity=parity)
        progress("finishing", 4, STEPS)
        bundle = finish_bundle(work, target, draft)
        place_bundle(work, target)
    progress("done", STEPS, STEPS)
    return bundle


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """A model with its origin; ``path`` is None where it came from memory."""

    model: Model
    path: Path | None
    origin: Origin
    trusted: bool


def _source(model: AnyModel | Result) -> _Source:
    if isinstance(model, Model):
        licenses = stated_licenses(model)
        origin = Origin(model.name, model.digest, file_size(model.graph), licenses=licenses)
        return _Source(model, None, origin, trusted=True)
    if isinstance(model, Result):
        return _result_source(model)
    text = str(model)
    project, variant = _project_and_variant(text)
    if project is not None:
        study = open_project(project)
        try:
            result = study[variant] if variant else study.best
        except KeyError as error:
            raise InputError(str(error.args[0])) from error
        if result is None:
            raise InputError(
                f"no variant in '{project}' fits its budgets: name one, as {project}:weights:8"
            )
        return _result_source(result, study.outcome)
    opened = open_model(model)
    in_zoo = text.startswith(ZOO)
    licenses = {text: zoo.licenses()} if in_zoo else stated_licenses(opened.model)
    origin = Origin(
        opened.model.name, opened.model.digest, stored_size(opened.path), licenses=licenses
    )
    return _Source(opened.model, opened.path, origin, trusted=in_zoo)


def _result_source(result: Result, outcome: Outcome | None = None) -> _Source:
    """A variant of a study with what was measured; its budgets come from the outcome."""
    opened = open_model(result.file)
    budgets: tuple[str, ...] = ()
    metric = ""
    if outcome is not None:
        budgets = tuple(limit.text for limit in outcome.budget.all())
        metric = outcome.metric
    origin = Origin(
        name=result.name,
        digest=opened.model.digest,
        bytes=stored_size(opened.path),
        recipe=result.name if result.recipe.steps else "",
        recipe_file=_recipe_file(result),
        measured=result.metrics,
        groups=result.groups,
        metric=metric,
        budgets=budgets,
        licenses=stated_licenses(opened.model),
    )
    return _Source(opened.model, opened.path, origin, trusted=False)


def _recipe_file(result: Result) -> str:
    return json.dumps(to_json(result.recipe), indent=2, sort_keys=True) + "\n"


def _project_and_variant(text: str) -> tuple[Path | None, str]:
    """Folder of a project and name of a variant; no folder where the text is a model."""
    if Path(text).is_dir():
        return Path(text), ""
    folder, colon, variant = text.partition(":")
    if colon and Path(folder).is_dir():
        return Path(folder), variant
    return None, ""


@contextmanager
def _neutral(source: _Source, bindings: Bindings, shapes: Shapes) -> Iterator[Neutral]:
    """The neutral form, prepared in a child process where the file is not trusted."""
    if source.path is None or source.trusted:
        yield prepare(source.model, bindings, shapes)
        return
    with prepared(source.path, bindings, shapes) as neutral:
        yield neutral


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A written file with what it is compared with."""

    format: Format
    kept: Kept
    written: Written
    work: Path
    comparison: Comparison
    progress: Progress


def _proven(job: _Job, origin: Origin, *, parity: bool) -> Draft:
    """Read the file again, count its weights, and compare it with the ONNX model.

    Raises:
        CheckError: an encoding is missing in the file.
    """
    neutral = job.kept.neutral
    reread = job.format.reread(job.work, neutral, job.written)
    lost = lost_encodings(job.written.weights, reread.weights)
    if lost:
        missing = ", ".join(f"{count:,} numbers of '{label}'" for label, count in lost.items())
        raise CheckError(f"{job.format.capabilities.title} holds less than was written: {missing}")
    job.progress("comparing", 3, STEPS)
    runs = parity and job.format.open is not None
    described = machine()
    options = job.comparison.options
    return Draft(
        format=job.format,
        neutral=neutral,
        written=job.written,
        reread=reread,
        parity=_measured(job) if runs else None,
        origin=origin,
        session={"threads": str(options.threads), "arithmetic": options.arithmetic},
        machine=f"{described.processor}, {described.system}",
        feeds=_feeds(job) if runs else None,
    )


def _feeds(job: _Job, place: int = 0) -> Feeds:
    """Inputs of the first call of a sample that the file is compared on."""
    neutral = job.kept.neutral
    samples, _ = choose_samples(neutral, replace(job.comparison, samples=place + 1))
    steps = samples[place].steps
    return {name: np.asarray(steps[0][name]) for name in neutral.inputs}


def _measured(job: _Job) -> Parity:
    neutral = job.kept.neutral
    assert job.format.open is not None
    with ExitStack() as opened:
        runners = []
        for opening in (job.format.open, *job.format.other_ways.values()):
            runners.append(opening(job.work, neutral, job.written))
            opened.callback(runners[-1].close)
        others = dict(zip(job.format.other_ways, runners[1:], strict=True))
        measured = measure_parity(
            job.format,
            runners[0],
            neutral,
            job.comparison,
            other_runners=others,
            progress=job.progress,
        )
    exact = job.format.required
    if measured.worst >= exact:
        return measured
    feeds = _feeds(job, measured.worst_input)
    first = None
    if neutral.has_quantized_activations():
        first = first_difference(job.format, neutral, feeds, exact, job.comparison.model)
    if first is None:
        first = first_difference(job.format, neutral, feeds, exact)
    return replace(measured, first_difference=first)
