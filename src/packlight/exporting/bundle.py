"""Write a bundle: an exported file with its record, model card, examples, licenses and recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from packlight.errors import InputError
from packlight.exporting.formats import ExampleText, Feeds, Format, Written
from packlight.exporting.neutral import Neutral
from packlight.model import Model
from packlight.presentation.bundle import model_card
from packlight.records import Measurement, loads, to_json
from packlight.records.evaluation import Group
from packlight.records.export import Bundle, BundleFile, FileRole, Parity, Reread, Snippet
from packlight.runtime.isolation.child import run_child

RECORD = "bundle.json"
CARD = "model-card.md"
RECIPE = "recipe.json"
LICENSES = "LICENSES.txt"
EXAMPLES = "examples"
EXAMPLE_CHILD = "packlight.exporting.example_child"
EXAMPLE_SECONDS = 120.0
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an exported model came from.

    Attributes:
        name: of the ONNX model.
        digest: of its content.
        bytes: of its file.
        recipe: that made it, as text; empty where unknown.
        recipe_file: JSON of the recipe; empty where unknown.
        measured: quality that a project recorded.
        groups: the same in every subgroup.
        metric: name of the task's metric.
        budgets: that the project was fitted to.
        licenses: texts of licenses of the model itself, by name.
    """

    name: str
    digest: str
    bytes: int
    recipe: str = ""
    recipe_file: str = ""
    measured: Mapping[str, Measurement] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    metric: str = ""
    budgets: tuple[str, ...] = ()
    licenses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """What goes into a bundle.

    Attributes:
        format: of the file.
        neutral: that was written.
        written: files of the writer.
        reread: counts of what is in them.
        parity: against the ONNX model; None where it was not asked for.
        origin: of the model.
        session: options of ONNX Runtime, as text by name.
        machine: on which parity was measured.
        feeds: inputs that examples are run on; None where none are run.
    """

    format: Format
    neutral: Neutral
    written: Written
    reread: Reread
    parity: Parity | None
    origin: Origin
    session: Mapping[str, str]
    machine: str
    feeds: Feeds | None = None


def check_bundle_folder(folder: Path) -> None:
    """Refuse a folder that holds something already.

    Raises:
        InputError: it does, or its parent does not exist.
    """
    if not folder.parent.is_dir():
        raise InputError(f"the bundle's parent folder must exist; '{folder.parent}' does not")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(
            f"a bundle is written to a new or empty folder; '{folder}' is not: name another"
        )


def place_bundle(work: Path, folder: Path) -> None:
    """Move a finished folder to its place."""
    if folder.is_dir():
        folder.rmdir()
    work.replace(folder)


def finish_bundle(work: Path, folder: Path, draft: Draft) -> Bundle:
    """Add all that belongs to a written model, in the folder that holds it, and the record.

    Args:
        work: folder that the writer wrote to; complete afterwards.
        folder: where it will lie.
        draft: what goes into it.
    """
    examples = draft.format.examples(draft.neutral, draft.written)
    snippets = _write_examples(work, examples, draft)
    _write_licenses(work, draft)
    if draft.origin.recipe_file:
        (work / RECIPE).write_text(draft.origin.recipe_file, "utf-8")
    bundle = _record(work, folder, draft, snippets)
    (work / CARD).write_text(model_card(bundle), "utf-8")
    bundle = replace(bundle, files=_list_files(work, draft.written, snippets))
    text = json.dumps(to_json(bundle), indent=2, sort_keys=True, ensure_ascii=False)
    (work / RECORD).write_text(text + "\n", "utf-8")
    return bundle


def _record(work: Path, folder: Path, draft: Draft, snippets: tuple[Snippet, ...]) -> Bundle:
    files = _list_files(work, draft.written, snippets)
    model_bytes = sum(file.bytes for file in files if file.role == "model")
    return Bundle(
        folder=str(folder),
        format=draft.format.name,
        model=draft.origin.name,
        digest=draft.origin.digest,
        recipe=draft.origin.recipe,
        entry=draft.written.entry,
        files=files,
        onnx_bytes=draft.origin.bytes,
        bytes=model_bytes,
        weights=draft.written.weights,
        reread=draft.reread,
        parity=draft.parity,
        snippets=snippets,
        bound=draft.neutral.bound,
        renamed=draft.written.renamed,
        measured=draft.origin.measured,
        groups=draft.origin.groups,
        metric=draft.origin.metric,
        budgets=draft.origin.budgets,
        unmeasured=(*draft.format.unmeasured, *draft.written.notes),
        timestamps=draft.written.timestamps,
        environment=_environment(draft.format),
        session=draft.session,
        machine=draft.machine,
    )


