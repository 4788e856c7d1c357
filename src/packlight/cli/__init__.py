"""The command line: one module per verb, no logic."""

from __future__ import annotations

import sys

from packlight.postponed import postpone


def main() -> int:
    """Run the command of this process; its exit code, from :mod:`packlight.cli.exit_codes`."""
    try:
        postpone()
        from packlight.cli.exit_codes import leave
        from packlight.cli.run import run

        return leave(run(sys.argv[1:]))
    except KeyboardInterrupt:  # while modules load; later ones end in a sentence
        return 130
