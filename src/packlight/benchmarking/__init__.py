"""This machine as a device: kernels timed, curves fitted, latencies predicted from them.

Names load on first use: to predict a latency takes none of what measures one.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
