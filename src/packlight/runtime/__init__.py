"""The only place that opens ONNX Runtime: sessions, taps, clock, memory, machine, vet.

Names load on first use, so that a child process that measures memory loads no more than it needs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
