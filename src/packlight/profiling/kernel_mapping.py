"""Which operators of a model each kernel of its optimised graph computes.

Every operator and value of the model bears a mark (``marks``). A kernel is placed by the values
that it gives, under the names that they have in the model. Where a runtime renamed them, as it does
where it lays data out anew, the name of the kernel still contains a mark, or what reads its
result says which value of the model that is. Then each kernel has the operators that are reached
from its values, backwards through the model, up to values that others give.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_ir as ir

from packlight.model import graphs, nodes
from packlight.profiling.counts import names
from packlight.profiling.expanded_graph import bodies_of
from packlight.profiling.node_tags import Marked

MOVERS = names("Transpose ReorderInput ReorderOutput Cast Reshape Squeeze Unsqueeze")
"""What a runtime inserts to lay out values anew."""


class Placing:
    """Kernels and operators of one model.

    Args:
        marked: the model.
        optimised: the graph of kernels.
        loaded: operators that read nothing but what is stored; they have a kernel only where the
            runtime kept one.

    Attributes:
        kernels: in the order they are listed, those in bodies included.
        gives: by value of the model, the kernel that computes it.
        given: by kernel, the values of the model that it computes; none where it was inserted.
        members: by kernel, the operators that it computes.
        owner: by operator, the kernel that computes it; absent where none does.
        stored: names of values that are stored in the optimised graph.
        loaded: operators that are computed when the model is loaded.
    """

    def __init__(
        self, marked: Marked, optimised: ir.Model, loaded: Collection[ir.Node] = ()
    ) -> None:
        self.marked, self.loaded = marked, set(loaded)
        self.kernels = list(nodes(optimised))
        self.order = {kernel: place for place, kernel in enumerate(self.kernels)}
        self.stored = {name for graph in graphs(optimised) for name in graph.initializers}
        self.gives: dict[ir.Value, ir.Node] = {}
        self.given: dict[ir.Node, list[ir.Value]] = {kernel: [] for kernel in self.kernels}
        self.loose: set[ir.Node] = set()
        self.members: dict[ir.Node, list[ir.Node]] = {kernel: [] for kernel in self.kernels}
        self.owner: dict[ir.Node, ir.Node] = {}
        wanted = dict(self.behind_movers())
        for kernel in self.kernels:
            self.place(kernel, wanted)
        self.extend()
        for kernel in reversed(self.kernels):
            self.place_by_reader(kernel)
        for kernel in self.kernels:
            self.walk(kernel)
        self.loaded -= set(self.owner)
        self.fold()

    def is_inserted(self, kernel: ir.Node) -> bool:
        """Whether a kernel only lays out anew, and does so for no operator of the model."""
        if kernel.op_type not in MOVERS:
            return False
        kept = self.marked.named_by(str(kernel.name))
        if kept is not None and kept[0].op_type == kernel.op_type:
            return False
        given = self.marked.value(str(kernel.outputs[0].name))
        maker = None if given is None else given.producer()
        read = kernel.inputs[0]
        known = read is not None and self.is_known(read)
        return maker is None or (maker.op_type != kernel.op_type and not known)

    def is_known(self, value: ir.Value) -> bool:
        """Whether a value of the optimised graph has its name in the model, or is fed or stored."""
        return value.producer() is None or self.marked.value(str(value.name)) is not None

    def behind_movers(self) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Values that inserted kernels lay out anew, with the values of the model that they are."""
        for kernel in self.kernels:
            given = self.marked.value(str(kernel.outputs[0].name)) if kernel.outputs else None
            if given is not None and kernel.inputs and self.is_inserted(kernel):
                read = kernel.inputs[0]
                if read is not None and not self.is_known(read):
                    yield read, given

    def place(self, kernel: ir.Node, wanted: dict[ir.Value, ir.Value]) -> None:
        """Note which values of the model a kernel gives, by names."""
        if self.is_inserted(kernel):
            return
        given = [
            self.marked.value(str(value.name)) or wanted.get(value) for value in kernel.outputs
        ]
        exact = [value for value in given if value is not None]
        for value in exact or list(self.hinted(kernel)):
            self.note(value, kernel)
        if not exact:
            self.loose.add(kernel)

    def note(self, value: ir.Value, kernel: ir.Node) -> None:
        """Note that a kernel gives a value of the model, if no other does."""
        if value not in self.gives:
            self.gives[value] = kernel
            self.given[kernel].append(value)

    def hinted(self, kernel: ir.Node) -> Iterator[ir.Value]:
        """Values that names made from marks tell of."""
        for text in (str(kernel.name), *(str(value.name) for value in kernel.outputs)):
            found = self.marked.named_by(text)
            if found is not None:
                node, value = found
                yield from (value,) if value is not None else node.outputs

    def extend(self) -> None:
        """Give a kernel whose results were renamed what directly follows and has no kernel."""
        taken = {value.producer() for value in self.gives}
        for kernel in self.kernels:
            taken.update(self.to_own_type(kernel))
        for node in self.marked.operators:
            if node in taken or node.op_type == "DequantizeLinear" or bodies_of(node):
                continue
            before = [self.gives[v] for v in node.inputs if v in self.gives and is_read_once(v)]
            loose = [kernel for kernel in before if kernel in self.loose]
            if loose and not self.is_stored(node):
                last = max(loose, key=self.order.__getitem__)
                for value in node.outputs:
                    self.note(value, last)

    def is_stored(self, node: ir.Node) -> bool:
        """Whether what an operator gives is stored in the optimised graph."""
        return any(str(value.name) in self.stored for value in node.outputs)

    def place_by_reader(self, kernel: ir.Node) -> None:
        """Note what a kernel gives by what its reader reads in the model."""
        if self.given[kernel] or self.is_inserted(kernel):
            return
        for reader, place in (read for output in kernel.outputs for read in reads(output)):
            for node in self.to_own_type(reader)[-1:]:
                value = node.inputs[place] if place < len(node.inputs) else None
                if value is not None and value.producer() and value not in self.gives:
                    self.note(value, kernel)
                    return

    def to_own_type(self, kernel: ir.Node) -> list[ir.Node]:
        """Operators from a value that a kernel gives back to the one of the kernel's own type."""
        rest = [[value.producer()] for value in self.given[kernel]]
        for path in rest:
            node = path[-1]
            if node is None or path.count(node) > 1:
                continue
            if node.op_type in kernel.op_type:
                return [one for one in path if one is not None]
            before = [v for v in node.inputs if v and self.gives.get(v, kernel) is kernel]
            rest += [[*path, value.producer()] for value in before]
        return []

    def walk(self, kernel: ir.Node) -> None:
        """Give a kernel the operators from its values back to what other kernels give."""
        rest = [value.producer() for value in self.given[kernel]]
        while rest:
            node = rest.pop()
            if node is None or node in self.owner:
                continue
            self.owner[node] = kernel
            self.members[kernel].append(node)
            inside = (v for v in node.inputs if v is not None and self.is_inside(v, kernel))
            rest += [value.producer() for value in inside]

    def is_inside(self, value: ir.Value, kernel: ir.Node) -> bool:
        """Whether a kernel itself computes what one of its operators reads."""
        own = self.gives.get(value, kernel) is kernel
        return own and str(value.name) not in self.stored and value.producer() not in self.loaded

    def fold(self) -> None:
        """Note the operators without a kernel behind what is stored in the optimised graph."""
        every = (value for node in self.marked.operators for value in node.outputs)
        rest = [value.producer() for value in every if str(value.name) in self.stored]
        rest += [v.producer() for node in self.loaded for v in node.inputs if v is not None]
        while rest:
            node = rest.pop()
            if node is not None and node not in self.owner and node not in self.loaded:
                self.loaded.add(node)
                rest += [value.producer() for value in node.inputs if value is not None]

    def counts_for(self, kernel: ir.Node) -> ir.Node | None:
        """The kernel whose operators a kernel's time belongs to; None where there is none.

        That of an inserted one belongs to what reads its result, or else to what it reads.
        """
        seen: list[ir.Node] = [kernel]
        for one in seen:
            if self.given[one]:
                return one
            seen += [r for v in one.outputs for r, _ in reads(v) if r not in seen]
        makers = [v.producer() for v in kernel.inputs if v is not None]
        return next((self.counts_for(maker) for maker in makers if maker is not None), None)


def is_read_once(value: ir.Value) -> bool:
    """Whether one operator reads a value, and nothing else does."""
    return len(list(value.uses())) == 1 and not value.is_graph_output()


def reads(value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
    """What reads a value of the optimised graph, through a change of layout, and as which input."""
    for use in value.uses():
        if use.node.op_type == "ReorderInput":
            yield from reads(use.node.outputs[0])
        yield use.node, use.idx
