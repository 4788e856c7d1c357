"""Child process that prepares an untrusted file for export, under limits."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packlight.errors import InputError
from packlight.exporting.front_end import PrepareRequest, prepare
from packlight.exporting.neutral import save_neutral
from packlight.records import from_json
from packlight.runtime.calls import is_out_of_memory
from packlight.runtime.isolation.confine import SWALLOWED
from packlight.runtime.isolation.vetting_child import ISOLATED_BYTES, load_limited


def main(arguments: Sequence[str]) -> None:
    """Print a JSON object: empty, or the error and its text.

    Args:
        arguments: path of the model; seconds of processor time. The request is read from the input,
            as JSON.
    """
    gc.disable()  # graphs are cycles all through, and this process ends soon
    answer = _prepare_file(Path(arguments[0]), int(arguments[1]), json.load(sys.stdin))
    print(json.dumps(answer), flush=True)
    os._exit(0)


def _prepare_file(path: Path, seconds: int, message: Mapping[str, Any]) -> dict[str, str]:
    request = from_json(PrepareRequest, message)
    try:
        model = load_limited(path, seconds, ISOLATED_BYTES)
        save_neutral(prepare(model, request.bindings, request.shapes), Path(request.folder))
    except InputError as error:
        return {"error": type(error).__name__, "text": str(error)}
    except MemoryError:
        text = SWALLOWED.format(name=path.name, doing="be prepared for export")
        return {"error": "ModelError", "text": text}
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        text = SWALLOWED.format(name=path.name, doing="be prepared for export")
        return {"error": "ModelError", "text": text}
    return {}
