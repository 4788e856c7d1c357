"""``python -m packlight``."""

import sys

from packlight.cli import main

if __name__ == "__main__":
    sys.exit(main())
