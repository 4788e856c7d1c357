"""ONNX Runtime's entropy calibration, timed; runs in its environment.

python time_entropy.py MODEL.onnx CALIBRATION.npz COUNT

Only the longest calls are taken, again and again, for it fails where shapes differ. Prints peak
bytes, seconds by the clock and of all cores as JSON. The values that get a range are what
products read and give.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import json
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from job import Feeds, Job, peak_bytes
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator

WEIGHTED = ["Conv", "Gemm", "MatMul"]


class Repeated(CalibrationDataReader):
    """Calls one by one, from the start again when they end."""

    def __init__(self, calls: Sequence[Feeds], count: int) -> None:
        self.calls = islice(cycle(calls), count)

    def get_next(self) -> Feeds | None:
        """The next call."""
        return next(self.calls, None)


def main() -> None:
    """Find ranges."""
    path, calibration, count = sys.argv[1:4]
    with TemporaryDirectory() as folder:
        calls = list(Job(Path(path), Path(calibration), {}, Path(folder)).calls())
        most = max(sum(array.size for array in call.values()) for call in calls)
        calls = [call for call in calls if sum(array.size for array in call.values()) == most]
        start, busy = time.perf_counter(), time.process_time()
        finder = create_calibrator(
            path, WEIGHTED, f"{folder}/augmented.onnx", CalibrationMethod.Entropy
        )
        finder.collect_data(Repeated(calls, int(count)))
        finder.compute_data()
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        print(json.dumps([peak_bytes(), seconds, busy]))


if __name__ == "__main__":
    main()
