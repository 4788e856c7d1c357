"""Metrics of texts: error rates of recognition by jiwer, BLEU and chrF by sacrebleu."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

from packlight.errors import TaskError
from packlight.metrics.extra import load_library
from packlight.metrics.metric import Decisions, Metric, Outputs, Rows, Truths, of_sums, ratio

JIWER = "jiwer"
SACREBLEU = "sacrebleu"
TEXT_KINDS = "OSU"
"""Kinds of NumPy types that hold texts."""

ORDERS = 4
"""Longest n-gram of BLEU, in words."""

CHARACTERS = 6
"""Longest n-gram of chrF, in characters."""

BETA = 2
"""Weight of recall in chrF2."""

HALF = 0.5
"""Counts below are 0: numeric derivatives move counts by small steps."""


def text_of(outputs: Outputs) -> str:
    """Text of a sample: the model's first output of texts, joined by spaces.

    Raises:
        TaskError: no output holds texts.
    """
    for output in outputs.values():
        if output.dtype.kind in TEXT_KINDS:
            return " ".join(_as_text(part) for part in output.reshape(-1).tolist())
    shapes = ", ".join(f"{name} of {array.dtype.name}" for name, array in outputs.items())
    raise TaskError(
        f"a metric of texts compares texts; the model gives {shapes}. Decode them in a task: "
        "metric_by_name('wer', decode=function), where function(outputs) gives a text"
    )


def _as_text(part: object) -> str:
    if isinstance(part, bytes):
        return part.decode("utf-8", errors="replace")
    return str(part)


def references(target: object) -> list[str]:
    """Correct texts of a sample; of several, those that are empty fill up.

    Raises:
        TaskError: the target is no text and no list of texts.
    """
    array = np.asarray(target)
    texts = array.reshape(-1).tolist()
    if not texts or not all(isinstance(text, str) for text in texts):
        raise TaskError(f"the target of a metric of texts is a text or several; got {target!r:.80}")
    return [text for text in texts if text] or [""]


def _single_reference(target: object) -> str:
    texts = references(target)
    if len(texts) > 1:
        raise TaskError(f"an error rate compares with one text; the target has {len(texts)}")
    return texts[0]


def _word_counts(jiwer: ModuleType, reference: str, text: str) -> object:
    return jiwer.process_words(reference, text)


def _standardized_counts(jiwer: ModuleType, reference: str, text: str) -> object:
    """Counts of words in lower case, with contractions spelled out and non-words removed."""
    transform = jiwer.wer_standardize
    return jiwer.process_words(reference, text, transform, transform)


def _character_counts(jiwer: ModuleType, reference: str, text: str) -> object:
    return jiwer.process_characters(reference, text)


def _error_rate(name: str, count: Callable[[ModuleType, str, str], object]) -> Metric:
    """Edits over the length of the correct text, summed over all samples."""

    def edits_and_length(text: str, reference: str) -> Rows:
        counted = count(load_library(JIWER, "", name), reference, text)
        hits, substitutions, deletions, insertions = (
            getattr(counted, part) for part in ("hits", "substitutions", "deletions", "insertions")
        )
        length = hits + substitutions + deletions
        return np.array([substitutions + deletions + insertions, length], dtype=np.float64)

    def row(outputs: Outputs, target: object) -> Rows:
        return edits_and_length(text_of(outputs), _single_reference(target))

    def right(decisions: Decisions, target: object) -> Truths:
        edits, _ = edits_and_length(str(decisions[0]), _single_reference(target))
        return np.array([not edits], dtype=np.bool_)

    return of_sums(
        name, row, ratio, higher_is_better=False, bounded=True, decide=_decided_text, right=right,
        needs=(JIWER,),
    )  # fmt: skip


def _decided_text(outputs: Outputs) -> Decisions:
    return np.array([text_of(outputs)])


def _bleu_row(outputs: Outputs, target: object) -> Rows:
    """Lengths of text and reference, then matched and all n-grams of each order (10,)."""
    library = load_library(SACREBLEU, "", "bleu")
    score = library.BLEU(effective_order=True).sentence_score(text_of(outputs), references(target))
    return np.array([score.sys_len, score.ref_len, *score.counts, *score.totals], dtype=np.float64)


def bleu(sums: Rows) -> Rows:
    """BLEU in [0, 1] from sums of rows (..., 10), with sacrebleu's exponential smoothing.

    Source: Papineni et al., ACL (2002); smoothing 3 of Chen and Cherry, WMT (2014).
    """
    length = sums[..., 0]
    reference = sums[..., 1]
    matched = sums[..., 2 : 2 + ORDERS]
    totals = sums[..., 2 + ORDERS :]
    missed = np.asarray(matched < HALF)
    smoothed = 0.5 ** np.cumsum(missed, axis=-1)
    precisions = np.where(missed, smoothed, matched) / np.maximum(totals, HALF)
    # An order without n-grams makes all zero: no text is that long.
    defined = np.asarray((totals >= HALF).all(axis=-1) & ~missed.all(axis=-1))
    penalty = np.exp(np.minimum(1 - reference / np.maximum(length, HALF), 0))
    logarithms = np.log(np.where(defined[..., None], precisions, 1.0))
    return np.asarray(np.where(defined, penalty * np.exp(logarithms.mean(axis=-1)), 0.0))


def _chrf_row(outputs: Outputs, target: object) -> Rows:
    """Character n-grams of each order: of the text, of the reference, and matched (18,).

    Of several references the one with the highest score counts.
    """
    helpers = load_library(SACREBLEU, "metrics.helpers", "chrf")
    found = helpers.extract_all_char_ngrams(text_of(outputs), CHARACTERS)
    candidates = []
    for reference in references(target):
        expected = helpers.extract_all_char_ngrams(reference, CHARACTERS)
        counts = [
            [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
            for ours, theirs in zip(found, expected, strict=True)
        ]
        candidates.append(np.ravel(counts).astype(np.float64))
    return max(candidates, key=lambda row: float(chrf(row)))


def chrf(sums: Rows) -> Rows:
    """The score chrF2 in [0, 1] from sums of rows (..., 18).

    Source: Popovic, WMT (2015); orders without n-grams do not count, as in sacrebleu.
    """
    ours, theirs, matched = np.moveaxis(sums.reshape(*sums.shape[:-1], CHARACTERS, 3), -1, 0)
    counts = (ours >= HALF) & (theirs >= HALF)
    orders = np.maximum(counts.sum(axis=-1), 1)
    precision = np.where(counts, matched / np.maximum(ours, HALF), 0).sum(axis=-1) / orders
    recall = np.where(counts, matched / np.maximum(theirs, HALF), 0).sum(axis=-1) / orders
    weighted = BETA**2 * precision + recall
    product = (1 + BETA**2) * precision * recall
    return np.asarray(product / np.where(weighted > 0, weighted, 1))


TEXT_METRICS = {
    "wer": _error_rate("wer", _word_counts),
    "wer_standardized": _error_rate("wer_standardized", _standardized_counts),
    "cer": _error_rate("cer", _character_counts),
    "bleu": of_sums("bleu", _bleu_row, bleu, bounded=True, needs=(SACREBLEU,)),
    "chrf": of_sums("chrf", _chrf_row, chrf, bounded=True, needs=(SACREBLEU,)),
}
"""Metrics by name."""
