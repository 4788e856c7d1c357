import numpy as np
import pytest
from planted import NETS, drawn

from packlight.errors import TaskError
from packlight.evaluation.robustness import robustness
from packlight.metrics import METRICS
from packlight.records import SessionOptions, parse_recipe
from packlight.task import Task
from packlight.task.changes import CHANGES, changed_tasks, input_kind
from packlight.testing.cases import apply_recipe, sample_calls
from packlight.testing.networks import NETWORKS

OPTIONS = SessionOptions()


def labelled(model, samples):
    """A task whose targets are what the model itself decides."""
    from packlight.runtime import open_session

    session = open_session(model, OPTIONS)
    targets = [int(next(iter(session.run(one[0]).values())).argmax()) for one in samples]
    return Task("labelled", samples, METRICS["top1"], targets)


def test_inputs_are_told_by_their_shape_and_type():
    assert input_kind(np.zeros((1, 3, 32, 32), np.float32)) == "image"
    assert input_kind(np.zeros((1, 32, 32, 3), np.uint8)) == "image"
    assert input_kind(np.zeros((1, 512), np.float32)) == "sound"
    assert input_kind(np.zeros((1, 16), np.float32)) == "numbers"
    assert input_kind(np.zeros((1, 16), np.int64)) == ""


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_small_and_the_same_for_the_same_seed(kind):
    shape = {"image": (1, 3, 24, 24), "sound": (1, 512), "numbers": (1, 20)}[kind]
    smooth = np.cumsum(np.random.default_rng(0).standard_normal(shape), axis=-1)
    for name, change in CHANGES[kind].items():
        made, again = (change(smooth, np.random.default_rng(5)) for _ in range(2))
        assert np.array_equal(made, again)
        assert made.shape == smooth.shape
        assert 0 < np.abs(made - smooth).mean() < smooth.std(), name


def test_an_image_of_whole_pixels_stays_one():
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16), dtype=np.uint8)
    task = Task("pixels", [({"x": picture},)], METRICS["snr"])

    for changed in changed_tasks(task, 3).values():
        found = changed.samples[0][0]["x"]
        assert (found.dtype, found.shape) == (np.uint8, picture.shape)


def test_a_reference_beside_itself_loses_nothing_extra():
    net = NETS["conv"]()
    task = labelled(net.model, drawn(net, count=40))

    found = robustness(net.model, net.model, task, OPTIONS, variant="same")

    assert [one.change for one in found] == list(CHANGES["image"])
    assert all(one.extra.value == 0 and one.drop == one.reference for one in found)


def test_a_variant_that_stands_on_a_knife_edge_is_told():
    net = NETS["conv"]()
    task = labelled(net.model, drawn(net, count=60))
    calls = [sample[0] for sample in drawn(net, 2)]
    rough = apply_recipe(net.model, parse_recipe("weights:2"), calls).model

    found = {one.change: one for one in robustness(rough, net.model, task, OPTIONS, variant="r")}

    for one in found.values():
        assert one.extra.value == pytest.approx(one.drop.value - one.reference.value)
        assert one.extra.low <= one.extra.value <= one.extra.high


def test_the_task_may_bring_changes_of_its_own():
    net = NETS["perceptron"]()
    task = labelled_rows(net)

    found = robustness(net.model, net.model, task, OPTIONS, variant="same")

    assert [one.change for one in found] == ["noise", "nothing"]
    assert found[1].drop.value == 0


def labelled_rows(net):
    samples = drawn(net, count=6)
    return Task("rows", samples, METRICS["snr"], changes={"nothing": lambda steps, seed: steps})


def test_inputs_that_cannot_be_changed_are_refused():
    model = NETWORKS["embedding-21"]()
    task = Task("tokens", [(call,) for call in sample_calls(model)], METRICS["snr"])

    with pytest.raises(TaskError, match="changes="):
        robustness(model, model, task, OPTIONS, variant="same")


def test_no_more_samples_are_changed_than_asked():
    net = NETS["conv"]()
    task = labelled(net.model, drawn(net, count=30))

    found = robustness(net.model, net.model, task, OPTIONS, variant="same", limit=10)

    assert {one.drop.n for one in found} == {10}
