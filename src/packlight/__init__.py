"""packlight fits a trained model to a device.

The verbs ``load``, ``plan``, ``compress``, ``evaluate``, ``compare``, ``profile`` and ``fit`` do
what the command line does; the nouns are frozen records. Everything loads on first use.
"""

import os

import lazy_loader

# ONNX Runtime reads this once, when it is first imported, here and in every child process.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_load_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """Load a public name on first use."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - loading it takes as long as all else

        return version("packlight")
    from packlight.postponed import postponing  # noqa: PLC0415 - no more than is used

    with postponing():
        return _load_name(name)
