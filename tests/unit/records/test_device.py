"""A device's description holds only if every figure is possible and says where it is from."""

from dataclasses import replace

import pytest

from packlight.errors import DeviceError, InputError
from packlight.records import Citation, Device, Energy, Runtime, Share, Unit
from packlight.records.device_checks import DTYPES, FAMILIES, figures, sourced

STATED = Citation("stated", "a data sheet, https://example.org, 2024")
SHARES = {**dict.fromkeys(FAMILIES, Share(0.1, 0.6)), "conv:int8": Share(0.2, 0.3)}
UNIT = Unit({"float32": 1e9, "int8": 4e9}, ("litert",), SHARES, 1e-6, 4, 0.25)
SOURCES = {
    "units.cpu": STATED,
    "units.cpu.peak.int8": Citation("derived", "4 * 1e9"),
    "units.cpu.efficiency": Citation("assumed", "nobody says"),
    "runtimes": STATED,
    "bandwidth": STATED,
    "ram": STATED,
    "energy": STATED,
}
DEVICE = Device(
    name="a-board", title="A board", kind="datasheet", processor="4 cores", units={"cpu": UNIT},
    runtimes={"litert": Runtime(("float32", "int8"), "litert")}, sources=SOURCES, bandwidth=1e10,
    ram=2**30, energy=Energy({"int8": 1e-13}, 1e-10),
)  # fmt: skip


def unit(**changes):
    return {"units": {"cpu": replace(UNIT, **changes)}}


def test_figures_are_all_numbers_by_their_paths():
    shares = [f"units.cpu.efficiency.{key}.{end}" for key in SHARES for end in ("low", "high")]
    plain = ["units.cpu.peak.float32", "units.cpu.peak.int8", "units.cpu.overhead",
             "units.cpu.cores", "units.cpu.one_core", "bandwidth", "ram", "energy.mac.int8",
             "energy.byte"]  # fmt: skip

    assert set(figures(DEVICE)) == {*shares, *plain}
    assert figures(DEVICE)["units.cpu.peak.int8"] == 4e9
    assert set(sourced(DEVICE)) == {*shares, *plain, "runtimes.litert"}
    told = {**SOURCES, "saturates": STATED}
    assert "saturates" in sourced(replace(DEVICE, saturates=True, sources=told))


@pytest.mark.parametrize("key", [key for key in SOURCES if key.count(".") < 2])
def test_no_figure_without_a_source(key):
    sources = {path: source for path, source in SOURCES.items() if path != key}

    with pytest.raises(DeviceError, match=rf"every figure needs a source: .* '{key}"):
        replace(DEVICE, sources=sources)


@pytest.mark.parametrize("key", ["storage", "units.npu", "units.cpu.pea", "title", "saturates"])
def test_no_source_without_a_figure(key):
    with pytest.raises(DeviceError, match=f"'sources' speaks of '{key}', which this device does"):
        replace(DEVICE, sources={**SOURCES, key: STATED})


def test_the_nearest_source_speaks_of_a_figure():
    assert DEVICE.source("units.cpu.peak.int8").how == "derived"
    assert DEVICE.source("units.cpu.peak.float32") == STATED
    assert DEVICE.source("units.cpu.efficiency.conv.low").how == "assumed"
    with pytest.raises(ValueError):
        DEVICE.source("storage")


def test_a_share_for_a_data_type_goes_before_that_of_its_family():
    assert UNIT.share("conv", "int8") == Share(0.2, 0.3)
    assert UNIT.share("conv", "float32") == UNIT.share("other", "int8") == Share(0.1, 0.6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "A Board"}, r"a name is of small letters, digits and dashes; got 'A Board'"),
        ({"aliases": ("../x",)}, r"got '../x'"),
        ({"title": "a\x1b[2J"}, r"'title' must be printable text; got 'a.x1b\[2J'"),
        ({"sources": {**SOURCES, "ram": Citation("stated", "\x07")}}, r"'sources.ram' must be"),
        ({"bandwidth": 0.0}, r"'bandwidth' must be a finite number above 0; got 0.0"),
        ({"bandwidth": float("inf")}, r"'bandwidth' must be a finite number above 0; got inf"),
        ({"bandwidth": 1e-300}, r"'bandwidth' must be between 1000 and 1e\+16 bytes a second"),
        ({"bandwidth": 1e300}, r"'bandwidth' must be between 1000 and 1e\+16 bytes a second"),
        ({"ram": -1}, r"'ram' must be a finite number above 0; got -1"),
        ({"units": {}}, r"'units' must hold at least one unit"),
        (unit(peak={}), r"'units.cpu.peak' must hold at least one data type"),
        (unit(peak={"int7": 1e9}), r"'units.cpu.peak' may hold 'float32', .*'int4'; got 'int7'"),
        (unit(one_core=1.5), r"'units.cpu.one_core' is a share, so it is at most 1; got 1.5"),
        (unit(runtimes=("coreml",)), r"'units.cpu.runtimes' may hold 'litert'; got 'coreml'"),
        (unit(efficiency={}), r"'units.cpu.efficiency' must hold 'conv'; it has nothing"),
        (unit(efficiency={**SHARES, "pool": Share(0.1, 0.2)}), r"may hold 'conv', .*; got 'pool'"),
        (unit(efficiency={**SHARES, "conv": Share(0.5, 0.2)}), r"conv' must rise .*; got 0.5 to 0"),
        (unit(efficiency={**SHARES, "conv": Share(0.5, 1.2)}), r"must rise .* <= 1; got 0.5 to 1"),
        ({"runtimes": {"litert": Runtime(("int3",), "litert")}}, r"litert.dtypes' .* got 'int3'"),
        ({"energy": Energy({"fp8": 1e-12}, 1e-9)}, r"'energy.mac' may hold .*; got 'fp8'"),
        ({"app_ram": 2**31}, r"'app_ram' is a part of 'ram', so it is at most 1073741824; got"),
        ({"sources": {**SOURCES, "ram": Citation("stated", " ")}}, r"source of 'ram' must say"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(DeviceError, match=sentence):
        replace(DEVICE, **changes)


def test_a_fault_of_a_device_is_a_fault_of_the_input():
    assert issubclass(DeviceError, InputError)


def test_shares_may_be_said_for_every_family_and_data_type():
    shares = {f"{family}:{dtype}": Share(0.3, 0.4) for family in FAMILIES for dtype in DTYPES}
    whole = replace(DEVICE, **unit(efficiency=SHARES | shares))

    assert whole.units["cpu"].share("recurrent", "int4") == Share(0.3, 0.4)
