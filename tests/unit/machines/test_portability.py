"""One file on other processors: what saturates is named where it does, and nowhere else."""

import platform
import sys
from dataclasses import replace

import pytest

import packlight
from packlight import zoo
from packlight.errors import DeviceError
from packlight.machines import emulation
from packlight.machines.installation import installation

on_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux",
    reason="kernels for AVX2 run on x86-64 with Linux",
)
emulated = pytest.mark.skipif(
    not emulation.installed_versions(),
    reason=f"the emulator is not installed: {emulation.INSTALL}",
)


@on_x86
def test_a_product_that_saturates_without_vnni_is_named_there(integers, samples):
    record = packlight.portability(integers, samples, cpus=["x86-avx2"], limit=8)
    (result,) = record.processors

    assert result.machine.saturates
    assert [(found.operator, found.cause) for found in result.operators] == [("loud", "saturation")]
    assert result.operators[0].saturated > 0.1
    assert result.operators[0].codes
    assert (result.metrics["snr"].value < 30) != record.here.saturates
    assert result.compared >= 3
    assert "static:7" in repr(record)


@pytest.mark.slow
@emulated
@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a76"])
def test_the_same_product_is_not_named_on_arm(integers, samples, cpu):
    record = packlight.portability(integers, samples, cpus=[cpu], limit=8)
    (result,) = record.processors

    assert result.machine.architecture == "aarch64"
    assert result.machine.onnxruntime == record.here.onnxruntime
    assert ("asimddp" in result.machine.features) == (cpu == "cortex-a76")
    assert not result.operators_of("saturation")
    assert not result.operators_of("kernel")
    assert result.metrics["snr"].value > 40


@pytest.mark.slow
@emulated
@on_x86
def test_what_static_makes_is_safe_on_older_x86_and_agrees_on_arm(tmp_path, few_images):
    made = packlight.compress("zoo:fashion", "simplify+static", task=few_images)
    packlight.save(made.model, tmp_path / "static.onnx")
    record = packlight.portability(
        tmp_path / "static.onnx", few_images, cpus=["cortex-a76", "x86-avx2"], limit=40
    )
    arm, x86 = record.processors

    assert arm.metrics["agreement"].value >= 0.97
    assert {operator.cause for operator in arm.operators} <= {"rounding"}
    assert not x86.operators_of("saturation")
    assert x86.metrics["snr"].value > 60


@pytest.fixture
def few_images():
    fashion = zoo.task("fashion")
    return replace(fashion, calibration=[fashion.calibration[index] for index in range(32)])


def test_an_agent_gives_outputs_latency_and_memory(token, address, integers, samples, tmp_path):
    out = tmp_path / "there.json"
    record = packlight.portability(integers, samples, agent=address, limit=6, seconds=0.05, out=out)
    (result,) = record.processors

    assert (result.name, result.kind) == (address, "agent")
    assert result.metrics["snr"].value == 150
    assert result.metrics["latency"].how == "measured"
    assert 0 < result.metrics["peak_memory"].value < 1e9
    assert (result.compared == 0) != record.here.saturates
    assert out.read_text().startswith("{")
    assert not out.with_name("there.json.unfinished").exists()
    assert f"measured on {address}" in text_of(record)


def text_of(record):
    from packlight.presentation import portability

    return portability.costs(record.processors[0])


def test_without_the_emulator_the_sentence_names_the_command(monkeypatch, tmp_path, integers):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(DeviceError, match="install it once with `packlight devices emulate"):
        packlight.portability(integers, "zoo:fashion", cpus=["cortex-a76"])


def test_an_emulator_with_another_onnx_runtime_is_refused(monkeypatch, tmp_path, samples, integers):
    folder = tmp_path / "packlight" / "emulator"
    folder.mkdir(parents=True)
    manifest = '{"qemu": "q", "python": "3.11", "onnxruntime": "1.2.3"}'
    (folder / "manifest.json").write_text(manifest)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(DeviceError, match=r"the emulator holds ONNX Runtime 1.2.3"):
        packlight.portability(integers, samples, cpus=["cortex-a76"])


def test_an_unknown_processor_is_refused_before_anything_runs(integers, samples):
    with pytest.raises(DeviceError, match="a processor is one of cortex-a53"):
        packlight.portability(integers, samples, cpus=["z80"])


def test_an_installation_says_what_it_will_do_and_where(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    steps = " ".join(installation().steps())

    assert str(tmp_path) in steps
    assert "apt-get downloads python3-minimal" in steps
    assert "MB stay on the disk" in steps
    assert not list(tmp_path.iterdir())


def test_a_system_without_debians_tools_is_refused(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(DeviceError, match="Debian's tools, and apt-get is not here"):
        installation()


def test_another_system_is_told_to_use_an_agent(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(DeviceError, match=r"this is linux with arm64\. Measure on a machine"):
        installation()


def test_exact_arithmetic_is_refused(token, address, integers, samples):
    exact = packlight.SessionOptions(arithmetic="exact")
    with pytest.raises(packlight.InputError, match="exact arithmetic is the same on every machine"):
        packlight.portability(integers, samples, agent=address, options=exact)
