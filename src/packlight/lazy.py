"""Public names of a package that load from their modules on first use (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType


class Package(ModuleType):
    """A package whose public names, the keys of its ``HOME``, no module of the same name hides.

    Importing the module ``packlight.compress`` would set it as an attribute over the verb.
    ``from packlight.compress import METHODS`` reaches the module all the same.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in self.__dict__["HOME"]):
            super().__setattr__(name, value)


def lazy(package: str, home: Mapping[str, str]) -> Callable[[str], object]:
    """What a package takes as its ``__getattr__``.

    Args:
        package: its full name.
        home: by public name, the module in the package that has it.
    """
    sys.modules[package].__class__ = Package

    def load(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value: object = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
