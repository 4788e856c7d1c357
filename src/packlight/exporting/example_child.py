"""Child process that runs an example of a bundle as a program."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Run a Python file as a program.

    Args:
        arguments: path of the file, then its own arguments.
    """
    sys.argv = list(arguments)
    runpy.run_path(arguments[0], run_name="__main__")
