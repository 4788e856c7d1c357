"""Canonical JSON: every record comes back as it went, and what is none is refused."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packlight import records
from packlight.errors import InputError
from packlight.records import (
    Advice,
    Change,
    Channels,
    CheckedBudget,
    Citation,
    Comparison,
    Contrast,
    Cost,
    Curve,
    Damage,
    Device,
    Distill,
    DynamicInt8,
    Effort,
    Energy,
    Equalize,
    Evaluation,
    FewerChannels,
    Finding,
    Flips,
    Float16,
    Folded,
    Gate,
    GateRun,
    Group,
    GroupContrast,
    IntegerArithmetic,
    Layer,
    Layers,
    Learned,
    Lesson,
    LowRank,
    Machine,
    Measurement,
    Miss,
    Moved,
    Note,
    OperatorCost,
    OperatorSet,
    Outcome,
    Palette,
    PerBlock,
    PerChannel,
    PerGroup,
    PerTensor,
    Plan,
    PlanOption,
    Profile,
    Recipe,
    Refusal,
    Removed,
    Robustness,
    Runtime,
    Scaled,
    SessionOptions,
    Share,
    Shift,
    Simplify,
    Slice,
    SourceLine,
    Sparse,
    StaticInt8,
    Step,
    StoredFloat16,
    StoredGrid,
    StoredLowRank,
    StoredPalette,
    StoredSparse,
    Unit,
    Variant,
    VariantResult,
    WeightContrast,
    WeightOnly,
    WorstGroup,
    canonical,
    counted,
    digest,
    from_json,
    loads,
    parse_budget,
    to_json,
    variant_id,
)
from packlight.records.recipe_file import WrittenStep

NUMBER = Measurement(0.25, "1", 0.2, 0.3, "measured", 500)
SIZE = counted(2_000_000, "B")
OPTIONS = SessionOptions(arithmetic="exact", threads=2, matmul_accuracy=1)
RECIPE = Recipe(
    (Step(WeightOnly(bits=4, granularity=PerBlock(16)), "conv"), Step(Simplify())), seed=3
)
REFUSAL = Refusal("conv_1", "too-small", "too few numbers", "use larger groups", "weights")
NOTE = Note("shared-weight", ("conv_2", "conv_3"))
STORAGES = (
    StoredGrid(4, PerBlock(32), "gptq", "run", (NOTE,)),
    StoredFloat16(),
    StoredPalette(4, PerGroup(16), "nearest"),
    StoredSparse(0.5, 4, "grid", 8, "gptq"),
    IntegerArithmetic(8, "calibration", 8, PerChannel(), "gptq", (Note("int16-safe"),)),
    IntegerArithmetic(16, "call", 8, PerTensor(), "nearest"),
    IntegerArithmetic(8, "calibration"),
    Folded("conv_1"),
    FewerChannels(8, 16, 3, 3, "reconstruction", True),
    StoredLowRank(4, 16),
    Learned(90, 100, 5.1, 6.2),
    Removed(),
    Scaled(3, 16, ("conv_1",)),
)
CHANGES = tuple(Change("conv_2", "weights", storage, 4096, 640) for storage in STORAGES)
CHANGE = CHANGES[0]
GROUPS = (Group("class", "Ärmel", 9, NUMBER, NUMBER, NUMBER), Group("class", "b", 1, NUMBER, SIZE))
BUDGET = parse_budget(["size<=0.3x", "drop<=1%", "top1>=0.9"])
MACHINE = Machine("Linux 6", "a CPU", "x86_64", 2, 2**33, ("avx2",), True, "3.11", "1.31")
VARIANT = Variant(
    "a", "b", "weights:4", RECIPE, "c", "f.onnx", "d", CHANGES, (REFUSAL,), {"numpy": "2"}, 1.5
)
FLIPS = Flips("a", 3, 1, 2, 100, {"class/b": -0.25}, (4, 7))
RESULT = VariantResult(
    "a", "", "weights:4", "weights:4", "f.onnx", {"size<=0.3x": "yes"}, "fits", (REFUSAL,),
    (CHANGE,), {"size": SIZE, "drop": NUMBER}, GROUPS, ("slower",), "",
)  # fmt: skip
MISS = Miss("size<=1kB", 1e3, "a", "weights:4", SIZE, 1_999_000.0)
LINE = SourceLine("net/model.py", 7, "blocks.0.conv")
COST = OperatorCost(
    "conv", "Conv", None, 12, 9, 36, 36, 8, 4, 12, 0.5, 2, False, True, LINE, NUMBER, "fused",
    "gemm", NUMBER, "memory",
)  # fmt: skip
OUTCOME = Outcome(
    None, "misses", (MISS,), ("few samples",), ("a",), (RESULT,), BUDGET, "top1", 0.01, "m", "t",
    100, 10, OPTIONS, MACHINE, "project", "report.html",
)  # fmt: skip
SHARE = Share(0.1, 0.5)
FAMILIES = ("conv", "depthwise", "matmul", "recurrent", "other", "conv:int8")
UNIT = Unit({"int8": 2e9}, ("litert",), dict.fromkeys(FAMILIES, SHARE), 1e-6, 2, 0.5)
CITED = Citation("derived", "a document: 2 * 1e9")
DEVICE = Device(
    "a-phone", "A phone", "datasheet", "a chip", {"cpu": UNIT},
    {"litert": Runtime(("int8",), "litert")}, {"units": CITED, "runtimes": CITED, "ram": CITED,
    "app_ram": CITED, "energy": CITED, "saturates": CITED}, None, 2**30, 2**29, None, None,
    Energy({"int8": 1e-13}, 1e-10), True, ("phone",),
)  # fmt: skip
EFFORT, DAMAGE = Effort("calibration samples", "minutes"), Damage("little", "a table")
ROUTE = PlanOption(
    "8-bit weights", "weights:8", {"size": SIZE, "latency": NUMBER}, {"size<=2MB": "yes"}, 3,
    (REFUSAL,), EFFORT, DAMAGE, ("a note",),
)  # fmt: skip
CURVE = Curve(("macs",), (1.0,), (9.0,), (0.1, 0.2, 0.3), 0.05, 12)
HARDER = GroupContrast("class", "b", 40, NUMBER, 0.01, 0.02, NUMBER, 1e-5, 1e-4, 0.07, "harder")
FEW = GroupContrast("class", "c", 9, NUMBER, 1.0, 1.0, None, 1.0, 1.0, 0.3, "too small")
WORST = WorstGroup("class", "b", NUMBER)
SLICE = Slice("class = b and input_mean > 0.4", 60, NUMBER, NUMBER, 1e-4, 2e-4, 0.3)
SHIFT, MOVED = Shift(NUMBER, NUMBER, NUMBER), Moved(7, 0.5, "1", "2", "lost")
CONTRAST = Contrast(
    "a", "b", "top1", "classes", 100, NUMBER, 0.03, "exact McNemar test", 0.03, {"lost": NUMBER},
    0.03, "exact McNemar test", (HARDER, FEW), WORST, (SLICE,), {"nll": SHIFT}, {"p50": SHIFT},
    {"rank_agreement": NUMBER}, "Jensen-Shannon", (MOVED,), ("a note",),
    {"top1": SHIFT},
)  # fmt: skip
ADVICE = Advice("granularity", "scales matter", "somebody", "it lost much", NUMBER)
LESSON = Lesson("granularity", "scales matter", "somebody", ("bits",), ("channel-imbalance",))
FINDING = Finding(
    "clipped-ranges", "serious", "quality", "numbers are cut off", "conv", {"snr": NUMBER},
    "use a wider range", SourceLine("net.py", 3, "conv"), ("conv",), 0.5, ("granularity",),
)  # fmt: skip
LAYER = Layer("conv", "Conv", "a", "b", NUMBER, NUMBER, -1.0, 1.0, -2.0, 2.0, NUMBER)
WEIGHT = WeightContrast(
    "w", "conv", (2, 3), NUMBER, 0.0, 0.5, 3, (0.0, 1.0), (6,), (5,), folded=True
)
LAYERS = Layers("net", "int8", 9, (LAYER,), (WEIGHT,), "conv", ("relu",), ("a note",))
ROBUST = Robustness("a", "noise", NUMBER, NUMBER, NUMBER)
CHECKED = CheckedBudget("drop<=1%", "drop", 0.01, NUMBER, None, "unclear", False, 900)
GATE = Gate("main", "new", "t", 100, False, (CHECKED,), "estimate", 0.05, ("a note",))
STEP, WRITTEN = RECIPE.steps[0], WrittenStep("weights")
CONFIGS = [
    Channels(share=0.3), DynamicInt8(granularity=PerTensor()), Equalize(by="weights"), Float16(),
    Distill(steps=8), LowRank(share=0.3), Palette(bits=3),
    Simplify(), Sparse(share=0.75), StaticInt8(skip="conv.*"), WeightOnly(granularity=PerBlock(8)),
]  # fmt: skip
EXAMPLES = [
    *CONFIGS,
    PerTensor(),
    PerChannel(),
    PerBlock(64),
    PerGroup(4),
    ADVICE,
    LESSON,
    FINDING,
    LAYER,
    WEIGHT,
    LAYERS,
    ROBUST,
    CHECKED,
    GATE,
    GateRun("2026-03-01T12:00:00+00:00", GATE),
    CONTRAST,
    HARDER,
    FEW,
    WORST,
    SLICE,
    SHIFT,
    MOVED,
    Evaluation("a", "b", "d", "test", OPTIONS, {}, seed=3, machine="m", contrast=CONTRAST),
    Comparison(
        RESULT,
        (RESULT,),
        {},
        (FLIPS,),
        ("a",),
        contrasts=(CONTRAST,),
        unlike={"a": ("seed: 0 and 1",)},
        samples="s.csv",
    ),
    BUDGET,
    BUDGET.limits[0],
    *CHANGES,
    NOTE,
    *STORAGES,
    Comparison(RESULT, (RESULT,), {"a": {"x": NUMBER}}, (FLIPS,), ("a",)),
    Cost("a", {"size": SIZE}, OPTIONS, "m"),
    Cost("a"),
    CURVE,
    DAMAGE,
    DEVICE,
    DEVICE.energy,
    EFFORT,
    DEVICE.runtimes["litert"],
    Evaluation("a", "b", "d", "test", OPTIONS, {"top1": NUMBER}, GROUPS, ("differs",), 0.01),
    FLIPS,
    *GROUPS,
    MACHINE,
    MISS,
    NUMBER,
    COST,
    LINE,
    OPTIONS,
    OUTCOME,
    OperatorSet("a", "A", ("Conv",), "a document", ("Erf",), {"Conv": "2 axes"}, ("int8",)),
    Plan("m", "a, cpu", ("size<=2MB",), {"size": SIZE}, (ROUTE,), "yes", ("Take it.",), {"a": 0.5}),
    Profile(
        "m", (COST,), {"size": SIZE}, "conv", {"x": (1, None)}, ("x",), ("one branch",), "a, cpu"
    ),
    RECIPE,
    RECIPE.steps[0],
    REFUSAL,
    RESULT,
    ROUTE,
    SHARE,
    CITED,
    UNIT,
    VARIANT,
]


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_every_record_comes_back_from_its_json_as_it_went(record):
    text = canonical(record)

    back = loads(type(record), text)

    assert back == record
    assert canonical(back) == text
    assert from_json(type(record), to_json(record)) == record


def test_every_record_has_an_example_here():
    classes = {getattr(records, name) for name in records.__all__}
    known = {cls for cls in classes if isinstance(cls, type) and dataclasses.is_dataclass(cls)}

    assert known == {type(record) for record in EXAMPLES}


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_records_are_frozen(record):
    names = [field.name for field in dataclasses.fields(record)]

    # Python's own refusal fails with TypeError in a class with slots and without fields.
    with pytest.raises(dataclasses.FrozenInstanceError if names else TypeError):
        setattr(record, names[0] if names else "kind", None)


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(FLOATS, FLOATS, FLOATS, st.integers(0, 2**53))
def test_numbers_keep_every_bit(value, low, high, n):
    record = Measurement(value, "s", low, high, "measured", n)

    back = loads(Measurement, canonical(record))

    assert back == record
    assert math.copysign(1, back.value) == math.copysign(1, value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(PLAIN)
def test_canonical_text_is_json_with_one_form_for_one_content(value):
    text = canonical(value)

    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


def test_the_order_of_keys_does_not_change_the_digest():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1, "b": 2}) != digest({"a": 2, "b": 1})


def test_nan_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(counted(math.nan))


@pytest.mark.parametrize("end", [math.inf, -math.inf])
def test_the_end_of_an_interval_without_a_bound_is_a_text_in_json(end):
    open_interval = Measurement(1.0, "1", min(end, 1.0), max(end, 1.0), "estimated", 1)
    text = canonical(open_interval)
    assert "Infinity" not in text
    assert loads(Measurement, text) == open_interval


def test_the_schema_states_name_and_version():
    assert to_json(VARIANT)["schema"] == "Variant/2"


@pytest.mark.parametrize(
    ("cls", "change", "sentence"),
    [
        (Variant, {"schema": "Variant/99"}, r"reads Variant/2; the data says Variant/99"),
        (Variant, {"colour": "red"}, "a variant has no colour; it has id, parent"),
        (Variant, {"took": "long"}, "float is expected; got 'long'"),
        (Variant, {"took": True}, "float is expected; got True"),
        (Variant, {"id": None}, "str is expected; got None"),
        (Variant, {"changes": {}}, r"list is expected; got \{\}"),
        (Change, {"storage": {"kind": "cube"}}, "'kind' is one of float16, grid.*; got 'cube'"),
        (Change, {"storage": {"bits": 4}}, "'kind' is one of float16, grid.*; got None"),
        (Change, {"storage": "int4"}, "is expected; got 'int4'"),
        (StoredGrid, {"kind": "palette"}, "a StoredGrid has the kind 'grid'; got 'palette'"),
        (Variant, {"recipe": []}, r"dict is expected; got \[\]"),
        (SessionOptions, {"matmul_accuracy": 7}, "one of 0, 1, 2, 3, 4 is expected; got 7"),
        (SessionOptions, {"matmul_accuracy": True}, "is expected; got True"),
        (SessionOptions, {"threads": 1.5}, "int is expected; got 1.5"),
        (
            Step,
            {"config": {"bits": 4}},
            r"'kind' is one of simplify, .*, dynamic, distill; got None",
        ),
        (Step, {"config": {"kind": "weights", "damping": 0}}, "damping= is a share above 0"),
        (Step, {"config": {"kind": "tidy"}}, "'kind' is one of simplify, .*; got 'tidy'"),
        (Step, {"config": {"kind": "weights", "bits": 9}}, "one of 2, 3, .* is expected; got 9"),
        (
            WrittenStep,
            {"config": {"bits": [4]}},
            r"one of text, a whole number, a number, true or false is expected; got \[4\]",
        ),
    ],
)
def test_data_of_another_form_is_refused_in_a_sentence(cls, change, sentence):
    records = (VARIANT, OPTIONS, STEP, WRITTEN, CHANGE, STORAGES[0])
    (example,) = [record for record in records if type(record) is cls]

    with pytest.raises(InputError, match=sentence):
        from_json(cls, to_json(example) | change)


def test_a_field_without_a_default_must_be_there():
    data = {key: value for key, value in to_json(VARIANT).items() if key != "parent"}

    with pytest.raises(InputError, match="a variant must have parent"):
        from_json(Variant, data)


def test_only_an_object_is_a_record():
    with pytest.raises(InputError, match="a Variant is a JSON object; this is list"):
        from_json(Variant, [])


def test_the_id_of_a_variant_follows_from_parent_recipe_and_calibration_alone():
    ids = {
        variant_id("a", RECIPE, "d"),
        variant_id("b", RECIPE, "d"),
        variant_id("a", Recipe(RECIPE.steps, seed=4), "d"),
        variant_id("a", RECIPE, "e"),
    }

    assert len(ids) == 4
    assert variant_id("a", RECIPE, "d") in ids
