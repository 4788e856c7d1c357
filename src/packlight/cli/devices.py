"""``packlight devices``: descriptions of devices."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.exit_codes import DONE, RESUME, UNMET, Stopped, interruption
from packlight.cli.options import DEVICE_HELP, Json, Seed, Threads
from packlight.cli.screen import print_json, print_record, say, screen, working
from packlight.cli.tables import (
    UNKNOWN,
    counts,
    plain_table,
    stacked,
    styled,
    styled_parts,
    unless_unknown,
)
from packlight.presentation.numbers import show_bytes, show_seconds, show_share
from packlight.records.device_checks import DTYPES

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import Device, Energy, Share

STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
PICO = 1e12
MEMORY = {
    "ram": "RAM",
    "app_ram": "RAM for an app",
    "storage": "storage",
    "app_storage": "storage for an app",
}


def devices_table(devices: Sequence[Device]) -> Table:
    """One row per device: peaks, memory speed and limits."""
    table = plain_table("device", "float32", "int8", "other units", "memory", "app RAM", "app size")
    for device in devices:
        peak = device.units["cpu"].peak if "cpu" in device.units else {}
        table.add_row(
            stacked(device.name, *(f"  {alias}" for alias in device.aliases)),
            unless_unknown(rate, peak.get("float32")),
            unless_unknown(rate, peak.get("int8")),
            stacked(*_accelerators(device) or [UNKNOWN]),
            unless_unknown(_speed, device.bandwidth),
            unless_unknown(show_bytes, device.app_ram),
            unless_unknown(show_bytes, device.app_storage),
        )
    return table


def _accelerators(device: Device) -> list[str]:
    others = [(name, unit) for name, unit in device.units.items() if name != "cpu"]
    return [f"{name} {rate(max(unit.peak.values()))}" for name, unit in others]


def device_parts(device: Device) -> list[RenderableType]:
    """All figures of a device."""
    names = device.name
    if device.aliases:
        names += f", also {', '.join(device.aliases)}"
    head = styled_parts((device.title, "bold"), f" ({names}), {device.kind}")
    return [
        stacked(head, device.processor),
        peaks_table(device),
        counts(memory(device)),
        runtimes_table(device),
        *energy_parts(device.energy),
        efficiency_table(device),
        sources_table(device),
    ]


def peaks_table(device: Device) -> Table:
    """Peaks in multiply-accumulates a second, by unit and data type."""
    heads = [*DTYPES, "cores", "one core", "overhead"]
    table = plain_table("peak, MAC/s", *heads, "runtimes")
    table.columns[-1].justify = "left"
    for name, unit in device.units.items():
        table.add_row(
            name,
            *(unless_unknown(rate, unit.peak.get(dtype)) for dtype in DTYPES),
            str(unit.cores or UNKNOWN),
            unless_unknown(show_share, unit.one_core),
            show_seconds(unit.overhead),
            stacked(*unit.runtimes or [UNKNOWN]),
        )
    return table


def memory(device: Device) -> Iterable[tuple[str, str]]:
    """Memory speed and sizes, with their names."""
    yield "memory speed", unless_unknown(_speed, device.bandwidth)
    for field, name in MEMORY.items():
        yield name, unless_unknown(show_bytes, getattr(device, field))
    if device.saturates:
        yield "8-bit products", "sums saturate (no VNNI)"


def runtimes_table(device: Device) -> Table:
    """Runtimes with their data types and numbers of operator types."""
    from packlight.devices import operator_set

    table = plain_table("runtime", "computes in", "stores weights as", "operators", "slow", texts=3)
    for name, runtime in device.runtimes.items():
        operators = operator_set(runtime.operators)
        sizes = [str(len(operators.operators)), str(len(operators.slow))]
        table.add_row(name, ", ".join(runtime.dtypes), ", ".join(operators.weights), *sizes)
    return table


def energy_parts(energy: Energy | None) -> list[RenderableType]:
    """Energy by data type and per byte; empty where unknown."""
    if energy is None:
        return []
    table = plain_table("energy", *energy.mac, "byte of traffic")
    table.add_row("", *(joules(value) for value in energy.mac.values()), joules(energy.byte))
    return [table]


def efficiency_table(device: Device) -> Table:
    """Achieved shares of the roofline, by family of operators and unit."""
    table = plain_table("roofline efficiency", *device.units)
    families = {family: None for unit in device.units.values() for family in unit.efficiency}
    for family in families:
        shares = [unit.efficiency.get(family) for unit in device.units.values()]
        table.add_row(family, *(unless_unknown(_show_range, share) for share in shares))
    return table


def _show_range(share: Share) -> str:
    return f"{show_share(share.low)} to {show_share(share.high)}"


def sources_table(device: Device) -> Table:
    """The source of every figure, in the order of the fields."""
    fields = list(device.__dataclass_fields__)
    paths = sorted(device.sources, key=lambda path: (fields.index(path.partition(".")[0]), path))
    table = plain_table("figure", "basis", "source", texts=3)
    for path in paths:
        source = device.sources[path]
        table.add_row(path, styled(source.how, style="italic"), styled(source.text))
    return table


def rate(value: float) -> str:
    """Operations per second.

    >>> rate(1.21e11), rate(4.8e8)
    ('121 G', '480 M')
    """
    step, label = next((step for step in STEPS if value >= step[0]), STEPS[-1])
    return f"{value / step:.3g} {label}"


def _speed(value: float) -> str:
    return f"{show_bytes(value)}/s"


def joules(value: float) -> str:
    """Energy of an operation.

    >>> joules(1.69e-12)
    '1.69 pJ'
    """
    return f"{value * PICO:.3g} pJ"


if TYPE_CHECKING:
    from collections.abc import Callable

DeviceName = Annotated[str, typer.Argument(metavar="NAME", help=DEVICE_HELP)]


def devices(context: typer.Context) -> None:
    """List, show and measure devices.

    \b
    Start with:
      packlight devices list
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def list_devices(as_json: Json = False) -> int:
    """List the built-in devices.

    Peaks are those of the CPU's fast cores, in multiply-accumulates per second.

    \b
    Example:
      packlight devices list
    """
    from packlight import list_devices as all_devices
    from packlight.records import to_json

    descriptions = all_devices()
    if as_json:
        print_json({"devices": [to_json(device) for device in descriptions]})
    else:
        say(screen(), devices_table(descriptions))
    return DONE


