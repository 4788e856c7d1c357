"""This machine as a device: kernels timed, curves fitted, latencies predicted from them."""

from packlight.measure.call import Call, in_blocks, in_codes
from packlight.measure.curves import seconds
from packlight.measure.device import measure_device
from packlight.measure.latency import predict_latency, total
from packlight.measure.walk import calls, named_calls

__all__ = [
    "Call",
    "calls",
    "in_blocks",
    "in_codes",
    "measure_device",
    "named_calls",
    "predict_latency",
    "seconds",
    "total",
]
