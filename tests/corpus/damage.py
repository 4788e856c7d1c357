"""200 damaged, hostile or merely strange models, the same for the same seed.

Each is built from a small model into a folder of its own. As a program this writes all of them:

    python tests/corpus/damage.py FOLDER --seed 0
"""

from __future__ import annotations

import argparse
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import hostile_bytes
import hostile_files
import hostile_graphs
import hostile_nests
import hostile_values
import numpy as np

Build = Callable[[Path, np.random.Generator], Path]
Ending = Literal["refused", "taken", "either"]

FAMILIES: Mapping[str, Mapping[str, Build]] = {
    "cut": hostile_bytes.CUT,
    "flipped header": hostile_bytes.HEADER,
    "flipped graph": hostile_bytes.GRAPH,
    "flipped weights": hostile_bytes.WEIGHTS,
    "patched": hostile_bytes.PATCHED,
    "no model": hostile_files.NO_MODEL,
    "no file": hostile_files.NO_FILE,
    "escaping": hostile_files.ESCAPING,
    "misplaced": hostile_files.MISPLACED,
    "sizes": hostile_values.SIZES,
    "growth": hostile_values.GROWTH,
    "numbers": hostile_values.NUMBERS,
    "inputs": hostile_values.INPUTS,
    "opset": hostile_graphs.OPSET,
    "order": hostile_graphs.ORDER,
    "operators": hostile_graphs.OPERATORS,
    "types": hostile_graphs.TYPES,
    "outputs": hostile_graphs.OUTPUTS,
    "names": hostile_graphs.NAMES,
    "nests": hostile_nests.NESTS,
    "functions": hostile_nests.FUNCTIONS,
}

REFUSED = ("cut", "no model", "no file", "escaping", "misplaced", "opset", "order")
"""Families of which every member must be refused."""

TAKEN = ("numbers", "outputs")
"""Families of which every member is a model that must work, however strange."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One input.

    Attributes:
        family: the kind of damage.
        name: of all 200, one has it.
        build: writes it into an empty folder; gives the path to name on the command line.
    """

    family: str
    name: str
    build: Build

    @property
    def ending(self) -> Ending:
        """How a command on it may end."""
        if self.family in REFUSED:
            return "refused"
        return "taken" if self.family in TAKEN else "either"

    def written(self, root: Path, seed: int) -> Path:
        """Build it into a folder of its own below ``root``."""
        folder = root / re.sub(r"\W+", "-", self.name)
        folder.mkdir(parents=True)
        random = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        return self.build(folder, random)


DAMAGES: tuple[Damage, ...] = tuple(
    Damage(family, f"{family}: {name}", build)
    for family, members in FAMILIES.items()
    for name, build in members.items()
)


def one_of_each(seed: int) -> tuple[Damage, ...]:
    """One member of every family."""
    random = np.random.default_rng(seed)
    families = [[one for one in DAMAGES if one.family == family] for family in FAMILIES]
    return tuple(members[random.integers(len(members))] for members in families)


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for damage in DAMAGES:
        print(damage.written(chosen.folder, chosen.seed))


if __name__ == "__main__":
    main()
