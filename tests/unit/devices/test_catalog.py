"""The shipped devices: complete, and as their sources say."""

import math
import re

import onnx
import onnxruntime
import pytest

from packlight.devices import catalog, device_names, list_devices, load_device, operator_set
from packlight.errors import DeviceError
from packlight.records.device_checks import covers, sourced

ASKED = [
    "iphone-15-pro", "pixel-8", "galaxy-s24", "android-mid-range", "android-low-end",
    "apple-watch", "raspberry-pi-5", "raspberry-pi-zero-2-w", "jetson-orin-nano",
    "x86-laptop-vnni", "x86-laptop-avx2", "browser-wasm", "stm32h7", "esp32-s3",
]  # fmt: skip
EXPRESSION = r"([(0-9][0-9.e*+/() ]*[0-9)])"
HOROWITZ = {"float32": 3.7 + 0.9, "float16": 1.1 + 0.4, "int8": 0.2 + 0.03}
JOUPPI = {"float32": 1.31 + 0.38, "float16": 0.34 + 0.16, "int8": 0.07 + 0.007}
NANOMETRES = {
    "galaxy-a05": 12, "raspberry-pi-5": 16, "raspberry-pi-zero-2-w": 40, "jetson-orin-nano": 8,
    "x86-laptop-vnni": 10, "x86-laptop-avx2": 14, "browser-wasm": 14, "stm32h7": 40, "esp32-s3": 40,
}  # fmt: skip
every_device = pytest.mark.parametrize("one", list_devices(), ids=lambda one: one.name)


def arithmetic(text):
    """The value of an expression of numbers, as a source writes it."""
    assert re.fullmatch(EXPRESSION, text)
    return eval(text, {"__builtins__": {}})


def test_every_device_that_was_asked_for_is_there():
    assert {load_device(name).name for name in ASKED} == set(device_names())


def test_every_name_and_alias_means_one_device():
    called = [name for one in list_devices() for name in (one.name, *one.aliases)]

    assert len(called) == len(set(called))
    assert [load_device(name) for name in device_names()] == list(list_devices())
    assert tuple(one.name for one in list_devices()) == device_names()


@pytest.mark.parametrize("text", ["iPhone 15 Pro", " iphone-15-pro ", "IPHONE-15-PRO"])
def test_a_name_may_be_written_as_people_write_it(text):
    assert load_device(text).name == "iphone-15-pro"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("iphone-15-por", r"no device 'iphone-15-por'. Did you mean 'iphone-15-pro'\? Known are"),
        ("android-low", r"Did you mean 'android-low-end'"),
        ("pixel_8", r"Did you mean 'pixel-8'\?"),
        ("", r"there is no device ''. Known are apple-watch, .*or give the path of a .toml"),
        ("../../etc/passwd", r"there is no device '../../etc/passwd'"),
    ],
)
def test_an_unknown_name_gets_the_nearest_ones(text, sentence):
    with pytest.raises(DeviceError, match=sentence):
        load_device(text)


@every_device
def test_every_figure_says_where_it_is_from(one):
    for path in sourced(one):
        source = one.source(path)
        assert any(covers(key, path) for key in one.sources)
        assert source.how in ("stated", "derived", "assumed")
        assert source.how == "assumed" or re.search(r"https?://|same page", source.text), path
        assert source.how != "derived" or re.search(r"\d[ \w]* [*+/] \(?\d", source.text), path


@every_device
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_peaks_of_processors_are_what_the_arithmetic_in_their_source_gives(one, dtype):
    found = re.findall(rf"\b{dtype} {EXPRESSION}", one.sources["units.cpu"].text)
    told = arithmetic(found[-1]) if found else None

    assert told is not None or dtype == "int8"
    if told is not None:
        assert one.units["cpu"].peak[dtype] == pytest.approx(told, rel=1e-3)


@every_device
def test_bytes_are_what_the_arithmetic_in_their_source_gives(one):
    for field in ("bandwidth", "app_ram", "app_storage"):
        text = one.sources[field].text if field in one.sources else ""
        found = re.findall(rf"{EXPRESSION} bytes\.", text)
        if found:
            assert getattr(one, field) == pytest.approx(arithmetic(found[-1]), rel=2e-3)


