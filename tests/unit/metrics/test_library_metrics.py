"""Metrics of the extra give the numbers of their libraries, and intervals of the same samples."""

import contextlib
import io
from importlib import metadata

import jiwer
import numpy as np
import pytest
import sacrebleu
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn import metrics as sklearn_metrics

from packlight.errors import TaskError, UndefinedError
from packlight.metrics import METRICS, metric_by_name
from packlight.metrics.intervals import percentile_interval
from packlight.metrics.paired import contributions, drop, drop_test, measure
from packlight.presentation.numbers import POINTS, drop_scale
from packlight.task import Task

NEW = {
    "map", "map50", "map75", "iou", "miou", "wer", "wer_standardized", "cer", "bleu", "chrf",
    "psnr", "ssim", "eer",
}  # fmt: skip


def rows_of(metric, outputs, targets):
    """Rows of all samples, the shorter ones filled with zeros as tables do."""
    rows = [metric.row(given, target) for given, target in zip(outputs, targets, strict=True)]
    longest = max(row.size for row in rows)
    assert metric.ragged or all(row.size == longest for row in rows)
    return np.array([np.pad(row, (0, longest - row.size)) for row in rows])


def total(name, outputs, targets, decode=None):
    metric = metric_by_name(name, decode)
    return metric.total(rows_of(metric, outputs, targets))


# Detectors


def scenes(seed, count=60, noise=4.0, crowds=False):
    """Outputs of a detector, and true objects, of images with none to six objects."""
    rng = np.random.default_rng(seed)
    outputs, targets = [], []
    for _ in range(count):
        m = rng.integers(0, 7)
        corner = rng.uniform(0, 80, (m, 2))
        boxes = np.hstack([corner, corner + rng.uniform(10, 60, (m, 2))])
        labels = rng.integers(0, 4, m)
        seen = rng.random(m) < 0.8
        extra = rng.integers(0, 4)
        corner = rng.uniform(0, 80, (extra, 2))
        wrong = np.hstack([corner, corner + rng.uniform(5, 50, (extra, 2))])
        found = np.vstack([boxes[seen] + rng.normal(0, noise, (seen.sum(), 4)), wrong])
        kinds = np.concatenate([labels[seen], rng.integers(0, 5, extra)])
        scores = np.round(rng.uniform(0.05, 1, len(found)), 2)  # with ties
        outputs.append({
            "boxes": found.astype(np.float32), "scores": scores.astype(np.float32), "labels": kinds,
        })  # fmt: skip
        columns = [boxes, labels[:, None]]
        if crowds:
            columns.append(rng.random((m, 1)) < 0.2)
        targets.append(np.hstack(columns))
    return outputs, targets


def coco_stats(outputs, targets):
    """AP, AP50 and AP75 of all images at once, by pycocotools alone."""
    annotations, results = [], []
    for image, (given, target) in enumerate(zip(outputs, targets, strict=True), start=1):
        for row in target:
            x, y, right, bottom, label = row[:5].tolist()
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": int(label) + 1,
                "bbox": [x, y, right - x, bottom - y], "area": (right - x) * (bottom - y),
                "iscrowd": int(row[5]) if len(row) > 5 else 0,
            })  # fmt: skip
        for box, score, label in zip(*given.values(), strict=True):
            x, y, right, bottom = map(float, box)
            results.append({
                "image_id": image, "category_id": int(label) + 1, "score": float(score),
                "bbox": [x, y, right - x, bottom - y],
            })  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i + 1} for i in range(len(outputs))], "annotations": annotations,
            "categories": [{"id": k} for k in range(1, 9)], "info": {},
        }  # fmt: skip
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats[:3]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("crowds", [False, True])
def test_average_precision_is_that_of_pycocotools_on_all_images(seed, crowds):
    outputs, targets = scenes(seed, crowds=crowds)

    expected = coco_stats(outputs, targets)

    assert 0.1 < expected[0] < 0.9
    found = [total(name, outputs, targets) for name in ("map", "map50", "map75")]
    assert found == pytest.approx(expected, abs=1e-12)


