"""Networks as PyTorch exports them: its own counter agrees, and lines and modules are carried."""

import linecache
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    from torch import nn
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

from packlight.model import load
from packlight.profiling import profile

FLOPS_PER_MAC = 2


class Pictures(nn.Module):
    """Convolutions of every kind."""

    def __init__(self):
        super().__init__()
        conv = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.first = nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.wide = nn.Conv2d(8, 12, 3, dilation=2, groups=2)
        self.up = nn.ConvTranspose2d(12, 6, 4, 2, groups=2)
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        x = self.wide(self.deep(self.first(x)).sigmoid())
        x = self.up(x)
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """Attention, by an operator of its own and by hand."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(50, 16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16, bias=False)
        self.mix = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        batch, length = x.shape
        parts = self.qkv(self.table(x)).reshape(batch, length, 3, 4, 4).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        x = nn.functional.scaled_dot_product_attention(query, key, value)
        x = torch.einsum("bhld,dk->blhk", x, self.mix)
        return self.out(x.flatten(2))


NETWORKS = {
    "pictures": (Pictures, lambda: torch.randn(2, 3, 17, 17)),
    "tokens": (Tokens, lambda: torch.arange(14).reshape(2, 7)),
}


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request, tmp_path_factory):
    """A module, its input, and its profile."""
    make, draw = NETWORKS[request.param]
    torch.manual_seed(0)
    module, example = make().eval(), draw()
    path = tmp_path_factory.mktemp("torch") / "m.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, (example,), dynamo=True, verbose=False)
        program.save(str(path))
    return module, example, profile(load(path), {})


def test_multiply_accumulates_agree_with_the_counter_of_pytorch(exported):
    module, example, found = exported
    by_products = sdpa_kernel(SDPBackend.MATH)  # PyTorch does not count its fused kernel here
    with torch.no_grad(), by_products, FlopCounterMode(display=False) as counter:
        module(example)

    assert found.unknown == ()
    assert found.totals["macs"].value * FLOPS_PER_MAC == counter.get_total_flops()


def test_every_operator_with_arithmetic_carries_file_line_and_module(exported):
    module, _, found = exported
    modules = {name for name, _ in module.named_modules()} | {"."}
    arithmetic = [row for row in found.operators if row.macs or row.other_ops]

    assert arithmetic
    for row in arithmetic:
        assert row.source is not None
        assert Path(row.source.file).name == Path(__file__).name
        assert row.source.module in modules
        text = linecache.getline(row.source.file, row.source.line)
        assert "x" in text


def test_the_line_is_the_one_that_calls_the_module(exported):
    _, _, found = exported
    lines = {
        row.source.module: linecache.getline(row.source.file, row.source.line)
        for row in found.operators
        if row.source and row.op in ("Conv", "ConvTranspose", "Gemm")
    }

    assert all(f"self.{module.split('.')[0]}(" in line for module, line in lines.items())
