"""Networks of kinds that packlight's suite lacks, made and trained here in minutes.

A bank of kernels that eight octaves of a signal read, as a constant-Q transform does; a decoder
unrolled over 20 steps; character models with an LSTM and with a GRU; plain convolutional networks.
"""

from __future__ import annotations

import math
import pydoc_data.topics
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from exporting import export
from packlight.task import Task
from sources import cached

Batch = tuple[torch.Tensor, torch.Tensor]
OCTAVES, BINS, KERNEL, SIGNAL = 8, 24, 256, 8192
CHORDS = 24
STEPS, SYMBOLS, MEMORY = 20, 16, 192
LETTERS, PIECE = 64, 64
CLASSES, PIXELS = 10, 32


class ConstantQ(nn.Module):
    """Sines of one octave over a signal that is halved again and again, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        time = torch.arange(KERNEL) - KERNEL / 2
        pitch = 0.25 * 2 ** (-torch.arange(BINS) / BINS)
        window = torch.hann_window(KERNEL) / KERNEL
        angle = 2 * math.pi * pitch[:, None] * time[None]
        self.cosines = nn.Parameter((torch.cos(angle) * window)[:, None], requires_grad=False)
        self.sines = nn.Parameter((torch.sin(angle) * window)[:, None], requires_grad=False)
        self.lowpass = nn.Parameter(torch.hann_window(33)[None, None] / 16.5, requires_grad=False)
        self.body = nn.Sequential(
            nn.Conv1d(OCTAVES * BINS, 96, 3, padding=1), nn.ReLU(),
            nn.Conv1d(96, 96, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(96, CHORDS)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        levels = []
        stride = 256
        for _ in range(OCTAVES):
            padded = functional.pad(signal, (KERNEL // 2, KERNEL // 2))
            real = functional.conv1d(padded, self.cosines, stride=stride)
            imaginary = functional.conv1d(padded, self.sines, stride=stride)
            levels.append(torch.sqrt(real**2 + imaginary**2 + 1e-8)[:, :, :32])
            signal = functional.conv1d(signal, self.lowpass, stride=2, padding=16)
            stride //= 2
        features = torch.log(1 + 100 * torch.cat(levels, dim=1))
        return self.head(self.body(features).mean(2))


def chords(random: np.random.Generator, count: int) -> Batch:
    """Three tones of a chord with overtones and noise, and which chord it is."""
    kinds = random.integers(0, CHORDS, count)
    time = np.arange(SIGNAL)
    third = np.where(kinds >= CHORDS // 2, 3, 4)
    root = kinds % 12 + 12 * random.integers(2, 5, count)
    signal = 0.05 * random.standard_normal((count, SIGNAL))
    for gap in (np.zeros(count), third, np.full(count, 7)):
        pitch = 0.0012 * 2 ** ((root + gap) / 12)
        for overtone in (1, 2, 3):
            phase = random.uniform(0, 2 * np.pi, (count, 1))
            loudness = random.uniform(0.3, 1, (count, 1)) / overtone
            signal += loudness * np.sin(2 * np.pi * overtone * pitch[:, None] * time + phase)
    return torch.tensor(signal[:, None], dtype=torch.float32), torch.tensor(kinds)


class Decoder(nn.Module):
    """Reads a string at once, and writes it backwards symbol by symbol, step after step."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(STEPS * SYMBOLS, MEMORY)
        self.begin = nn.Linear(MEMORY, MEMORY)
        self.cell = nn.LSTMCell(SYMBOLS + MEMORY, MEMORY)
        self.write = nn.Linear(MEMORY, SYMBOLS)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        memory = torch.relu(self.encode(text))
        state = torch.tanh(self.begin(memory))
        cell = torch.zeros_like(state)
        symbol = torch.zeros_like(text[:, :SYMBOLS])
        written = []
        for _ in range(STEPS):
            state, cell = self.cell(torch.cat([symbol, memory], dim=1), (state, cell))
            scores = self.write(state)
            symbol = torch.softmax(scores, dim=1)
            written.append(scores)
        return torch.stack(written, dim=1)


def strings(random: np.random.Generator, count: int) -> Batch:
    """Strings as one-hot rows, and the same backwards."""
    symbols = random.integers(0, SYMBOLS, (count, STEPS))
    rows = np.eye(SYMBOLS, dtype=np.float32)[symbols].reshape(count, -1)
    return torch.tensor(rows), torch.tensor(symbols[:, ::-1].copy())


class Characters(nn.Module):
    """Scores of the next letter after each letter of a text."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], hidden: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(LETTERS, 64)
        self.recurrent = kind(64, hidden)
        self.head = nn.Linear(hidden, LETTERS)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        states, _ = self.recurrent(self.embed(letters).transpose(0, 1))
        return self.head(states).transpose(0, 1)


def corpus() -> torch.Tensor:
    """Python's own help topics as numbers of letters, the rarer ones as one."""
    text = "".join(pydoc_data.topics.topics.values()).lower()
    letters = sorted(set(text), key=lambda letter: (-text.count(letter), letter))[: LETTERS - 1]
    number = {letter: index + 1 for index, letter in enumerate(letters)}
    return torch.tensor([number.get(letter, 0) for letter in text])


