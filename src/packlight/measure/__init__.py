"""This machine as a device: kernels timed, curves fitted, latencies predicted from them.

Names load on first use: to predict a latency takes none of what measures one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packlight.lazy import lazy

if TYPE_CHECKING:
    from packlight.measure.call import Call, in_blocks, in_codes
    from packlight.measure.curves import seconds
    from packlight.measure.device import measure_device
    from packlight.measure.latency import predict_latency, total
    from packlight.measure.walk import calls, named_calls

HOME = {
    "Call": "call",
    "calls": "walk",
    "in_blocks": "call",
    "in_codes": "call",
    "measure_device": "device",
    "named_calls": "walk",
    "predict_latency": "latency",
    "seconds": "curves",
    "total": "latency",
}
"""Module of each public name."""

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

__getattr__ = lazy(__name__, HOME)
