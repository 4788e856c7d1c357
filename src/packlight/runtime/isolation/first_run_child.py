"""The process that opens and runs a file made from one that was not trusted, under limits."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from packlight.runtime.first_run import first_run
from packlight.runtime.isolation.vetting_child import load_limited


def main(arguments: Sequence[str]) -> None:
    """Print one JSON object: how far ONNX Runtime got, and why no further.

    Args:
        arguments: path of the model; seconds of processor time. The input, as JSON, is the path of
            an ``.npz`` with inputs, or null.
    """
    path = Path(arguments[0])
    feeds_file = json.load(sys.stdin)
    feeds = None
    if feeds_file is not None:
        with np.load(feeds_file, allow_pickle=False) as arrays:
            feeds = {name: arrays[name] for name in arrays.files}
    load_limited(path, int(arguments[1]))
    print(json.dumps(asdict(first_run(path, feeds))), flush=True)
