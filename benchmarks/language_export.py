"""Write a GGUF language model as float32 ONNX, and texts as tokens, in an environment of its own.

python language_export.py MODEL.gguf TEXTS OUT.onnx
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference to PyTorch, as a share of the largest output."""

EXAMPLE = 24
"""Tokens of the text that the model is exported with."""


class Logits(torch.nn.Module):
    """The model without a cache: tokens (1, n) to scores of the next (1, n, vocabulary)."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.inner(input_ids=input_ids, use_cache=False).logits


def export(model: torch.nn.Module, ids: torch.Tensor, path: Path) -> None:
    """Write the model; a file appears once it computes what the model does."""
    program = torch.onnx.export(
        model,
        (ids,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["input_ids"],
        output_names=["logits"],
        dynamic_shapes=({1: torch.export.Dim("length", min=2, max=512)},),
        verbose=False,
    )
    draft = path.with_suffix(".draft")
    program.save(str(draft), external_data=False)
    with torch.no_grad():
        wanted = model(ids[:, :-3]).numpy()
    session = onnxruntime.InferenceSession(str(draft), providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"input_ids": ids[:, :-3].numpy()})[0]
    gap = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    if gap > TOLERANCE:
        raise SystemExit(f"'{draft}' differs from the PyTorch model by {gap:.1e} of its range")
    draft.replace(path)


def main(source: Path, texts: Path, out: Path) -> None:
    """Write tokens of every text, then the model."""
    folder, file = str(source.parent), source.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    lines = texts.read_text(encoding="latin-1").rstrip("\n").split("\n")
    ids = [tokenizer(line)["input_ids"] for line in lines]
    np.savez(
        out.with_name("tokens.npz"), ids=np.concatenate(ids), lengths=[len(text) for text in ids]
    )
    inner = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32, attn_implementation="eager"
    )
    export(Logits(inner.eval()).eval(), torch.tensor([ids[0][:EXAMPLE]]), out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