def show(name: DeviceName, as_json: Json = False) -> int:
    """Show all figures of a device, with their sources.

    \b
    Example:
      packlight devices show raspberry-pi-5
    """
    from packlight import load_device

    print_record(load_device(name), device_parts, as_json=as_json)
    return DONE


def measure(
    *,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT.toml", help="File to write. [default: NAME.toml]"),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the device. [default: the CPU]")
    ] = "",
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", metavar="S", min=0, help="Seconds to spend, for at least one round."
        ),
    ] = 150,
    quick: Annotated[
        bool, typer.Option("--quick", help="Time a few shapes once, as a trial.")
    ] = False,
    agent: Annotated[
        str,
        typer.Option("--agent", metavar="HOST:PORT", help="Measure a machine with an agent."),
    ] = "",
    seed: Seed = 0,
    threads: Threads = 1,
    as_json: Json = False,
) -> int:
    """Measure this machine, or one with an agent, and write its description.

    Times small models in ONNX Runtime over many operators, shapes and data types, and fits the
    speed of each kind of kernel. Keep the machine idle meanwhile. Timings are saved next to the
    output, so the same command resumes after an interruption.

    \b
    Examples:
      packlight devices measure -o laptop.toml
      packlight devices measure --threads 4 --name laptop-4
      packlight devices measure --agent pi:7431 --name pi -o pi.toml
    """
    from packlight import measure_device
    from packlight.benchmarking.device import device_name
    from packlight.devices import write_device
    from packlight.errors import DeviceError

    if agent and not name:
        raise DeviceError("a machine with an agent needs a name of your choice: --name NAME")
    title = device_name(name)
    target = free_target(out or Path(f"{title}.toml"))
    timings = target.with_suffix(".unfinished.jsonl")
    try:
        with working() as progress:
            device = measure_device(timings, name=title, threads=threads, seconds=seconds,
                                    quick=quick, seed=seed, agent=agent,
                                    progress=progress)  # fmt: skip
    except BaseException as error:
        if interruption(error) is None:
            raise
        raise Stopped(f"timings are saved in '{timings}'; {RESUME}") from error
    write_device(device, target)
    finished = rename_timings(timings, target.with_suffix(".timings.jsonl"))
    print_record(device, device_parts, as_json=as_json)
    if not as_json:
        say(screen(), f"Written to {target}; timings are in {finished}")
    return DONE


