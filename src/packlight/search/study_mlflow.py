"""Log a study to MLflow: a run for the search, and one inside it for each variant."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from packlight.errors import InputError
from packlight.presentation.frames import columns_of

if TYPE_CHECKING:
    from packlight.search.study import Result, Study

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""Switches off what MLflow would otherwise send to its makers."""

MAX_PARAMETER = 500
"""Characters of a parameter that every MLflow store keeps."""


def log_study(study: Study, experiment: str, *, models: bool) -> str:
    """Log a study to the tracking server that MLflow is set to.

    Args:
        study: to log.
        experiment: name; empty for the active one.
        models: whether to upload the file of the chosen variant.

    Returns:
        Id of the run of the search.

    Raises:
        InputError: MLflow is not installed.
    """
    mlflow = _mlflow()
    if experiment:
        mlflow.set_experiment(experiment)
    outcome = study.outcome
    with mlflow.start_run(run_name=f"packlight fit {outcome.model}") as run:
        budgets = ", ".join(limit.text for limit in outcome.budget.all())
        mlflow.log_params({
            "model": outcome.model, "task": outcome.task, "budgets": budgets[:MAX_PARAMETER],
            "samples": outcome.samples, "metric": outcome.metric,
        })  # fmt: skip
        mlflow.set_tags({"verdict": outcome.verdict, "best": study.best.name if study.best else ""})
        for result in study:
            _log_result(mlflow, result, is_best=result.id == outcome.best)
        if outcome.report and study.report.is_file():
            mlflow.log_artifact(str(study.report))
        if models and study.best is not None:
            mlflow.log_artifacts(str(study.best.file.parent), "model")
    return str(run.info.run_id)


def _log_result(mlflow: Any, result: Result, *, is_best: bool) -> None:
    with mlflow.start_run(run_name=result.name, nested=True):
        mlflow.log_params({"recipe": result.record.recipe[:MAX_PARAMETER], "id": result.id})
        mlflow.set_tags({
            "verdict": result.verdict, "labels": ", ".join(result.labels), "best": str(is_best),
            "error": result.error[:MAX_PARAMETER],
        })  # fmt: skip
        mlflow.log_metrics(columns_of(result.metrics))


def _mlflow() -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("mlflow")
    except ModuleNotFoundError as error:
        raise InputError(
            "log_mlflow needs MLflow, which is not installed: pip install mlflow"
        ) from error
