"""The command line: one module per verb."""

from __future__ import annotations

import sys

from packlight.postponed import postpone


def main() -> int:
    """Run the command of this process; return its exit code."""
    try:
        postpone()
        from packlight.cli.exit_codes import leave
        from packlight.cli.run import run

        return leave(run(sys.argv[1:]))
    except KeyboardInterrupt:  # while modules load
        return 130
