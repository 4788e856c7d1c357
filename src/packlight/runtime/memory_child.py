"""The process whose memory is measured; it imports only the modules that run a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from packlight.errors import InputError
from packlight.records.codec import loads
from packlight.records.session import SessionOptions
from packlight.runtime.calls import start_session
from packlight.runtime.isolation.limits import peak_resident, reset_peak, resident


def main(arguments: Sequence[str]) -> None:
    """Print resident bytes of the empty runtime and at the peak, or an error, as JSON.

    Args:
        arguments: the model; a trivial model; an ``.npz`` of arrays; by step, input name to array
            name, as JSON; the state, as JSON; the options, as JSON.
    """
    model, trivial, arrays, steps, state, options = arguments
    stored = np.load(arrays)
    feeds = [{name: stored[key] for name, key in step.items()} for step in json.loads(steps)]
    chosen = loads(SessionOptions, options)
    empty = start_session(Path(trivial), "trivial", chosen)
    empty.run({"x": np.zeros(1, np.float32)})
    reset_peak()
    before = resident()
    try:
        start_session(Path(model), Path(model).name, chosen).run_steps(feeds, json.loads(state))
    except InputError as error:
        print(json.dumps({"kind": type(error).__name__, "error": str(error)}))
        return
    print(json.dumps({"before": before, "peak": peak_resident()}))
