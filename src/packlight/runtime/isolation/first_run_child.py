"""The process that opens and runs a file made from one that was not trusted, under limits."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from packlight.runtime.first_run import first_run, read_feeds
from packlight.runtime.isolation.vetting_child import load_limited


def main(arguments: Sequence[str]) -> None:
    """Print one JSON object: how far ONNX Runtime got, and why no further.

    Args:
        arguments: path of the model; seconds of processor time. The input, as JSON, says where the
            inputs of a call are, or is null.
    """
    path = Path(arguments[0])
    request = json.load(sys.stdin)
    feeds = None if request is None else read_feeds(request)
    load_limited(path, int(arguments[1]))
    print(json.dumps(asdict(first_run(path, feeds))), flush=True)
