"""Search for variants of several models that share the budgets of one app."""

from __future__ import annotations

from pathlib import Path

from packlight.records import SessionOptions, parse_budget
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, notebook_progress
from packlight.search.app import AppModel, AppStudy
from packlight.search.fit import SearchSettings
from packlight.search.fit import fit_app as search
from packlight.search.trials import OnResult, ignore_result
from packlight.sources.app import AppFile, read_app
from packlight.sources.opening import open_model, task_for


def fit_app(
    app: str | Path | AppFile,
    project: str | Path | None = None,
    *,
    options: SessionOptions = DEFAULT_SESSION,
    seed: int = 0,
    seconds: float = 2.0,
    progress: Progress | None = None,
    on_result: OnResult = ignore_result,
) -> AppStudy:
    """Find a variant of each model, so that all together keep the budgets that they share.

    Bytes go where they save most error, of whichever model, while each keeps its own floors.

    Args:
        app: path of a TOML file: ``budget``, shared by all, as ``["size<=3MB"]``; and for each
            model a table ``[[model]]`` with ``name``, ``model``, ``task`` and its own ``budget``.
        project: folder, with a project for each model; ``APP-packlight`` by default.
        options: of every session.
        seed: of everything random.
        seconds: to spend on the latency of one variant.
        progress: told what is being done; by default a progress bar in a notebook, else nothing.
        on_result: called with each finished variant, its number from 1, and how many there will be.

    Raises:
        InputError: the file, a model, a task or a budget cannot be used.
    """
    file, folder = _file_and_folder(app, project)
    models: dict[str, AppModel] = {}
    for named in file.models:
        opened = open_model(named.model)
        task = task_for(named.task, opened.model)
        models[named.name] = AppModel(opened, task, parse_budget(named.budget))
    with notebook_progress(progress) as shown:
        settings = SearchSettings(
            options=options, seed=seed, seconds=seconds, progress=shown, on_result=on_result
        )
        return search(models, parse_budget(file.budget), folder, settings)


def _file_and_folder(app: str | Path | AppFile, project: str | Path | None) -> tuple[AppFile, Path]:
    if isinstance(app, AppFile):
        return app, Path(project or "app-packlight")
    path = Path(app)
    return read_app(path), Path(project or f"{path.stem}-packlight")