def _environment(format_: Format) -> dict[str, str]:
    """Versions of packlight and of what wrote the file."""
    names = ("packlight", "onnx", "onnxruntime", *format_.licenses)
    return {name: version for name in names if (version := installed_version(name))}


def installed_version(distribution: str) -> str:
    """Version of an installed distribution; empty where there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _write_examples(
    work: Path, examples: Sequence[ExampleText], draft: Draft
) -> tuple[Snippet, ...]:
    snippets = []
    for example in examples:
        path = work / EXAMPLES / example.name
        path.parent.mkdir(exist_ok=True)
        path.write_text(example.text, "utf-8")
        executed = example.executable and draft.feeds is not None and _runs(path, work, draft.feeds)
        snippets.append(Snippet(example.language, f"{EXAMPLES}/{example.name}", executed))
    return tuple(snippets)


def _runs(path: Path, work: Path, feeds: Feeds) -> bool:
    """Tell whether an example runs on these inputs and gives finite outputs."""
    inputs = work / "inputs.npz"
    outputs = work / "outputs.npz"
    try:
        with inputs.open("wb") as file:
            np.savez(file, **feeds)  # type: ignore[arg-type]
        ended = run_child(EXAMPLE_CHILD, [str(path), str(work)], EXAMPLE_SECONDS)
        return ended.code == 0 and outputs.is_file()
    finally:
        inputs.unlink(missing_ok=True)
        outputs.unlink(missing_ok=True)


def _write_licenses(work: Path, draft: Draft) -> None:
    """Write licenses of the model, and of packages whose code is in the file."""
    texts = dict(draft.origin.licenses)
    for name in draft.format.licenses:
        texts[name] = _license(name)
    parts = [
        f"{name}\n{'=' * len(name)}\n\n{text.strip()}\n" for name, text in texts.items() if text
    ]
    if not draft.origin.licenses:
        parts.insert(
            0,
            "The license of the model itself is not stated in its file: ask whoever trained it.\n",
        )
    (work / LICENSES).write_text("\n".join(parts), "utf-8")


def stated_licenses(model: Model) -> dict[str, str]:
    """Licenses that a model's own metadata states, by key."""
    return {
        f"{model.name}: {key}": text
        for key, text in model.graph.metadata_props.items()
        if "licen" in key.lower() and text.strip()
    }


def _license(distribution: str) -> str:
    """The license files of an installed distribution, or its stated license."""
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return ""
    fields = installed.metadata.json
    stated = str(fields.get("license_expression") or fields.get("license") or "")
    files = [
        file
        for file in installed.files or ()
        if "licen" in file.name.lower() and file.suffix in ("", ".txt", ".md")
    ]
    texts = [Path(str(file.locate())).read_text("utf-8", errors="replace") for file in files[:2]]
    first_line = "".join(stated.strip().splitlines()[:1])
    return "\n\n".join([first_line, *texts])


def _list_files(
    work: Path, written: Written, snippets: Iterable[Snippet]
) -> tuple[BundleFile, ...]:
    roles: dict[str, FileRole] = {CARD: "card", RECIPE: "recipe", LICENSES: "license"}
    roles |= {snippet.path: "example" for snippet in snippets}
    roles |= dict.fromkeys(written.extra, "source")
    rows = []
    for path in sorted(work.rglob("*")):
        name = path.relative_to(work).as_posix()
        if path.is_file() and name != RECORD:
            role = roles.get(name, "model")
            rows.append(BundleFile(name, path.stat().st_size, file_digest(path), role))
    return tuple(rows)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            total.update(piece)
    return total.hexdigest()


def is_bundle(folder: Path) -> bool:
    """Tell whether a folder holds a bundle."""
    return (folder / RECORD).is_file()


def load_bundle(folder: Path) -> Bundle:
    """Read the record of a bundle.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = folder / RECORD
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(
            f"a bundle is a folder that packlight export wrote; '{folder}' is none"
        ) from error
    try:
        return replace(loads(Bundle, text), folder=str(folder))
    except (ValueError, InputError) as error:
        raise InputError(f"'{path}' is damaged: {error}") from error


def damaged_files(folder: Path, bundle: Bundle) -> list[str]:
    """Sentences about files of a bundle that are missing, changed or unknown."""
    problems = []
    for file in bundle.files:
        path = folder / file.path
        inside = path.resolve().is_relative_to(folder.resolve())
        if not inside or not path.is_file():
            problems.append(f"'{file.path}' is missing")
        elif path.stat().st_size != file.bytes or file_digest(path) != file.sha256:
            problems.append(f"'{file.path}' has changed")
    listed = {file.path for file in bundle.files}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in listed and name != RECORD:
            problems.append(f"'{name}' does not belong to the bundle")
    return problems