def test_average_precision_counts_the_hundred_most_certain_detections_of_a_class():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 500, (160, 2))
    boxes = np.hstack([corner, corner + 20])
    outputs = [{"boxes": boxes, "scores": rng.random(160), "labels": np.repeat([0, 1], [150, 10])}]
    targets = [np.hstack([boxes, np.repeat([0, 1], [150, 10])[:, None]])]

    expected = coco_stats(outputs, targets)

    assert expected[0] < 0.9
    assert total("map", outputs, targets) == pytest.approx(expected[0], abs=1e-12)


def test_all_forms_of_detections_and_of_targets_count_alike():
    outputs, targets = scenes(5)
    most = max(map(len, targets))
    padded = [np.vstack([t, np.full((most - len(t), 5), -1.0)]) for t in targets]
    mappings = [{"boxes": t[:, :4], "classes": t[:, 4]} for t in targets]
    as_table = [
        {"y": np.pad(np.column_stack([*given.values()]), ((0, 3), (0, 0)))[None]}
        for given in outputs
    ]
    tensorflow = [
        {
            "detection_boxes": np.pad(given["boxes"][:, [1, 0, 3, 2]], ((0, 9), (0, 0)))[None],
            "detection_classes": np.pad(given["labels"], (0, 9))[None].astype(np.float32),
            "detection_scores": np.pad(given["scores"], (0, 9), constant_values=1)[None],
            "num_detections": np.array([len(given["scores"])], np.float32),
        }
        for given in outputs
    ]  # fmt: skip
    expected = total("map", outputs, targets)

    assert total("map", outputs, padded) == expected
    assert total("map", outputs, mappings) == expected
    assert total("map", as_table, targets) == pytest.approx(expected)
    assert total("map", tensorflow, targets) == expected
    raw = [{"raw": np.zeros(1), **given} for given in outputs]
    decoded = total("map", raw, targets, decode=lambda o: (o["boxes"], o["scores"], o["labels"]))
    assert decoded == expected


def test_images_without_detections_or_objects_count_and_no_objects_at_all_are_undefined():
    nothing = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0, int)}
    one = {"boxes": np.array([[0, 0, 9, 9]]), "scores": np.array([0.9]), "labels": np.array([2])}
    truth, none = np.array([[0, 0, 9, 9, 2]]), np.zeros((0, 5))

    assert total("map", [one, nothing], [truth, none]) == pytest.approx(1)
    assert total("map", [nothing, nothing], [truth, none]) == 0
    # A false detection above the true one halves the precision.
    false = {**one, "scores": np.array([0.95])}
    assert total("map", [one, false], [truth, none]) == pytest.approx(0.5)
    with pytest.raises(UndefinedError, match="at least one true object"):
        total("map", [one], [none])


# Masks


def masks(seed, classes=4, count=30):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (count, 12, 10)).astype(np.uint8)
    truth[:, :2] = 255
    scores = rng.normal(size=(count, 1, classes, 12, 10))
    for k in range(classes):
        scores[:, 0, k] += 2 * (truth == k)
    return [{"logits": score.astype(np.float32)} for score in scores], truth


def test_overlap_of_masks_is_the_jaccard_score_of_all_pixels():
    outputs, truth = masks(1)
    predicted = np.array([given["logits"][0].argmax(axis=0) for given in outputs])
    counts = truth != 255
    jaccard = sklearn_metrics.jaccard_score

    expected = jaccard(truth[counts], predicted[counts], average="macro")
    assert total("miou", outputs, truth) == pytest.approx(expected)
    assert total("miou", [{"y": p[None]} for p in predicted], truth) == pytest.approx(expected)
    foreground = jaccard(truth[counts] > 0, predicted[counts] > 0)
    assert total("iou", outputs, truth) == pytest.approx(foreground)


def test_a_mask_of_one_probability_is_foreground_above_a_half():
    rng = np.random.default_rng(2)
    chance = rng.random((5, 1, 1, 6, 7)).astype(np.float32)
    truth = rng.integers(0, 2, (5, 6, 7))

    expected = sklearn_metrics.jaccard_score(truth.ravel(), chance.ravel() > 0.5)
    assert total("iou", [{"y": c} for c in chance], truth) == pytest.approx(expected)


