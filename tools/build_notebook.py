"""Write ``docs/notebook.ipynb`` with the outputs of its cells.

    python tools/build_notebook.py

Needs the ``dev`` extra. The kernel runs in a temporary folder.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbclient
import nbformat

TARGET = Path(__file__).parents[1] / "docs" / "notebook.ipynb"

CELLS: tuple[tuple[str, str], ...] = (
    (
        "markdown",
        "# packlight in a notebook\n\nA search on the shipped model `zoo:fashion`, its plot, what "
        "changed for whom, and the file that comes out. Every number has a 95 % confidence "
        "interval. Written by `tools/build_notebook.py`.",
    ),
    ("code", 'import packlight\n\nmodel = packlight.load("zoo:fashion")\nmodel'),
    ("markdown", "Where do size and arithmetic go? A profile does not run the model."),
    ("code", "profile = packlight.profile(model)\nprofile"),
    ("code", 'profile.to_dataframe().groupby("op")[["macs", "weight_bytes"]].sum()'),
    ("markdown", "Can it ship on a phone at a quarter of its size? Planning needs no data."),
    ("code", 'packlight.plan(model, ["size<=0.25x", "drop<=1%"], "pixel-8")'),
    (
        "markdown",
        "Search, with four recipes to be short; without `recipes=` the built-in list is tried. "
        "Latency ratios near 1 say that weights alone make a file small, not fast.",
    ),
    (
        "code",
        "study = packlight.fit(\n"
        '    model,\n    "zoo:fashion",\n    ["size<=0.25x", "drop<=1%"],\n    "project",\n'
        '    recipes=["simplify+weights:8", "simplify+weights:4", "best4", '
        '"simplify+static+weights:8"],\n'
        "    seconds=0.5,\n)\nstudy",
    ),
    ("code", "study.plot();"),
    ("code", 'study["best4"]'),
    (
        "code",
        "columns = [\"name\", \"verdict\", \"size\", \"latency_ratio\", \"drop\", \"drop_low\", "
        "\"drop_high\"]\nstudy.to_dataframe()[columns].round(4)",
    ),
    ("markdown", "Who pays for it? Every variant has a contrast with the original, by group."),
    (
        "code",
        'contrast = study.contrasts["simplify+weights:4"]\n'
        "print(contrast.worst)\ncontrast.to_dataframe().head()",
    ),
    ("markdown", "The same file again, from its recipe, and a check that a CI job could do."),
    (
        "code",
        'small = packlight.compress(model, study.best.recipe, "small.onnx", task="zoo:fashion")\n'
        'packlight.check(model, "small.onnx", ["size<=0.25x", "drop<=1%"], "zoo:fashion")',
    ),
)  # fmt: skip


def notebook() -> nbformat.NotebookNode:
    """The notebook without outputs; its cells have the same ids every time."""
    makers = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    cells = [makers[kind](text, id=f"cell-{index}") for index, (kind, text) in enumerate(CELLS)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def executed(seconds: int = 600) -> nbformat.NotebookNode:
    """The notebook with the outputs of its cells, run in a temporary folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    book = notebook()
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(book, timeout=seconds, resources=resources).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)
    return book


def main() -> None:
    """Write the notebook."""
    nbformat.write(executed(), TARGET)


if __name__ == "__main__":
    main()