@every_device
def test_narrower_types_are_never_slower_and_take_less_energy(one):
    for unit in one.units.values():
        peaks = [unit.peak[dtype] for dtype in ("float32", "float16", "int8") if dtype in unit.peak]
        assert peaks == sorted(peaks)
    costs = [one.energy.mac[dtype] for dtype in ("int8", "float16", "float32")]
    assert costs == sorted(costs)


@every_device
def test_energy_follows_the_rule_that_its_source_states(one):
    """Linear in logarithms between the two published processes; nothing below the smaller one."""
    way = math.log(45 / NANOMETRES.get(one.name, 7)) / math.log(45 / 7)

    for dtype, cost in one.energy.mac.items():
        wanted = HOROWITZ[dtype] * (JOUPPI[dtype] / HOROWITZ[dtype]) ** way * 1e-12
        assert cost == pytest.approx(wanted, rel=5e-3)


@every_device
def test_runtimes_run_known_sets_of_operators_in_types_that_a_unit_computes(one):
    for name, runtime in one.runtimes.items():
        assert operator_set(runtime.operators).runs("Conv")
        reached = [unit.peak for unit in one.units.values() if name in unit.runtimes]
        assert set(runtime.dtypes) <= {dtype for peak in reached for dtype in peak}


@pytest.mark.parametrize("name", catalog.operator_sets())
def test_sets_hold_operators_of_onnx_once(name):
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    found = operator_set(name)
    listed = [*found.operators, *found.slow]

    assert found.name == name
    assert len(listed) == len(set(listed))
    assert set(listed) <= known
    assert set(found.limits) <= set(listed)
    assert set(found.weights) <= {"float16", "int8", "int4", "palette", "sparse"}
    assert "https://" in found.source


def test_runtimes_of_small_machines_run_less():
    small, large = operator_set("tflite-micro"), operator_set("litert")

    assert {*small.operators} < {*large.operators, *large.slow}
    assert not small.runs("Erf")
    assert large.runs("Erf")


@pytest.mark.skipif(
    not onnxruntime.__version__.startswith("1.31."), reason="the list is of ONNX Runtime 1.31"
)
def test_the_set_of_onnx_runtime_is_what_it_registers():
    state = onnxruntime.capi.onnxruntime_pybind11_state
    kernels = {
        kernel.op_name for kernel in state.get_all_opkernel_def()
        if kernel.provider == "CPUExecutionProvider" and kernel.domain in ("", "ai.onnx")
    }  # fmt: skip
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}

    assert set(operator_set("onnxruntime").operators) & standard == (
        (kernels & standard) | {"Constant"}
    )


TYPES = {"bfloat16": "tensor(bfloat16)", "float64": "tensor(double)"}


@pytest.mark.skipif(
    not onnxruntime.__version__.startswith("1.31."), reason="the list is of ONNX Runtime 1.31"
)
@pytest.mark.parametrize("dtype", TYPES)
def test_what_lacks_a_type_is_registered_without_it(dtype):
    state = onnxruntime.capi.onnxruntime_pybind11_state
    taken = {}
    for kernel in state.get_all_opkernel_def():
        if kernel.provider == "CPUExecutionProvider" and kernel.domain in ("", "ai.onnx"):
            taken.setdefault(kernel.op_name, set()).update(*kernel.type_constraints.values())

    one = operator_set("onnxruntime")

    assert {*one.lacks[dtype]} < {*one.operators}
    alone = {op for op in one.lacks[dtype] if TYPES[dtype] not in taken[op]}
    assert alone >= {"Conv", "Erf"}
    assert len(alone) > 0.8 * len(one.lacks[dtype])  # others take it beside what they compute


def test_an_unknown_set_gets_the_nearest_ones():
    with pytest.raises(DeviceError, match=r"'onnx-runtime'. Did you mean 'onnxruntime'\? Known"):
        operator_set("onnx-runtime")