def test_masks_without_foreground_and_classes_that_never_occur_count_as_nothing():
    empty = np.zeros((1, 4, 4), np.int64)

    assert total("iou", [{"y": empty}], [empty[0]]) == 0
    assert total("miou", [{"y": empty}], [empty[0]]) == 1
    assert total("miou", [{"y": empty}], [np.full((4, 4), 255)]) == 0


# Texts

SAID = ["the cat sat on the mat", "Hello,  world", "it isn't so", "", "a b c d e f", "short"]
HEARD = ["the cat sat at mat", "hello world", "it is not so", "noise", "a b x d e f g", ""]


def spoken(texts):
    return [{"text": np.array([text], dtype=object)} for text in texts]


def test_error_rates_are_those_of_jiwer():
    outputs = spoken(HEARD)

    assert total("wer", outputs, SAID) == pytest.approx(jiwer.wer(SAID, HEARD))
    assert total("cer", outputs, SAID) == pytest.approx(jiwer.cer(SAID, HEARD))
    standard = jiwer.wer_standardize
    expected = jiwer.wer(SAID, HEARD, standard, standard)
    assert total("wer_standardized", outputs, SAID) == pytest.approx(expected)
    assert expected < jiwer.wer(SAID, HEARD)


def test_error_rates_of_silence_count_what_was_heard_as_jiwer_does():
    assert total("wer", spoken([""]), [""]) == 0
    assert total("wer", spoken(["two words"]), [""]) == 2 == jiwer.wer("", "two words")


def test_a_text_is_right_where_nothing_has_to_be_edited():
    metric = METRICS["wer_standardized"]
    right = [metric.right(metric.decide(o), t)[0] for o, t in zip(spoken(HEARD), SAID, strict=True)]

    assert right == [False, False, True, False, False, False]


SYSTEM = [
    "The cat sat on the mat today.", "He reads a good book in the park.", "It is raining.", "No",
    "They went to the old market early in the morning.",
]  # fmt: skip
TRUTH = [
    "The cat sat on the mat this morning.", "He is reading a good book in the park.", "It rains.",
    "No.", "They went early to the old market in the morning.",
]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_scores_of_translations_are_those_of_sacrebleu(name, count):
    system, truth = SYSTEM[-count:], TRUTH[-count:]
    library = {"bleu": sacrebleu.BLEU(), "chrf": sacrebleu.CHRF()}[name]

    expected = library.corpus_score(system, [truth]).score / 100
    assert total(name, spoken(system), truth) == pytest.approx(expected)
    assert total(name, spoken(truth), truth) == pytest.approx(1)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_short_and_empty_translations_score_as_in_sacrebleu(name):
    library = {"bleu": sacrebleu.BLEU(), "chrf": sacrebleu.CHRF()}[name]
    for system, truth in [(["No"], ["No."]), ([""], ["a word"]), (["a"], [""]), (["x y"], ["z"]),
                          (["a b c d e x", "q"], ["a b q d e f", "r"])]:  # fmt: skip
        expected = library.corpus_score(system, [truth]).score / 100
        assert total(name, spoken(system), truth) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_several_references_count_as_in_sacrebleu_and_empty_ones_fill_up(name):
    library = {"bleu": sacrebleu.BLEU(), "chrf": sacrebleu.CHRF()}[name]
    other = [
        "The cat was sitting on the mat.",
        "He reads a fine book.",
        "Rain.",
        "No.",
        "They left.",
    ]

    expected = library.corpus_score(SYSTEM, [TRUTH, other]).score / 100
    assert total(name, spoken(SYSTEM), [*zip(TRUTH, other, strict=True)]) == pytest.approx(expected)
    padded = np.array([[text, ""] for text in TRUTH])
    assert total(name, spoken(SYSTEM), padded) == total(name, spoken(SYSTEM), TRUTH)


def test_a_decode_function_makes_texts_of_numbers():
    letters = np.array(list(" abc"))
    outputs = [{"ids": np.array([[1, 2, 0, 3]])}, {"ids": np.array([[3, 3, 3, 3]])}]
    targets = ["ab c", "cc c"]

    def decode(given):
        return "".join(letters[given["ids"].ravel()])

    assert total("wer", outputs, targets, decode) == pytest.approx(
        jiwer.wer(targets, ["ab c", "cccc"])
    )


