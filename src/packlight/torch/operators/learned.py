"""Operators of ai.onnx.ml on numbers: trees, linear models and scalers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from packlight.torch.values import Function, Operator, Tensor

COMPARISONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "BRANCH_LEQ": torch.le,
    "BRANCH_LT": torch.lt,
    "BRANCH_GTE": torch.ge,
    "BRANCH_GT": torch.gt,
    "BRANCH_EQ": torch.eq,
    "BRANCH_NEQ": torch.ne,
}

POST_TRANSFORMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "NONE": lambda x: x,
    "LOGISTIC": torch.sigmoid,
    "SOFTMAX": lambda x: torch.softmax(x, -1),
}

AGGREGATES = ("SUM", "AVERAGE")


def _linear_regressor(op: Operator, x: Tensor) -> Tensor:
    targets = op.integer("targets", 1)
    weight = _vector(op, "coefficients", x).reshape(targets, -1)
    result = torch.matmul(x, weight.t())
    if "intercepts" in op.attributes:
        result = result + _vector(op, "intercepts", x)
    return POST_TRANSFORMS[op.text("post_transform", "NONE")](result)


def _scaler(op: Operator, x: Tensor) -> Tensor:
    dtype = _float_type(x)
    shifted = x.to(dtype) - _vector(op, "offset", x).to(dtype)
    return shifted * _vector(op, "scale", x).to(dtype)


def _normalizer(op: Operator, x: Tensor) -> Tensor:
    order = {"MAX": torch.inf, "L1": 1, "L2": 2}[op.text("norm", "MAX")]
    norm = torch.linalg.vector_norm(x, order, -1, keepdim=True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


def _vector(op: Operator, name: str, x: Tensor) -> Tensor:
    return torch.tensor(op.numbers(name), dtype=_float_type(x), device=x.device)


def _float_type(x: Tensor) -> torch.dtype:
    """The type that numbers of integers and floats are computed in."""
    if x.is_floating_point():
        return x.dtype
    return torch.float32


def _tree_regressor(op: Operator, x: Tensor) -> Tensor:
    """Walk all trees at once, a level at a time, then sum the weights of the leaves."""
    modes = [str(mode) for mode in op.attributes["nodes_modes"]]
    keys = list(zip(op.integers("nodes_treeids"), op.integers("nodes_nodeids"), strict=True))
    index = {key: position for position, key in enumerate(keys)}
    features = torch.tensor(op.integers("nodes_featureids"), device=x.device)
    thresholds = _vector(op, "nodes_values", x)
    following = []
    for branch in ("nodes_falsenodeids", "nodes_truenodeids"):
        targets = [
            position if modes[position] == "LEAF" else index[tree, node]
            for position, ((tree, _), node) in enumerate(
                zip(keys, op.integers(branch), strict=True)
            )
        ]
        following.append(torch.tensor(targets, device=x.device))
    roots = list(
        {tree: position for position, (tree, _) in reversed(list(enumerate(keys)))}.values()
    )
    here = torch.tensor(sorted(roots), device=x.device).expand(x.shape[0], -1)
    for _ in range(_depth(following)):
        values = x.gather(1, features[here])
        passed = torch.zeros_like(values, dtype=torch.bool)
        for mode, compare in COMPARISONS.items():
            chosen = torch.tensor([name == mode for name in modes], device=x.device)[here]
            passed = passed | (chosen & compare(values, thresholds[here]))
        here = torch.where(passed, following[1][here], following[0][here])
    return _leaf_sums(op, x, here, index, len(set(roots)))


def _depth(following: list[Tensor]) -> int:
    """Steps until every walk stands at a leaf, which follows itself."""
    pairs = torch.stack([part.cpu() for part in following], 1).tolist()
    depths: dict[int, int] = {}
    return max(_measure(position, pairs, depths) for position in range(len(pairs)))


def _measure(position: int, pairs: list[list[int]], depths: dict[int, int]) -> int:
    if position not in depths:
        children = [child for child in pairs[position] if child != position]
        depths[position] = max(
            (1 + _measure(child, pairs, depths) for child in children), default=0
        )
    return depths[position]


def _leaf_sums(
    op: Operator, x: Tensor, leaves: Tensor, index: Mapping[tuple[int, int], int], trees: int
) -> Tensor:
    targets = op.integer("n_targets", 1)
    table = torch.zeros(len(index), targets, dtype=x.dtype, device=x.device)
    keys = zip(op.integers("target_treeids"), op.integers("target_nodeids"), strict=True)
    rows = torch.tensor([index[key] for key in keys], device=x.device)
    columns = torch.tensor(op.integers("target_ids"), device=x.device)
    table = table.index_put((rows, columns), _vector(op, "target_weights", x), accumulate=True)
    result = table[leaves].sum(1)
    if op.text("aggregate_function", "SUM") == "AVERAGE":
        result = result / trees
    if "base_values" in op.attributes:
        result = result + _vector(op, "base_values", x)
    return POST_TRANSFORMS[op.text("post_transform", "NONE")](result)


LEARNED: Mapping[str, Function] = {
    "LinearRegressor": _linear_regressor,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
    "TreeEnsembleRegressor": _tree_regressor,
}
