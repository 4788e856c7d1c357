"""Silero's voice activity detector on a conversation that people labelled.

The model (silero-vad, MIT) takes 32 ms of sound at 16 kHz with the last 4 ms before it, and carries
a state. It is judged on the sample of pyannote-audio (MIT), 30 s of a conversation with the times
of speech, by the share of frames that it calls right. Both come by
    pip install --no-deps -r benchmarks/models.txt
and are read from the installed packages. Then, for instance:
    packlight fit $(python examples/voice_activity.py) --task examples/silero_vad.py:task \
        --budget "size<=0.5x" --budget "drop<=1%"

A sample is a block of ten neighbouring frames (0.32 s), fed after a lead-in of 100 frames before
it, so that the state has warmed up: in blocks the model is right as often as in one stream, 98.5 %.
The frames of one recording depend on each other, so the intervals draw blocks, not frames;
neighbouring blocks still do, and one recording is one room and one language: the intervals speak
for this recording, not for all speech.
"""

from __future__ import annotations

import wave
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packlight.metrics import Outputs, Rows, first_output, of_sums, ratio
from packlight.task import LazySamples, Task

RATE = 16_000
FRAME, CONTEXT = 512, 64
BLOCK, LEAD_IN = 10, 100
SPEECH = 0.5
POCKETSPHINX = Path("/usr/share/pocketsphinx/test/data")
CALIBRATION_BLOCKS = 50
SHARE_JUDGED = 0.75
"""Of the recording, where its rest must serve for calibration."""

Sound = NDArray[np.float32]


def package(name: str) -> Path:
    """Folder of an installed package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"package '{name}' is needed: pip install --no-deps -r benchmarks/models.txt"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def model_path() -> Path:
    """The detector's ONNX file."""
    return package("silero_vad") / "data" / "silero_vad_16k_op15.onnx"


def read_wav(path: Path) -> Sound:
    """A mono file of 16 bit at 16 kHz, scaled to [-1, 1)."""
    with wave.open(str(path)) as file:
        if file.getframerate() != RATE or file.getnchannels() != 1:
            raise ValueError(f"{path.name} must be mono at {RATE} Hz")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def conversation() -> tuple[Sound, NDArray[np.bool_]]:
    """The recording, and for each of its whole frames whether most of it is speech."""
    folder = package("pyannote") / "audio" / "sample"
    sound = read_wav(folder / "sample.wav")
    speech = np.zeros(len(sound), dtype=np.bool_)
    for line in (folder / "sample.rttm").read_text().splitlines():
        start, length = (float(field) for field in line.split()[3:5])
        speech[int(start * RATE) : int((start + length) * RATE)] = True
    frames = len(sound) // FRAME
    return sound, speech[: frames * FRAME].reshape(frames, FRAME).mean(axis=1) > SPEECH


def feeds(sound: Sound, frame: int) -> dict[str, NDArray[np.generic]]:
    """One call: a frame after the sound just before it, and a state of zeros to start from."""
    start = frame * FRAME
    before = sound[start - CONTEXT : start] if frame else np.zeros(CONTEXT, np.float32)
    return {
        "input": np.concatenate([before, sound[start : start + FRAME]])[None],
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(RATE, np.int64),
    }


def blocks(sound: Sound, first: int, last: int) -> LazySamples:
    """Whole blocks of the frames from ``first`` to before ``last``, each after its lead-in."""

    def build(index: int) -> tuple[dict[str, NDArray[np.generic]], ...]:
        start = first + index * BLOCK
        frames = range(max(0, start - LEAD_IN), start + BLOCK)
        return tuple(feeds(sound, frame) for frame in frames)

    return LazySamples((last - first) // BLOCK, build)


def decide(outputs: Outputs) -> NDArray[np.bool_]:
    """Whether each frame of the block is speech; its lead-in is not judged."""
    return np.asarray(first_output(outputs).reshape(-1)[-BLOCK:] > SPEECH)


def row(outputs: Outputs, target: object) -> Rows:
    """Frames of the block that are right, and all of them."""
    right = decide(outputs) == np.asarray(target)
    return np.array([right.sum(), right.size], dtype=np.float64)


def kind(block: NDArray[np.bool_]) -> str:
    """Whether a block is speech, silence, or where one begins."""
    return "speech" if block.all() else "change" if block.any() else "silence"


def other_speech() -> tuple[Sound, ...]:
    """Recordings of Debian's pocketsphinx-testdata; none where it is not installed."""
    return tuple(read_wav(path) for path in sorted(POCKETSPHINX.glob("*/*.wav")))


def calibration() -> LazySamples:
    """Blocks from other recordings, evenly spread, with quiet before each recording."""
    silence = np.zeros(RATE, np.float32)
    sound = np.concatenate([part for speech in other_speech() for part in (silence, speech)])
    everything = blocks(sound, 0, len(sound) // FRAME)
    places = np.unique(np.linspace(0, len(everything) - 1, CALIBRATION_BLOCKS).astype(int))
    return LazySamples(len(places), lambda index: everything[int(places[index])])


def task() -> Task:
    """Share of frames called right, in blocks, with other speech for calibration."""
    sound, speech = conversation()
    frames = len(speech)
    if other_speech():
        judged, held, source = frames, calibration(), "pocketsphinx-testdata"
    else:
        judged = int(frames * SHARE_JUDGED)
        held = blocks(sound, judged + LEAD_IN, frames)
        source = "the rest of the same recording"
    samples = blocks(sound, 0, judged)
    targets = speech[: len(samples) * BLOCK].reshape(-1, BLOCK)
    return Task(
        name="voice activity of a conversation",
        samples=samples,
        metric=of_sums("accuracy", row, ratio, bounded=True, decide=decide),
        targets=targets,
        groups={"block": tuple(kind(target) for target in targets)},
        calibration=held,
        state={"stateN": "state"},
        remarks=(f"judged on {targets.size} frames of one recording; calibrated on {source}",),
    )


if __name__ == "__main__":
    print(model_path())