def rename_timings(timings: Path, target: Path) -> Path:
    """Give finished timings a new name, so that the next measurement starts afresh."""
    path = target
    count = 1
    while path.exists():
        count += 1
        path = target.with_suffix(f".{count}.jsonl")
    return timings.rename(path)


def free_target(path: Path) -> Path:
    """Check that a device can be written to a path.

    Raises:
        DeviceError: the file exists, its folder does not, or its suffix is of another form.
    """
    from packlight.devices.files import FORMS
    from packlight.errors import DeviceError

    if path.suffix not in FORMS:
        raise DeviceError(f"a device is written to a .toml or .json file; got '{path}'")
    if not path.parent.is_dir():
        raise DeviceError(f"the folder of '{path}' must exist: create it, or choose another -o")
    if path.exists():
        raise DeviceError(
            f"'{path}' exists and is not written over: delete it, or choose another -o"
        )
    return path


def emulate(
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Install the emulator, after asking.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Install without asking.")] = False,
) -> int:
    """Install the emulator of Arm processors for `packlight portability`, or say what is installed.

    Uses apt-get, dpkg-deb and pip, and a folder of yours; nothing of the system is changed. Says
    what it will do, and how large it is, and asks.

    \b
    Example:
      packlight devices emulate --install
    """
    from packlight.errors import DeviceError
    from packlight.machines import emulation
    from packlight.machines.installation import install as install_emulator
    from packlight.machines.installation import installation

    if not install or emulation.is_current():
        versions = emulation.installed_versions()
        if not versions:
            typer.echo(f"The emulator is not installed: {emulation.INSTALL}")
            return DONE
        processors = ", ".join(emulation.ARM)
        typer.echo(
            f"Installed in {emulation.emulator_folder()}: ONNX Runtime {versions['onnxruntime']}, "
            f"Python {versions['python']}, for {processors}"
        )
        return DONE
    plan = installation()
    for step in plan.steps():
        typer.echo(step)
    if not yes and not sys.stdin.isatty():
        raise DeviceError("nobody answers here; to install without asking, add --yes")
    if not yes and not typer.confirm("Go on?"):
        typer.echo("Nothing was done.")
        return UNMET
    install_emulator(plan, lambda step: typer.echo(f"{step} ..."))
    typer.echo(f"Installed in {plan.folder}. To remove it, delete this folder.")
    return DONE


def agent(
    *,
    write: Annotated[Path, typer.Option("--write", metavar="OUT.py", help="File to write.")] = Path(
        "agent.py"
    ),
) -> int:
    """Write the agent: one file that runs and times models on another machine.

    The other machine needs Python 3.10, numpy and onnxruntime. The agent listens on that machine
    alone unless it is told otherwise, and takes orders only from who knows its token.

    \b
    Example:
      packlight devices agent --write agent.py
    """
    from packlight.disk import replacing
    from packlight.machines.targets import AGENT_FILE
    from packlight.runtime.agent import TOKEN

    with replacing(write, overwrite=False) as file:
        file.write(AGENT_FILE.read_bytes())
    typer.echo(f"Written to {write}. Copy it to the other machine and start it there:")
    typer.echo("  python agent.py --listen ADDRESS")
    typer.echo("It prints its address and a token. Here, set the token and measure:")
    typer.echo(f"  export {TOKEN}=...")
    typer.echo("  packlight portability MODEL --task T --agent ADDRESS:7431")
    typer.echo("With the file in your home folder there, ssh needs no token: --agent ssh:HOST")
    return DONE


VERBS: dict[str, Callable[..., int]] = {
    "list": list_devices,
    "show": show,
    "measure": measure,
    "emulate": emulate,
    "agent": agent,
}