# Images


def pictures(seed, count=12):
    rng = np.random.default_rng(seed)
    truth = rng.random((count, 3, 24, 20))
    return truth + rng.normal(0, 0.05, truth.shape), truth


def test_psnr_and_ssim_are_means_of_those_of_scikit_image():
    images, truth = pictures(3)
    outputs = [{"y": image[None].astype(np.float32)} for image in images]
    images = images.astype(np.float32).astype(np.float64)
    pairs = [*zip(truth.transpose(0, 2, 3, 1), images.transpose(0, 2, 3, 1), strict=True)]

    psnr = [peak_signal_noise_ratio(t, i, data_range=1) for t, i in pairs]
    ssim = [
        structural_similarity(t, i, data_range=1, channel_axis=-1, gaussian_weights=True,
                              sigma=1.5, use_sample_covariance=False)
        for t, i in pairs
    ]  # fmt: skip
    assert total("psnr", outputs, truth) == pytest.approx(np.mean(psnr))
    assert total("ssim", outputs, truth) == pytest.approx(np.mean(ssim))
    last = [{"y": o["y"].transpose(0, 2, 3, 1)} for o in outputs]
    assert total("ssim", last, truth) == pytest.approx(np.mean(ssim))
    bytes_ = (np.clip(truth, 0, 1) * 255).astype(np.uint8)
    scaled = [{"y": o["y"] * 255} for o in outputs]
    expected = np.mean([
        peak_signal_noise_ratio(t.astype(float), 255.0 * i.transpose(2, 0, 1), data_range=255)
        for t, (_, i) in zip(bytes_, pairs, strict=True)
    ])  # fmt: skip
    assert total("psnr", scaled, bytes_) == pytest.approx(expected, rel=1e-6)


def test_constant_and_equal_images_have_finite_likeness():
    flat, other = np.full((1, 16, 16), 0.5), np.full((1, 16, 16), 0.25)

    assert total("psnr", [{"y": flat[None]}], [flat]) == 150
    assert total("ssim", [{"y": flat[None]}], [flat]) == pytest.approx(1)
    assert total("psnr", [{"y": other[None]}], [flat]) == pytest.approx(-20 * np.log10(0.25))
    assert 0 < total("ssim", [{"y": other[None]}], [flat]) < 1


# Scores


def classified(seed, classes, count=200):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + 1.2 * np.eye(classes)[truth]
    return [{"y": row[None]} for row in logits], truth, logits


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_equal_error_rate_is_where_the_roc_curve_meets_the_diagonal():
    outputs, truth, logits = classified(4, 2)
    score = logits[:, 1] - logits[:, 0]

    fpr, tpr, _ = sklearn_metrics.roc_curve(truth, score, drop_intermediate=False)
    expected = brentq(lambda x: 1 - x - interp1d(fpr, tpr)(x), 0, 1)
    assert total("eer", outputs, truth) == pytest.approx(expected, abs=1e-9)
    single = [{"y": np.array([[s]])} for s in score]
    assert total("eer", single, truth) == pytest.approx(expected, abs=1e-9)
    assert total("eer", [{"y": np.array([s])} for s in truth], truth) == 0
    assert total("eer", [{"y": np.array([1 - s])} for s in truth], truth) == 1
    assert total("eer", [{"y": np.array([0.5])} for _ in truth], truth) == pytest.approx(0.5)


BINARY = [
    ("roc_auc_score", "scores"), ("average_precision_score", "scores"), ("log_loss", "scores"),
    ("brier_score_loss", "scores"), ("f1_score", "classes"), ("matthews_corrcoef", "classes"),
    ("balanced_accuracy_score", "classes"), ("cohen_kappa_score", "classes"),
    ("precision_score", "classes"), ("zero_one_loss", "classes"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), BINARY)
