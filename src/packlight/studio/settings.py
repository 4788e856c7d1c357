"""Settings of the studio: what it opens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from packlight.errors import InputError
from packlight.sources.opening import ZOO

DATABASE = "packlight.db"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the studio opens.

    Attributes:
        project: folder of a search; None where only a model is shown.
        models: files or ``zoo:NAME``, shown beside the variants of the project.
        task: that measures quality; that of the search where empty.
        device: that costs are predicted for; the description nearest this machine where empty.
        unit: of the device.
        budget: of a model without a project.
        code: folders whose source files may be shown.
        seconds: to spend on the latency of a recipe that is run.
        title: of the pages; the name of the project's folder where empty.
    """

    project: Path | None = None
    models: tuple[str, ...] = ()
    task: str = ""
    device: str = ""
    unit: str = ""
    budget: tuple[str, ...] = ()
    code: tuple[Path, ...] = ()
    seconds: float = 2.0
    title: str = ""


def settings_for(subject: str, settings: Settings) -> Settings:
    """Settings for a project's folder or for a model.

    Raises:
        InputError: there is neither.
    """
    path = Path(subject)
    if path.is_dir():
        if not (path / DATABASE).is_file():
            raise InputError(
                f"'{path}' is no project of packlight. Name the folder that packlight fit or demo "
                "wrote, or a model"
            )
        return replace(settings, project=path)
    if subject.startswith(ZOO) or path.is_file():
        return replace(settings, models=(subject, *settings.models))
    raise InputError(f"there is no project and no model at '{subject}'")
