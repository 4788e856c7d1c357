"""``packlight demo``: the whole workflow on the shipped model and data."""

from __future__ import annotations

from pathlib import Path

from packlight.cli.fit import Command, search, show_study
from packlight.cli.options import Json, Project, Seed, Threads

BUDGET = ("size<=0.1x", "drop<=1%")
NAME = "zoo:fashion"
FOLDER = Path("packlight-demo")


def demo(
    project: Project = None, seed: Seed = 0, threads: Threads = 1, as_json: Json = False
) -> int:
    """Run the whole workflow on the shipped model and data.

    Fits zoo:fashion, a classifier of small images of clothes, into a tenth of its size with a drop
    of at most 1 %. Takes two to three minutes and writes a report into packlight-demo.

    \b
    Example:
      packlight demo --project try-it
    """
    study = search(NAME, NAME, BUDGET, project or FOLDER, seed=seed, threads=threads)
    return show_study(study, as_json=as_json, command=Command(NAME, NAME, seed))