TEXT = corpus()


def pieces(random: np.random.Generator, count: int) -> Batch:
    """Pieces of the text, and each shifted by one letter; the last tenth is for samples."""
    end = len(TEXT) * 9 // 10
    starts = random.integers(0, end - PIECE - 1, count)
    return _cut(starts)


def last_pieces(random: np.random.Generator, count: int) -> Batch:
    """Pieces of the last tenth of the text."""
    return _cut(random.integers(len(TEXT) * 9 // 10, len(TEXT) - PIECE - 1, count))


def _cut(starts: np.ndarray) -> Batch:
    rows = torch.stack([TEXT[start : start + PIECE + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def plain(*channels: int, pool: bool = True) -> nn.Module:
    """Convolutions of 3 x 3 with a ReLU each, nothing else, and a linear layer."""
    layers: list[nn.Module] = []
    for before, after in zip((3, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] * pool
    if not pool:
        layers.append(nn.AvgPool2d(8))
    side = PIXELS >> len(channels) if pool else PIXELS // 8
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * side**2, CLASSES))


def gratings(random: np.random.Generator, count: int) -> Batch:
    """Colored gratings of ten directions, behind noise."""
    kinds = random.integers(0, CLASSES, count)
    angle = np.pi * kinds / CLASSES
    place = np.arange(PIXELS) / PIXELS
    along = np.cos(angle)[:, None, None] * place + np.sin(angle)[:, None, None] * place[:, None]
    waves = random.uniform(2, 6, (count, 1, 1))
    phase = random.uniform(0, 2 * np.pi, (count, 1, 1))
    grating = np.sin(2 * np.pi * waves * along + phase)[:, None]
    color = random.uniform(0.2, 1, (count, 3, 1, 1))
    noise = 0.8 * random.standard_normal((count, 3, PIXELS, PIXELS))
    return torch.tensor(color * grating + noise, dtype=torch.float32), torch.tensor(kinds)


Draw = Callable[[np.random.Generator, int], Batch]
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Draw, Draw, int]] = {
    "cqt": (ConstantQ, chords, chords, 150),
    "decoder": (Decoder, strings, strings, 1500),
    "lstm": (lambda: Characters(nn.LSTM), pieces, last_pieces, 200),
    "gru": (lambda: Characters(nn.GRU), pieces, last_pieces, 200),
    "plain-3": (lambda: plain(16, 32, 64), gratings, gratings, 100),
    "plain-4": (lambda: plain(32, 32, 32, 32, pool=False), gratings, gratings, 40),
}
"""Of each: the network, its training and its other samples, and steps of training."""

INPUTS = {"cqt": "signal", "decoder": "text", "lstm": "letters", "gru": "letters"}
OLDER_EXPORTER = ("cqt", "lstm", "gru")
"""Networks that torch.onnx's exporter by tracing writes as they are: with one LSTM or GRU, and with
the right signal for every octave, which the newer one confuses."""

SAMPLES, CALIBRATION, AT_A_TIME = 200, 64, 32


def batches(draw: Draw, steps: int) -> Iterator[Batch]:
    """Training data, the same at every run."""
    random = np.random.default_rng(1)
    for _ in range(steps):
        yield draw(random, AT_A_TIME)


def train(name: str) -> nn.Module:
    """The trained network."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    make, draw, _, steps = NETWORKS[name]
    model = make()
    learns = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(learns, steps)
    for inputs, targets in batches(draw, steps):
        scores = model(inputs)
        loss = functional.cross_entropy(scores.flatten(0, -2), targets.flatten())
        learns.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        learns.step()
        slower.step()
    print(f"{name}: trained to {loss.item():.3f}", flush=True)
    return model.eval()


def path(name: str) -> Path:
    """The ONNX file, trained and exported once."""
    file = cached("strangers", f"{name}.onnx")
    if not file.exists():
        model = train(name)
        sample = NETWORKS[name][2](np.random.default_rng(2), 2)[0]
        key = INPUTS.get(name, "image")
        if name in OLDER_EXPORTER:
            draft = file.with_suffix(".draft")
            torch.onnx.export(
                model, (sample[:1],), str(draft), dynamo=False, opset_version=17,
                input_names=[key], output_names=["scores"],
            )  # fmt: skip
            draft.replace(file)
        else:
            export(model, {key: sample}, {key: {0: "batch"}}, "scores", file)
    return file


def task(name: str) -> Task:
    """Samples with their right answers, and others to calibrate with."""
    import packlight

    _, draw, other, _ = NETWORKS[name]
    key = INPUTS.get(name, "image")
    inputs, targets = other(np.random.default_rng(3), SAMPLES)
    known, _ = draw(np.random.default_rng(4), CALIBRATION)
    file = cached("strangers", f"{name}.npz")
    arrays = {key: inputs.numpy(), f"calibration_{key}": known.numpy()}
    if targets.ndim == 1:
        arrays["target"] = targets.numpy()
    np.savez(file, **arrays)
    return packlight.load_task(str(file), packlight.load(path(name)))


def answers(name: str) -> Batch:
    """The samples and all their right answers."""
    return NETWORKS[name][2](np.random.default_rng(3), SAMPLES)
