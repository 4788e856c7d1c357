"""Short text and HTML for records that people look at in a console or a notebook."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Displayed:
    """A record that prints as a short table; ``packlight.presentation.overview`` renders it.

    Records import nothing but the standard library, so the renderer is looked up when it is used.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(_overview().as_text(self))

    def _repr_html_(self) -> str:
        """HTML that notebooks show."""
        return str(_overview().as_html(self))


class Tabular:
    """A record with rows; ``packlight.presentation.frames`` makes the table."""

    __slots__ = ()

    def to_dataframe(self) -> Any:
        """The rows as a ``pandas.DataFrame``.

        Raises:
            InputError: pandas is not installed.
        """
        return import_module("packlight.presentation.frames").to_dataframe(self)


def _overview() -> Any:
    return import_module("packlight.presentation.overview")
