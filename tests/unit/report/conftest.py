"""Outcomes as a search gives them: one that fits, one that misses, one that cannot tell."""

import dataclasses
import random

import pytest

from packlight.records import (
    Group,
    Machine,
    Measurement,
    Miss,
    Outcome,
    Refusal,
    SessionOptions,
    VariantResult,
    counted,
    parse_budget,
)

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
           "Bag", "Ankle boot")  # fmt: skip
SIZE = 2_138_400
ROWS = (
    # name, size, time, drop, half interval, flips, labels
    ("fashion", 1.0, 1.0, 0.0, 0.0, 0.0, ()),
    ("simplify", 0.985, 0.93, 0.0, 0.0, 0.0, ()),
    ("float16", 0.505, 1.31, 0.0002, 0.0004, 0.0012, ("slower",)),
    ("weights:8", 0.268, 0.99, 0.0004, 0.0011, 0.0052, ()),
    ("weights:8,per=tensor", 0.262, 0.995, 0.0008, 0.0014, 0.0088, ()),
    ("simplify+weights:4,block=32", 0.164, 0.94, 0.0061, 0.0033, 0.0362, ()),
    ("simplify+weights:4,block=16", 0.178, 0.95, 0.0046, 0.0030, 0.0310, ()),
    ("static", 0.281, 0.71, 0.0124, 0.0041, 0.0480, ("runtime differs",)),
    ("static,range=percentile", 0.281, 0.72, 0.0091, 0.0037, 0.0433, ()),
    ("weights:4,per=tensor", 0.142, 1.02, 0.412, 0.014, 0.451, ()),
)


def measured(value, half, unit="1", n=5000):
    return Measurement(value, unit, value - half, value + half, "measured", n)


def metrics(size, time, drop, half, flips):
    return {
        "size": counted(round(SIZE * size), "B"),
        "download": Measurement(SIZE * size * 0.9, "B", SIZE * size * 0.89, SIZE * size * 0.92,
                                "estimated", 1),
        "latency": measured(0.00184 * time, 0.00002, "s", 300),
        "latency_ratio": measured(time, 0.012, n=300) if time != 1.0 else counted(1.0),
        "peak_memory": measured(11.4e6 * (0.8 + 0.2 * size), 0.2e6, "B", 5),
        "top1": measured(0.9262 - drop, 0.0072),
        "drop": measured(drop, half) if half else counted(0.0, n=5000),
        "flips": measured(flips, 0.4 * flips),
    }  # fmt: skip


def groups(drop, seed):
    chance = random.Random(seed)
    names = [("class", name, 500) for name in CLASSES]
    names += [("brightness", name, 1667) for name in ("dark", "middle", "bright")]
    for column, name, n in names:
        value = drop * chance.uniform(-0.6, 2.6)
        yield Group(column, name, n, measured(chance.uniform(0.8, 0.99), 0.02, n=n),
                    measured(value, 40 * 0.01 / n**0.5 * 0.5, n=n),
                    measured(abs(value) * 3 + 0.004, 0.004, n=n))  # fmt: skip


def result(place, row):
    name, size, time, drop, half, flips, labels = row
    found = metrics(size, time, drop, half, flips)
    budget = parse_budget(["size<=0.3x", "drop<=1%"]).all()
    base = {"size": counted(SIZE, "B")}
    meets = {limit.text: limit.met(found[limit.metric], base) for limit in budget}
    verdict = (
        "misses"
        if "no" in meets.values()
        else "undecided"
        if "unclear" in meets.values()
        else "fits"
    )
    refusals = [
        Refusal(
            f"/stage{n}/depthwise/Conv",
            "unsupported-axes",
            "its 9 inputs do not divide into blocks of 32",
            "choose block=9 or per=channel",
            "weights",
        )
        for n in range(7)
    ]
    refusals += [Refusal("/head/Softmax", "no-weight", "it has no stored weight", "", "static")]
    return VariantResult(
        id=f"{place:012x}",
        parent="" if place == 0 else f"{0:012x}",
        name=name,
        recipe="original" if place == 0 else name,
        file=f"files/{place:032x}/model.onnx",
        meets=meets,
        verdict=verdict,
        refusals=tuple(refusals) if place > 3 else (),
        metrics=found,
        groups=tuple(groups(drop, place)),
        labels=labels,
    )  # fmt: skip


@pytest.fixture(scope="session")
def fits():
    """Ten measured variants and one that failed; one is chosen."""
    results = [result(place, row) for place, row in enumerate(ROWS)]
    failed = VariantResult("f" * 12, results[0].id, "static:4", "static", "",
                    error="ONNX Runtime has no kernel for ConvInteger with 4 bits")  # fmt: skip
    return Outcome(
        best=results[6].id,
        verdict="fits",
        misses=(),
        warnings=(
            "The budget 'drop<=1%' is near the smallest drop that 5,000 samples can show (0.7 %).",
        ),
        front=tuple(results[place].id for place in (1, 3, 5, 6, 9)),
        variants=(*results, failed),
        budget=parse_budget(["size<=0.3x", "drop<=1%"]),
        metric="top1",
        detectable=0.0068,
        model="fashion",
        task="zoo:fashion",
        samples=5000,
        calibration=1000,
        session=SessionOptions(),
        machine=Machine("Linux 6.1", "AMD EPYC 9R14", "x86_64", 2, 8 * 2**30,
                        ("avx2", "avx512_vnni"), False, "3.11.2", "1.31.0"),
        project="packlight-demo",
        report="packlight-demo/report.html",
    )  # fmt: skip


@pytest.fixture(scope="session")
def misses(fits):
    """The same variants under a bound that none comes near; nothing is chosen."""
    budget = parse_budget(["size<=0.01x", "latency<=3ms", "drop<=1%"])
    nearest = fits.variants[5]
    bound = 0.01 * SIZE
    size = nearest.metrics["size"]
    miss = Miss("size<=0.01x", bound, nearest.id, nearest.name, size, size.value - bound)
    base = fits.variants[0].metrics
    variants = tuple(
        dataclasses.replace(
            found,
            verdict="misses",
            meets={limit.text: limit.met(found.metrics[limit.metric], base)
                   for limit in budget.all()} if found.metrics else {},
        )
        for found in fits.variants
    )  # fmt: skip
    return dataclasses.replace(
        fits, best=None, verdict="misses", misses=(miss,), budget=budget, variants=variants
    )


@pytest.fixture(scope="session")
def undecided(fits):
    """A bound inside the interval of the best candidate."""
    found = fits.variants[8]
    changed = dataclasses.replace(fits.variants[0], groups=())
    return dataclasses.replace(
        fits, best=found.id, verdict="undecided", variants=(changed, *fits.variants[1:])
    )