def test_functions_of_scikit_learn_get_what_they_take_of_two_classes(name, kind):
    outputs, truth, logits = classified(5, 2)
    given = {"scores": softmax(logits)[:, 1], "classes": logits.argmax(axis=1)}[kind]
    expected = getattr(sklearn_metrics, name)(truth, given)

    assert total(f"sklearn:{name}", outputs, truth) == pytest.approx(expected)
    chances = [{"y": row[None]} for row in softmax(logits)]
    assert total(name, chances, truth) == pytest.approx(expected)
    single = [{"y": np.array([[chance]])} for chance in softmax(logits)[:, 1]]
    assert total(name, single, truth) == pytest.approx(expected)


def test_functions_of_scikit_learn_take_several_classes_options_and_numbers():
    outputs, truth, logits = classified(6, 4)
    chances = softmax(logits)
    macro = sklearn_metrics.fbeta_score(truth, logits.argmax(axis=1), beta=2, average="macro")
    curves = sklearn_metrics.roc_auc_score(truth, chances, multi_class="ovr")

    assert total("sklearn:fbeta_score,beta=2,average=macro", outputs, truth) == pytest.approx(macro)
    assert total("sklearn:roc_auc_score,multi_class=ovr", outputs, truth) == pytest.approx(curves)
    second = sklearn_metrics.top_k_accuracy_score(truth, chances, k=2)
    assert total("sklearn:top_k_accuracy_score,k=2", outputs, truth) == pytest.approx(second)
    numbers = np.random.default_rng(7).normal(size=(50, 2))
    values = [{"y": row[None]} for row in numbers]
    targets = numbers + np.random.default_rng(8).normal(size=(50, 2))
    for name in ("r2_score", "mean_absolute_error", "explained_variance_score"):
        expected = getattr(sklearn_metrics, name)(targets, numbers)
        assert total(name, values, targets) == pytest.approx(expected)
    labels = (targets > 0).astype(int)
    expected = sklearn_metrics.label_ranking_average_precision_score(labels, numbers)
    name = "label_ranking_average_precision_score"
    assert total(name, values, labels) == pytest.approx(expected)
    expected = sklearn_metrics.ndcg_score(labels, numbers)
    assert total("ndcg_score", values, labels) == pytest.approx(expected)


def test_positions_with_scores_of_classes_count_as_decisions():
    rng = np.random.default_rng(9)
    logits, truth = rng.normal(size=(20, 5, 3)), rng.integers(0, 3, (20, 5))
    expected = sklearn_metrics.balanced_accuracy_score(truth.ravel(), logits.argmax(2).ravel())

    outputs = [{"y": row[None]} for row in logits]
    assert total("balanced_accuracy_score", outputs, truth) == pytest.approx(expected)


def test_directions_and_kinds_of_drop_follow_the_names():
    directions = {
        "roc_auc_score": (True, True), "log_loss": (False, False), "r2_score": (True, True),
        "mean_squared_error": (False, False), "brier_score_loss": (False, True),
        "matthews_corrcoef": (True, True), "dcg_score": (True, False),
    }  # fmt: skip
    found = {name: metric_by_name(f"sklearn:{name}") for name in directions}
    assert {n: (m.higher_is_better, m.bounded) for n, m in found.items()} == directions


def functions_of_scikit_learn():
    """Names of all functions that packlight takes."""
    names = []
    for name in dir(sklearn_metrics):
        with contextlib.suppress(TaskError):
            names.append(metric_by_name(f"sklearn:{name}").name)
    return names


def test_drops_are_shown_in_points_exactly_where_they_are_absolute():
    names = functions_of_scikit_learn()
    assert len(names) > 35

    metrics = {**METRICS, **{name: metric_by_name(name) for name in names}}
    shown = {name: drop_scale(name) == POINTS for name in metrics}
    assert shown == {name: metric.bounded for name, metric in metrics.items()}


def test_options_of_a_function_make_another_metric():
    codes = [metric_by_name(f"sklearn:fbeta_score,beta={beta}").code for beta in (1, 2, 1)]

    assert codes[0] == codes[2] != codes[1]


# Intervals


