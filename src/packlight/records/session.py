"""Session options, recorded with every result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Options of an ONNX Runtime session.

    Attributes:
        arithmetic: ``runtime`` is what the optimized session computes; ``exact`` turns graph
            optimizations off and replaces integer operators by exact references.
        threads: within one operator.
        matmul_accuracy: ``session.qdq_matmulnbits_accuracy_level``. 4, what ONNX Runtime takes
            when nothing is said, computes fused low-bit products with 8-bit activations;
            1 computes them in float32.
    """

    arithmetic: Literal["runtime", "exact"] = "runtime"
    threads: int = 1
    matmul_accuracy: Literal[0, 1, 2, 3, 4] = 4


DEFAULT_SESSION = SessionOptions()
"""One thread, optimized, the runtime's own accuracy level."""
