"""One judged file of one tool, as a JSON file in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sources import cached

KEY_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool made of a model.

    Attributes:
        case: name of the model.
        width: bits that were asked for.
        tool: packlight or a peer.
        setting: how, for people.
        size: bytes.
        level: dB of the outputs against the original, in exact arithmetic.
        metric: of the task.
        metric_name: its name.
        metric_low: lower end of its 95 % interval.
        metric_high: upper end.
        seconds: that compression took by the clock, whatever else ran on the machine.
        cpu_seconds: of work of all cores, which others on the machine hardly change.
        peak_bytes: resident memory of the process at most; 0 where it was not measured.
        remarks: what was left alone.
        failure: why there is no result; empty where there is one.
    """

    case: str
    width: int
    tool: str
    setting: str
    size: int = 0
    level: float = 0.0
    metric: float = 0.0
    metric_name: str = ""
    metric_low: float = 0.0
    metric_high: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    remarks: tuple[str, ...] = ()
    failure: str = ""

    def line(self) -> str:
        """The result for people."""
        head = f"{self.case:12} {self.width} {self.tool:12} {self.setting:34}"
        if self.failure:
            return f"{head} {self.failure}"
        return (
            f"{head} {self.size / 1e6:7.3f} MB {self.level:6.2f} dB  {self.metric_name} "
            f"{self.metric:.4f}  {self.seconds:.1f} s ({self.cpu_seconds:.1f} of work)  "
            f"{self.peak_bytes / 1e6:.0f} MB"
        )


def place(tool: str, *parts: object) -> Path:
    """Where the result of these inputs is kept."""
    content = json.dumps([tool, *parts], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:KEY_LENGTH]
    return cached("weights", f"{tool}-{digest}.json")


def write(path: Path, result: Result) -> Result:
    """Keep a result; it appears whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(result), indent=1))
    draft.replace(path)
    return result


def read(path: Path) -> Result:
    """A result that was kept."""
    fields = json.loads(path.read_text())
    return Result(**{**fields, "remarks": tuple(fields["remarks"])})


def latest(tool: str, case: str, settings: Collection[str]) -> list[Result]:
    """The newest result of each setting, of whatever version of the tool."""
    found: dict[str, Result] = {}
    paths = cached("weights").glob(f"{tool}-*.json")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        result = read(path)
        if result.case == case and result.setting in settings:
            found[result.setting] = result
    return list(found.values())


def best(results: Iterable[Result], size: int) -> Result | None:
    """The most faithful of those that are not larger; None where all are."""
    small = [result for result in results if not result.failure and result.size <= size]
    return max(small, key=lambda result: result.level, default=None)
