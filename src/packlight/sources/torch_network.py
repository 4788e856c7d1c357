"""Export a PyTorch network that the user names; PyTorch is imported only then."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from packlight.disk import scratch_folder
from packlight.errors import ModelError
from packlight.model import Model, load
from packlight.task.python import load_file, load_module, user_code

CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""Variable that names it; by default it stays in the system's folder for temporary files."""


def exported(text: str, shapes: Mapping[str, Sequence[int]]) -> Model:
    """Build a network and export it.

    Args:
        text: FILE.py:FUNCTION or module:function, which returns a ``torch.nn.Module``, or that and
            its example inputs: a tuple of tensors, or a dict by name.
        shapes: of float32 inputs, where the function gives no examples.

    Raises:
        ModelError: PyTorch is missing, the function does not give a network, or it cannot be
            exported.
    """
    if importlib.util.find_spec("torch") is None:
        raise ModelError(
            f"'{text}' is a PyTorch network and PyTorch is not installed: "
            "pip install 'packlight[torch]', or give an ONNX file"
        )
    with scratch_folder() as folder, _compiler_cache(folder / "compiled"):
        exporting = importlib.import_module("packlight.sources.torch_export")
        path = folder / f"{text.rpartition(':')[2]}.onnx"
        exporting.export(_build_network(text), text, shapes, path)
        return load(path)


@contextmanager
def _compiler_cache(folder: Path) -> Iterator[None]:
    """Lead PyTorch's cache of compiled code to a folder, unless the user names one."""
    if CACHE in os.environ:
        yield
        return
    os.environ[CACHE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(CACHE, None)


def _build_network(text: str) -> object:
    """Call the function that the user names."""
    source, _, name = text.rpartition(":")
    with user_code(f"'{text}'"):
        module = load_file(Path(source)) if source.endswith(".py") else load_module(source)
        build = getattr(module, name, None)
        if not callable(build):
            raise ModelError(f"'{source}' must hold a function '{name}'; it has none")
        return build()