def variants(name):
    """Outputs of a reference, of a somewhat worse variant, and targets."""
    rng = np.random.default_rng(10)
    if name.startswith("map"):
        outputs, targets = scenes(11)
        worse = [{**o, "boxes": o["boxes"] + rng.normal(0, 4, o["boxes"].shape)} for o in outputs]
        return outputs, worse, targets
    if name in ("iou", "miou"):
        outputs, truth = masks(12)
        return (
            outputs,
            [{"y": o["logits"] + rng.normal(0, 1, o["logits"].shape)} for o in outputs],
            truth,
        )
    if name in ("psnr", "ssim"):
        images, truth = pictures(13, 40)
        outputs = [{"y": image} for image in images]
        return outputs, [{"y": i + rng.normal(0, 0.02, i.shape)} for i in images], truth
    if name in ("wer", "wer_standardized", "cer", "bleu", "chrf"):
        words = np.array(["the", "cat", "sat", "on", "a", "mat", "today", "or", "never"])
        said = [" ".join(rng.choice(words, 9)) for _ in range(60)]
        heard = [" ".join(w for w in text.split() if rng.random() > 0.1) for text in said]
        less = [" ".join(w for w in text.split() if rng.random() > 0.1) for text in heard]
        return spoken(heard), spoken(less), said
    outputs, truth, _ = classified(14, 2)
    return outputs, [{"y": o["y"] + rng.normal(0, 1, (1, 2))} for o in outputs], truth


SKLEARN = ("sklearn:roc_auc_score", "sklearn:log_loss")


@pytest.mark.parametrize(
    "name",
    [*sorted(NEW), *(pytest.param(n, marks=pytest.mark.slow) for n in SKLEARN)],
)
def test_a_drop_is_paired_and_its_interval_that_of_resampled_samples(name):
    metric = metric_by_name(name)
    outputs, worse, targets = variants(name)
    before, after = rows_of(metric, outputs, targets), rows_of(metric, worse, targets)
    n = len(before)

    loss, detectable = drop(metric, before, after, 0)
    first, second = metric.total(before), metric.total(after)
    scale = 1 if metric.bounded else abs(first)
    assert loss.value == pytest.approx(metric.worsening(first, second) / scale)
    assert loss.low <= loss.value <= loss.high
    assert 0 < detectable < 1

    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(400):
        index = rng.integers(0, n, n)
        was = metric.total(before[index])
        gap = metric.worsening(was, metric.total(after[index]))
        drawn.append(gap / (1 if metric.bounded else abs(was)))
    low, high = percentile_interval(np.array(drawn))
    width = high - low
    assert (loss.low, loss.high) == pytest.approx((low, high), abs=0.25 * width)
    p, _ = drop_test(metric, before, after, loss)
    assert p < 0.05 if loss.low > 0 else p > 0.01
    alone = measure(metric, after, 0)
    assert alone.high - alone.low > 0.5 * width * scale
    if metric.formula is not None:
        assert contributions(metric, before, after).mean() == pytest.approx(loss.value)


@pytest.mark.parametrize("name", sorted(NEW))
def test_equal_outputs_lose_nothing(name):
    metric = METRICS[name]
    outputs, _, targets = variants(name)
    rows = rows_of(metric, outputs, targets)

    loss, _ = drop(metric, rows, rows, 0)
    assert loss.low <= loss.value == 0 <= loss.high
    assert drop_test(metric, rows, rows, loss)[0] == 1


def test_the_interval_of_an_auc_with_two_positives_leaves_out_draws_without_any():
    rng = np.random.default_rng(15)
    truth = np.zeros(40, int)
    truth[:2] = 1
    outputs = [{"y": np.array([s])} for s in rng.random(40)]
    metric = metric_by_name("roc_auc_score")

    found = measure(metric, rows_of(metric, outputs, truth), 0)
    assert 0 <= found.low <= found.value <= found.high <= 1


# What cannot be


