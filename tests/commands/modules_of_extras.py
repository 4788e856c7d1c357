"""Modules that need packages of an extra to be imported.

As a program it prints the options with which pytest leaves them out, a line for each.
"""

from importlib.util import find_spec
from pathlib import Path

MODULES_OF_EXTRAS = (
    "packlight.compression.training",
    "packlight.exporting.coreai",
    "packlight.exporting.coreml",
    "packlight.exporting.executorch",
    "packlight.exporting.litert",
    "packlight.sources.torch_export",
    "packlight.torch",
)


def path_of(module: str) -> Path:
    """The file of a module, or the folder of a package."""
    origin = Path(find_spec(module).origin)
    if origin.name == "__init__.py":
        return origin.parent
    return origin


if __name__ == "__main__":
    for name in MODULES_OF_EXTRAS:
        print(f"--ignore={path_of(name)}")
