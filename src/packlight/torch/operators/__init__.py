"""Operators of ONNX in PyTorch, a function for each, by domain and type."""

from __future__ import annotations

from collections.abc import Mapping

from packlight.torch.operators.activations import ACTIVATIONS, MICROSOFT_ACTIVATIONS
from packlight.torch.operators.attention import MICROSOFT_ATTENTION
from packlight.torch.operators.convolutions import CONVOLUTIONS, MICROSOFT_CONVOLUTIONS
from packlight.torch.operators.elementwise import ELEMENTWISE
from packlight.torch.operators.indexing import INDEXING, LEARNED_INDEXING
from packlight.torch.operators.layout import LAYOUT
from packlight.torch.operators.learned import LEARNED
from packlight.torch.operators.normalization import MICROSOFT_NORMALIZATION, NORMALIZATION
from packlight.torch.operators.pooling import POOLING
from packlight.torch.operators.products import MICROSOFT_PRODUCTS, PRODUCTS
from packlight.torch.operators.quantization import (
    MICROSOFT_QUANTIZATION,
    QUANTIZATION,
    TRAINING,
    TRAINING_DOMAIN,
)
from packlight.torch.operators.recurrent import RECURRENT
from packlight.torch.operators.reductions import REDUCTIONS
from packlight.torch.operators.resizing import RESIZING
from packlight.torch.operators.sequences import SEQUENCES
from packlight.torch.values import Function

OPERATORS: Mapping[str, Mapping[str, Function]] = {
    "": {
        **ACTIVATIONS,
        **CONVOLUTIONS,
        **ELEMENTWISE,
        **INDEXING,
        **LAYOUT,
        **NORMALIZATION,
        **POOLING,
        **PRODUCTS,
        **QUANTIZATION,
        **RECURRENT,
        **REDUCTIONS,
        **RESIZING,
        **SEQUENCES,
    },
    "ai.onnx.ml": {**LEARNED, **LEARNED_INDEXING},
    "com.microsoft": {
        **MICROSOFT_ACTIVATIONS,
        **MICROSOFT_ATTENTION,
        **MICROSOFT_CONVOLUTIONS,
        **MICROSOFT_NORMALIZATION,
        **MICROSOFT_PRODUCTS,
        **MICROSOFT_QUANTIZATION,
    },
    TRAINING_DOMAIN: TRAINING,
}
"""Functions by domain and type of operator. Control flow is in ``graph``, sizes in ``sizes``."""
