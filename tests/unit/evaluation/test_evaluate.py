"""A judgement is paired, honest about its uncertainty, and the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats
from scipy.spatial.distance import jensenshannon

from packlight.comparison import contrast
from packlight.errors import ModelError, TaskError
from packlight.evaluation import Reference, evaluate
from packlight.evaluation.neighbors import rank_agreement
from packlight.metrics import METRICS, of_sums, per_sample, ratio
from packlight.metrics.metric import first_output
from packlight.metrics.paired import drop
from packlight.records import SessionOptions, counted, digest, loads
from packlight.records.codec import canonical
from packlight.runtime import Session
from packlight.task import ArraySamples, LazySamples, Task, read_table

OPTIONS = SessionOptions()
FLOAT = np.dtype(np.float32)
N, WIDTH, CLASSES = 120, 6, 4


@pytest.fixture
def linear(graph_of):
    """Class scores x @ w."""

    def make(weight, name="linear"):
        nodes = [("MatMul", ["x", "w"], ["y"], {})]
        shapes = {"x": [weight.shape[0]]}, {"y": [weight.shape[1]]}
        return graph_of(name, nodes, {"w": weight.astype(np.float32)}, *shapes)

    return make


@pytest.fixture
def weight():
    return np.random.default_rng(0).standard_normal((WIDTH, CLASSES))


@pytest.fixture
def inputs():
    return np.random.default_rng(1).standard_normal((N, WIDTH)).astype(np.float32)


@pytest.fixture
def task(weight, inputs):
    """Targets that the model gets right except for every tenth."""
    targets = (inputs @ weight.astype(np.float32)).argmax(axis=1)
    targets[::10] = (targets[::10] + 1) % CLASSES
    half = ["even" if index % 2 == 0 else "odd" for index in range(N)]
    few = ["few" if index < 5 else "many" for index in range(N)]
    return Task("linear", ArraySamples({"x": inputs}, {"x": FLOAT}), METRICS["top1"], targets,
                {"half": half, "size": few})  # fmt: skip


def judge(model, task, reference, **given):
    return evaluate(
        model, task, OPTIONS, reference=reference, variant="v", reference_id="r", **given
    )


def test_the_original_loses_nothing_by_definition(linear, weight, task):
    model = linear(weight)

    found = judge(model, task, model).evaluation

    assert found.metrics["drop"] == counted(0.0, n=N)
    assert found.metrics["flips"] == counted(0.0, n=N)
    assert found.metrics["agreement"] == counted(1.0, n=N)
    assert found.metrics["snr"].value == 150
    assert found.metrics["top1"].value == pytest.approx(0.9)
    assert found.metrics["top1"].low < 0.9 < found.metrics["top1"].high
    assert found.detectable == pytest.approx(3 / N)
    assert loads(type(found), canonical(found)) == found


def test_metrics_agree_with_numpy_on_all_outputs_at_once(linear, weight, inputs, task):
    other = weight + np.random.default_rng(2).normal(0, 0.3, weight.shape)

    found = judge(linear(other), task, linear(weight))

    before = inputs @ weight.astype(np.float32)
    after = inputs @ other.astype(np.float32)
    was, now = before.argmax(1) == task.targets, after.argmax(1) == task.targets
    metrics = found.evaluation.metrics
    assert metrics["top1"].value == pytest.approx(now.mean())
    assert metrics["drop"].value == pytest.approx(was.mean() - now.mean())
    assert metrics["flips"].value == pytest.approx((was & ~now).mean())
    assert metrics["agreement"].value == pytest.approx((before.argmax(1) == after.argmax(1)).mean())
    snr = 10 * np.log10((before**2).sum() / ((after - before) ** 2).sum())
    assert metrics["snr"].value == pytest.approx(snr, abs=1e-3)
    halves = {group.name: group for group in found.evaluation.groups if group.column == "half"}
    assert halves["odd"].drop.value == pytest.approx(was[1::2].mean() - now[1::2].mean())
    np.testing.assert_array_equal(found.table.right, now)
    for name, one in metrics.items():
        assert one.low <= one.value <= one.high, name


def test_only_groups_of_thirty_can_be_the_worst(linear, weight, inputs, task):
    broken = replace(task, targets=(inputs @ weight.astype(np.float32)).argmax(axis=1))
    flipped = -weight

    found = judge(linear(flipped), broken, linear(weight)).evaluation

    drops = {f"{one.column}/{one.name}": one.drop for one in found.groups if one.n >= 30}
    assert {"half/even", "half/odd", "size/many"} <= set(drops)
    assert "size/few" not in drops
    told = found.metrics["worst_group_drop"]
    assert told.value == max(one.value for one in drops.values())
    assert told.low <= max(one.low for one in drops.values())
    assert told.high >= max(one.high for one in drops.values())
    alone = replace(broken, targets=np.arange(N) % CLASSES)
    small = replace(alone, groups={"size": ["few" if i < 29 else f"g{i}" for i in range(N)]},
                    metric=METRICS["agreement"], targets=())  # fmt: skip
    assert (
        "worst_group_drop" not in judge(linear(flipped), small, linear(weight)).evaluation.metrics
    )


def test_classes_are_a_column_unless_one_has_them_already(linear, weight, task):
    found = judge(linear(weight), task, linear(weight)).evaluation
    names = {"label": [f"class {target}" for target in task.targets]}
    named = judge(linear(weight), replace(task, groups=names), linear(weight)).evaluation

    assert {one.name for one in found.groups if one.column == "target"} == {"0", "1", "2", "3"}
    assert {one.column for one in named.groups} == {"label"}


def test_every_sample_is_noted_with_its_losses_divergence_and_inputs(linear, weight, inputs, task):
    other = weight + np.random.default_rng(2).normal(0, 0.3, weight.shape)

    found = judge(linear(other), task, linear(weight))

    before, after = (special.softmax(inputs @ one.astype(np.float32), 1) for one in (weight, other))
    table, own = found.table, np.arange(N)
    np.testing.assert_allclose(table.confidence, after.max(1), rtol=1e-5)
    np.testing.assert_allclose(table.details["nll"], -np.log(after[own, task.targets]), rtol=1e-4)
    hot = np.eye(CLASSES)[task.targets]
    np.testing.assert_allclose(table.details["brier"], ((after - hot) ** 2).sum(1), rtol=1e-4)
    far = jensenshannon(before, after, axis=1) ** 2
    np.testing.assert_allclose(table.samples["divergence"], far, atol=1e-6)
    assert found.evaluation.distance == "Jensen-Shannon"
    np.testing.assert_allclose(table.samples["input_mean"], inputs.mean(1), atol=1e-6)
    np.testing.assert_allclose(table.samples["input_spread"], inputs.std(1), rtol=1e-5)
    np.testing.assert_allclose(table.samples["input_highest"], inputs.max(1))
    assert "input_length" not in table.samples
    np.testing.assert_array_equal(found.reference_table.right, before.argmax(1) == task.targets)


def test_embeddings_are_told_by_cosine_and_by_who_is_near_whom(linear, inputs):
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((WIDTH, 5))
    task = Task("near", ArraySamples({"x": inputs}, {"x": FLOAT}), METRICS["cosine"])

    near = judge(linear(weight + rng.normal(0, 0.05, weight.shape)), task, linear(weight)).table
    far = judge(linear(rng.standard_normal((WIDTH, 5))), task, linear(weight)).table

    one = inputs @ weight.astype(np.float32)
    assert judge(linear(weight), task, linear(weight)).evaluation.distance == "1 - cosine"
    assert near.samples["rank_agreement"].mean() > 0.95
    assert far.samples["rank_agreement"].mean() < 0.7
    assert rank_agreement(one, one)[0] == pytest.approx(np.ones(N))
    noisy = one + rng.normal(0, 1, one.shape)
    assert rank_agreement(one, noisy)[0][7] == pytest.approx(spearman_by_hand(one, noisy, 7))


def spearman_by_hand(one, other, place):
    tables = []
    for vectors in (one, other):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        tables.append(np.delete(unit @ unit[place], place))
    return stats.spearmanr(*tables)[0]


def test_the_same_seed_gives_the_same_record_and_table(linear, weight, task):
    other, base = linear(weight * 1.01 + 0.05), linear(weight)

    one, again = (judge(other, task, base, seed=4) for _ in range(2))

    assert digest(one.evaluation) == digest(again.evaluation)
    assert one.table.to_bytes() == again.table.to_bytes()


def test_a_reference_is_run_once_where_its_outputs_fit_and_each_time_where_not(
    linear, weight, task
):
    base, other = linear(weight), linear(weight + 0.1)
    roomy, tight = Reference(base, task, OPTIONS), Reference(base, task, OPTIONS, limit=100)

    results = [judge(other, task, reference).evaluation for reference in (roomy, tight, base)]

    assert results[0] == results[1] == results[2]
    feeds = task.samples[0]
    assert roomy.outputs(0, feeds) is roomy.outputs(0, feeds)
    assert tight.outputs(0, feeds) is not tight.outputs(0, feeds)


def test_progress_is_told_for_every_sample(linear, weight, task):
    told = []

    judge(linear(weight), task, linear(weight), progress=lambda *step: told.append(step))

    assert told == [(index + 1, N) for index in range(N)]


def test_a_variant_that_overflows_is_named_with_output_and_sample(linear, weight, inputs, task):
    with pytest.raises(ModelError, match="variant 'spoilt' gives NaN or infinity in output 'y' on "
                                         "sample 0"):  # fmt: skip
        judge(linear(weight * np.inf, "spoilt"), task, linear(weight))


def test_a_reference_that_overflows_is_the_tasks_or_the_models_own_matter(linear, weight, task):
    model = linear(weight * np.inf, "itself")
    with pytest.raises(TaskError, match="the reference must give finite outputs; 'itself'"):
        judge(model, task, model)


def test_a_task_without_targets_calls_changed_decisions_flips(linear, weight, inputs):
    task = Task("plain", ArraySamples({"x": inputs}, {"x": FLOAT}), METRICS["agreement"])
    other = weight + np.random.default_rng(2).normal(0, 0.3, weight.shape)

    metrics = judge(linear(other), task, linear(weight)).evaluation.metrics

    changed = (inputs @ weight).argmax(1) != (inputs @ other).argmax(1)
    assert metrics["flips"].value == pytest.approx(changed.mean())
    assert metrics["drop"].value == pytest.approx(changed.mean())
    assert metrics["agreement"].value == pytest.approx(1 - changed.mean())


def test_an_unbounded_metric_drops_relative_to_the_reference(linear, weight, inputs):
    targets = inputs @ weight + 1.0
    metric = METRICS["mae"]
    task = Task("values", ArraySamples({"x": inputs}, {"x": FLOAT}), metric, targets)
    base, other = linear(weight), linear(weight * 1.2)

    found = judge(other, task, base).evaluation

    before, after = 1.0, np.abs(inputs @ (weight * 1.2) - targets).mean()
    assert found.metrics["drop"].value == pytest.approx(after / before - 1, rel=1e-4)
    assert "flips" not in found.metrics
    exact = replace(task, targets=np.zeros((N, CLASSES)))
    silent = linear(weight * 0)
    with pytest.raises(TaskError, match="relative to the reference, which has exactly 0"):
        judge(silent, exact, silent)


def test_a_drop_at_the_detectable_size_is_found_in_four_of_five_test_sets():
    rng, n, shift = np.random.default_rng(0), 400, 0.05
    metric = per_sample(lambda outputs, target: 0.0, "score", bounded=True)

    def test_set(gap):
        before = rng.uniform(0.4, 0.6, n)
        after = before - gap + rng.normal(0, 0.2, n)
        return tuple(np.stack([values, np.ones(n)], axis=1) for values in (before, after))

    smallest = drop(metric, *test_set(shift), seed=0)[1]
    found = [drop(metric, *test_set(smallest), seed=0)[0].low > 0 for _ in range(60)]

    assert smallest == pytest.approx(2.8 * 0.2 / np.sqrt(n), rel=0.15)
    assert 0.62 <= np.mean(found) <= 0.95


def test_a_stateful_model_is_judged_step_by_step_and_its_state_is_no_result(graph_of):
    nodes = [("Add", ["x", "s"], ["next"], {}), ("Neg", ["next"], ["y"], {})]
    model = graph_of("sum", nodes, {}, {"x": [1], "s": [1]}, {"y": [1], "next": [1]})
    feeds = np.ones((1, 1), np.float32)
    samples = LazySamples(4, lambda index: [{"x": feeds, "s": 0 * feeds}] * (index + 1))

    def row(outputs, target):
        assert set(outputs) == {"y"}
        return np.array([float(first_output(outputs).reshape(-1)[-1] == target), 1.0])

    metric = of_sums("last", row, ratio, bounded=True)
    task = Task("sum", samples, metric, [-1.0, -2.0, -3.0, 0.0], state={"next": "s"})

    found = judge(model, task, model).evaluation

    assert found.metrics["last"].value == 0.75


def test_several_decisions_in_a_sample_flip_one_by_one(graph_of):
    def scores(step):
        nodes = [("Mul", ["x", "w"], ["y"], {})]
        shapes = {"x": [3, 2]}, {"y": [3, 2]}
        return graph_of("scores", nodes, {"w": np.array(step, np.float32)}, *shapes)

    inputs = np.tile(np.array([[[2, 1], [1, 2], [2, 1]]], np.float32), (10, 1, 1))
    task = Task("three", ArraySamples({"x": inputs}, {"x": FLOAT}), METRICS["top1"],
                np.tile([0, 1, 1], (10, 1)))  # fmt: skip

    found = judge(scores([[1, 1], [1, 0], [1, 1]]), task, scores([[1, 1]] * 3))

    assert found.evaluation.metrics["flips"].value == pytest.approx(1 / 3)
    assert found.evaluation.metrics["flips"].n == 30
    rarely = judge(scores([[1, 1], [1, 1.1], [1, 1]]), task, scores([[1, 1]] * 3)).evaluation
    assert (rarely.metrics["flips"].value, rarely.metrics["flips"].low) == (0, 0)
    assert rarely.metrics["flips"].high == pytest.approx(3.84 / (10 + 3.84), abs=0.001)
    assert found.table.owner.tolist() == np.repeat(range(10), 3).tolist()


def test_an_error_in_a_metric_is_told_with_its_place(linear, weight, task):
    def fails(outputs, target):
        raise KeyError("logits")

    own = replace(task, metric=per_sample(fails, "own"))
    with pytest.raises(TaskError, match=r"metric 'own' on sample 0 .* fails at .*test_evaluate.py"):
        judge(linear(weight), own, linear(weight))


def test_a_metric_that_gives_no_number_is_refused(linear, weight, task):
    own = replace(task, metric=per_sample(lambda outputs, target: float("nan"), "own"))
    with pytest.raises(TaskError, match="vector of finite numbers"):
        judge(linear(weight), own, linear(weight))


def test_outputs_that_change_their_shape_have_no_fidelity_and_say_so(linear, weight, task):
    wider = np.concatenate([weight, weight], axis=1)

    found = judge(linear(wider), task, linear(weight)).evaluation

    assert found.labels == ("no fidelity: y changes shape",)
    assert "snr" not in found.metrics


def test_a_table_survives_storage(linear, weight, task):
    table = judge(linear(weight + 0.1), task, linear(weight)).table

    again = read_table(table.to_bytes())

    np.testing.assert_array_equal(again.decisions, table.decisions)
    assert set(again.fidelity) == set(table.fidelity) == {"snr", "cosine", "kl"}
    assert again.to_bytes() == table.to_bytes()


def test_a_group_has_the_flips_of_its_own_samples(graph_of):
    nodes, shapes = [("Mul", ["x", "w"], ["y"], {})], ({"x": [2]}, {"y": [2]})

    def scores(step):
        return graph_of("scores", nodes, {"w": np.array(step, np.float32)}, *shapes)

    inputs = np.array([[2, 1], [1, 2], [2, 1], [2, 1]], np.float32)
    task = Task("two", ArraySamples({"x": inputs}, {"x": FLOAT}), METRICS["top1"],
                np.array([0, 1, 0, 1]), {"half": ["a", "b", "a", "b"]})  # fmt: skip

    changed = judge(scores([0, 1]), task, scores([1, 1])).evaluation
    same = judge(scores([1, 1]), task, scores([1, 1])).evaluation

    assert [(group.name, group.flips.value, group.flips.n) for group in changed.groups] == [
        ("a", 1.0, 2), ("b", 0.0, 2)
    ]  # fmt: skip
    assert [group.flips for group in same.groups] == [counted(0.0, n=2)] * 2


def test_comparing_two_models_runs_each_of_them_once_on_every_sample(
    linear, weight, task, monkeypatch
):
    runs = []
    whole = Session.run_steps

    def counted_run(self, *given):
        runs.append(self)
        return whole(self, *given)

    monkeypatch.setattr(Session, "run_steps", counted_run)
    base = Reference(linear(weight), task, OPTIONS)

    judge(base.model, task, base)
    found = judge(linear(weight + 0.1), task, base)
    contrast(task.metric, found.reference_table, found.table, {}, variant="v", reference="r")

    assert len(runs) == 2 * N
    assert len(set(map(id, runs))) == 2