ONE = {"y": np.zeros((1, 3))}
PLANE = {"y": np.zeros((1, 2, 8, 8))}
BOXES = {"boxes": np.zeros((1, 4)), "scores": np.ones(1), "labels": np.zeros(1, int)}
REFUSED = {
    "map of scores": ("map", ONE, [], r"boxes, scores and labels.*y \[1, 3\].*decode"),
    "boxes of five numbers": ("map", {**BOXES, "boxes": np.zeros((1, 5))}, [], "x1, y1, x2, y2"),
    "fewer scores": ("map", {**BOXES, "scores": np.ones(2)}, [], "it gives 1, 2 and 1"),
    "a target of classes": ("map", BOXES, [1, 2], r"is \(m, 5\).*got shape \[2\]"),
    "a target without labels": ("map", BOXES, {"boxes": []}, "has boxes and labels; it has boxes"),
    "labels without boxes": ("map", BOXES, {"boxes": [], "labels": [1]}, "0 boxes and 1 labels"),
    "corners swapped": ("map", BOXES, [[9, 9, 0, 0, 1]], "x1 <= x2"),
    "half a class": ("map", BOXES, [[0, 0, 9, 9, 1.5]], "whole number"),
    "another size of mask": ("miou", PLANE, np.zeros((4, 4), int), r"\[8, 8\]; got \[4, 4\]"),
    "a mask of floats": ("miou", PLANE, np.zeros((8, 8)), "a class for each pixel"),
    "no mask": ("iou", ONE | {"y": np.zeros(3)}, np.zeros((8, 8), int), "height, width"),
    "text of numbers": ("wer", ONE, "a", "compares texts; the model gives y of float64.*decode"),
    "no text as target": ("wer", {"y": np.array("a")}, 3, "is a text or several; got 3"),
    "two texts": ("cer", {"y": np.array("a")}, ["a", "b"], "one text; the target has 2"),
    "no image": ("psnr", {"y": np.zeros((1, 5, 8, 8, 8))}, np.zeros((8, 8)), "must be an image"),
    "another size": ("ssim", {"y": np.zeros((1, 1, 8, 8))}, np.zeros((9, 9)), "have one size"),
    "too small": ("ssim", {"y": np.zeros((1, 1, 8, 8))}, np.zeros((8, 8)), "11 x 11 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_metric_cannot_read_is_one_sentence(case):
    name, outputs, target, words = REFUSED[case]

    with pytest.raises(TaskError, match=words) as error:
        METRICS[name].row(outputs, target)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sklearn:auc", "ends in _score"), ("sklearn:good_score", "no 'good_score'"),
        ("sklearn:silhouette_score", "no predictions"), ("sklearn:f1_score,mean=2", "written as"),
        ("sklearn:f1_score,average", "written as"), ("sklearn:f1_score,y_true=1", "written as"),
        ("best", "sklearn:FUNCTION; got 'best'"),
    ],
)  # fmt: skip
def test_a_name_that_is_no_metric_is_one_sentence(name, words):
    with pytest.raises(TaskError, match=words):
        metric_by_name(name)


def test_one_class_has_no_auc_and_no_equal_error_rate():
    outputs = [{"y": np.array([s])} for s in (0.1, 0.7, 0.3)]

    for name in ("eer", "roc_auc_score"):
        metric = metric_by_name(name)
        with pytest.raises(UndefinedError):
            measure(metric, rows_of(metric, outputs, [1, 1, 1]), 0)
    three = [{"y": np.zeros((1, 3))}] * 3
    with pytest.raises(UndefinedError, match="multi_class must be in"):
        total("roc_auc_score", three, [0, 1, 2])
    with pytest.raises(TaskError, match="the model gives 3"):
        total("eer", three, [0, 1, 1])


@pytest.mark.parametrize("name", [*sorted(NEW), "sklearn:roc_auc_score"])
def test_a_library_that_is_missing_is_one_sentence_with_the_command(name, monkeypatch):
    needs = metric_by_name(name).needs
    original = metadata.version

    def version(package):
        if package in needs:
            raise metadata.PackageNotFoundError(package)
        return original(package)

    monkeypatch.setattr(metadata, "version", version)
    samples = [({"x": np.zeros(1)},)]
    if not needs:
        assert Task("t", samples, metric_by_name(name), [0]).metric.name == name
        return
    with pytest.raises(TaskError, match=rf"{needs[0]}, .*pip install 'packlight\[metrics\]'"):
        Task("t", samples, metric_by_name(name), [0])


def test_a_task_takes_the_name_of_a_metric():
    assert Task("t", [({"x": np.zeros(1)},)], "map50", [np.zeros((0, 5))]).metric.name == "map50"
