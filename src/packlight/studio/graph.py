"""Operators of a model as a graph whose modules fold into boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from packlight.model import Model, nodes, producer_of
from packlight.records import Profile
from packlight.studio.layout import draw
from packlight.studio.pages import GraphPage

Edge = tuple[int, int]

MODULE = "module"
"""Kind of a node that stands for a folded module."""


def module_of(name: str, module: str) -> str:
    """Path of an operator's module: as the exporter noted it, else from its name.

    >>> module_of("stage1/block0/conv", ""), module_of("conv_3", ""), module_of("x", "blocks.0")
    ('stage1.block0', '', 'blocks.0')
    """
    if module == ".":
        return ""
    if module:
        return module
    return ".".join(piece for piece in name.split("/")[:-1] if piece)


def modules_of(profile: Profile, edges: Sequence[Edge]) -> tuple[str, ...]:
    """Path of the module of each operator.

    An operator without a module that is computed when the model is loaded, as one that unpacks a
    weight, belongs where its result is read.
    """
    modules = [module_of(operator.name, operator.origin.module) for operator in profile.operators]
    readers: dict[int, list[int]] = {}
    for source, target in edges:
        readers.setdefault(source, []).append(target)
    for row in reversed(range(len(modules))):
        homes = {modules[reader] for reader in readers.get(row, ())}
        if not modules[row] and profile.operators[row].at_load and len(homes) == 1:
            modules[row] = homes.pop()
    return tuple(modules)


def edges_of(model: Model, names: Sequence[str]) -> list[Edge]:
    """Edges between operators, as indices into their names."""
    index = {name: row for row, name in enumerate(names)}
    edges: dict[Edge, None] = {}
    for node in nodes(model.graph):
        target = index.get(str(node.name))
        if target is None:
            continue
        for value in node.inputs:
            producer = producer_of(value)
            if producer is not None and str(producer.name) in index:
                edges[index[str(producer.name)], target] = None
    return list(edges)


def ancestors(module: str) -> Iterator[str]:
    """A module's path from the outermost one down to itself.

    >>> list(ancestors("stage1.block0"))
    ['stage1', 'stage1.block0']
    """
    if not module:
        return
    pieces = module.split(".")
    for depth in range(1, len(pieces) + 1):
        yield ".".join(pieces[:depth])


def foldable_modules(modules: Iterable[str]) -> tuple[str, ...]:
    """Modules of two operators or more, in the order they are met."""
    counts: Counter[str] = Counter()
    for module in modules:
        counts.update(ancestors(module))
    return tuple(module for module, count in counts.items() if count > 1)


def graph_page(
    profile: Profile, modules: Sequence[str], edges: Sequence[Edge], unfolded: Collection[str]
) -> GraphPage:
    """Draw the operators of a profile.

    Args:
        profile: of the model.
        modules: path of the module of each operator.
        edges: between operators.
        unfolded: modules whose content is drawn; ``*`` for all.
    """
    foldable = foldable_modules(modules)
    is_all = "*" in unfolded
    open_modules = set(foldable if is_all else unfolded) & set(foldable)
    known = frozenset(foldable)
    folded = {module: _folded_into(module, known, open_modules) for module in set(modules)}
    owners: list[int] = []
    first: list[int] = []
    labels: list[str] = []
    kinds: list[str] = []
    node_modules: list[str] = []
    boxes: dict[str, int] = {}
    for row, (operator, module) in enumerate(zip(profile.operators, modules, strict=True)):
        box = folded[module]
        if box and box in boxes:
            owners.append(boxes[box])
            continue
        owners.append(len(first))
        if box:
            boxes[box] = len(first)
        first.append(row)
        labels.append(box or operator.name)
        kinds.append(MODULE if box else operator.op)
        node_modules.append(box or module)
    counts = Counter(owners)
    drawn = sorted({(owners[a], owners[b]) for a, b in edges if owners[a] != owners[b]})
    drawing = draw(len(first), drawn)
    return GraphPage(
        labels=tuple(labels),
        kinds=tuple(kinds),
        modules=tuple(node_modules),
        x=tuple(drawing.x.round(1).tolist()),
        y=tuple(drawing.y.round(1).tolist()),
        first=tuple(first),
        counts=tuple(counts[node] for node in range(len(first))),
        owners=tuple(owners),
        sources=tuple(source for source, _ in drawn),
        targets=tuple(target for _, target in drawn),
        width=drawing.width,
        height=drawing.height,
        open=tuple(module for module in foldable if module in open_modules),
        foldable=foldable,
    )


def _folded_into(module: str, foldable: Collection[str], open_modules: Collection[str]) -> str:
    """The outermost module that stays folded; empty where none does."""
    for path in ancestors(module):
        if path in foldable and path not in open_modules:
            return path
    return ""
