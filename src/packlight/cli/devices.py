"""``packlight devices``: what a model can be made to fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from packlight.cli.exit_codes import DONE, Stopped, interruption
from packlight.cli.options import DEVICE_HELP, Json, Seed, Threads
from packlight.cli.screen import print_json, say, screen, working
from packlight.cli.tables import UNKNOWN, counts, plain_table
from packlight.presentation.numbers import show_bytes, show_seconds, show_share
from packlight.records.device_checks import DTYPES

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from packlight.records import Device, Energy

STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
PICO = 1e12
MEMORY = {
    "ram": "RAM",
    "app_ram": "RAM for an app",
    "storage": "storage",
    "app_storage": "storage for an app",
}


def devices_table(devices: Sequence[Device]) -> Table:
    """One line for each device: what its fast cores and its memory can do."""
    table = plain_table("device", "float32", "int8", "beside it", "memory", "app RAM", "app size")
    for device in devices:
        peak = device.units["cpu"].peak if "cpu" in device.units else {}
        table.add_row(
            "\n  ".join([device.name, *device.aliases]),
            rate(peak.get("float32")),
            rate(peak.get("int8")),
            "\n".join(beside(device)) or UNKNOWN,
            speed(device.bandwidth),
            size(device.app_ram),
            size(device.app_storage),
        )
    return table


def beside(device: Device) -> Iterable[str]:
    """Units other than the CPU, each with its highest peak."""
    for name, unit in device.units.items():
        if name != "cpu":
            yield f"{name} {rate(max(unit.peak.values()))}"


def device_parts(device: Device) -> list[RenderableType]:
    """Everything that is known of one device."""
    also = f", also {', '.join(device.aliases)}" if device.aliases else ""
    head = Text.assemble((device.title, "bold"), f" ({device.name}{also}), {device.kind}\n")
    return [
        head.append(device.processor),
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
    table = plain_table("peak, MAC/s", *heads, "reached by")
    table.columns[-1].justify = "left"
    for name, unit in device.units.items():
        table.add_row(
            name,
            *(rate(unit.peak.get(dtype)) for dtype in DTYPES),
            str(unit.cores or UNKNOWN),
            UNKNOWN if unit.one_core is None else show_share(unit.one_core),
            show_seconds(unit.overhead),
            "\n".join(unit.runtimes) or UNKNOWN,
        )
    return table


def memory(device: Device) -> Iterable[tuple[str, str]]:
    """Speed and room, with their names."""
    yield "memory speed", speed(device.bandwidth)
    for field, name in MEMORY.items():
        yield name, size(getattr(device, field))
    if device.saturates:
        yield "8-bit products", "their sums saturate"


def runtimes_table(device: Device) -> Table:
    """Runtimes, what they compute in, and how many types of operators they run."""
    from packlight.devices import operator_set

    table = plain_table("runtime", "computes in", "stores weights as", "operators", "slow", left=3)
    for name, runtime in device.runtimes.items():
        known = operator_set(runtime.operators)
        numbers = str(len(known.operators)), str(len(known.slow))
        table.add_row(name, ", ".join(runtime.dtypes), ", ".join(known.weights), *numbers)
    return table


def energy_parts(energy: Energy | None) -> list[RenderableType]:
    """Energy by data type and byte, where it is known."""
    if energy is None:
        return []
    table = plain_table("energy", *energy.mac, "byte of traffic")
    table.add_row("", *(joules(value) for value in energy.mac.values()), joules(energy.byte))
    return [table]


def efficiency_table(device: Device) -> Table:
    """Shares of the roofline, by family of operators and unit."""
    table = plain_table("share of the roofline", *device.units)
    families = {family: None for unit in device.units.values() for family in unit.efficiency}
    for family in families:
        cells = [unit.efficiency.get(family) for unit in device.units.values()]
        shown = [
            f"{show_share(one.low)} to {show_share(one.high)}" if one else UNKNOWN for one in cells
        ]
        table.add_row(family, *shown)
    return table


def sources_table(device: Device) -> Table:
    """Where every figure comes from."""
    table = plain_table("figure", "", "source", left=3)
    for path, source in sorted(device.sources.items(), key=lambda item: first(device, item[0])):
        table.add_row(path, Text(source.how, style="italic"), Text(source.text))
    return table


def first(device: Device, path: str) -> tuple[int, str]:
    """The place of a source among the fields of a device."""
    fields: Mapping[str, int] = {name: at for at, name in enumerate(device.__dataclass_fields__)}
    return fields[path.partition(".")[0]], path


def rate(value: float | None) -> str:
    """Operations a second.

    >>> rate(1.21e11), rate(4.8e8), rate(None)
    ('121 G', '480 M', '-')
    """
    if value is None:
        return UNKNOWN
    step, label = next((step for step in STEPS if value >= step[0]), STEPS[-1])
    return f"{value / step:.3g} {label}"


def speed(value: float | None) -> str:
    """Bytes a second."""
    return UNKNOWN if value is None else f"{show_bytes(value)}/s"


def size(value: int | None) -> str:
    """Bytes, where they are known."""
    return UNKNOWN if value is None else show_bytes(value)


def joules(value: float) -> str:
    """Energy of one operation.

    >>> joules(1.69e-12)
    '1.69 pJ'
    """
    return f"{value * PICO:.3g} pJ"


if TYPE_CHECKING:
    from collections.abc import Callable

DeviceName = Annotated[str, typer.Argument(metavar="NAME", help=DEVICE_HELP)]


def devices(context: typer.Context) -> None:
    """List, show and measure devices: peaks, memory, runtimes, and the source of each figure.

    \b
    Start with:
      packlight devices list
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def list_devices(as_json: Json = False) -> int:
    """List the devices that packlight knows.

    Peaks are those of the CPU's fast cores, in multiply-accumulates a second.

    \b
    Example:
      packlight devices list
    """
    from packlight import list_devices as all_devices
    from packlight.records import to_json

    known = all_devices()
    if as_json:
        print_json({"devices": [to_json(device) for device in known]})
    else:
        say(screen(), devices_table(known))
    return DONE


def show(name: DeviceName, as_json: Json = False) -> int:
    """Show a device: every figure and where it comes from.

    \b
    Example:
      packlight devices show raspberry-pi-5
    """
    from packlight import load_device

    found = load_device(name)
    if as_json:
        print_json(found)
    else:
        say(screen(), *device_parts(found))
    return DONE


def measure(
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", metavar="OUT.toml", help="File to write; NAME.toml if not given."
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Of the device; else the processor's.")
    ] = "",
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0, help="To spend; one round at least.")
    ] = 150,
    quick: Annotated[
        bool, typer.Option("--quick", help="Time few shapes once: to try it, not to rely on it.")
    ] = False,
    seed: Seed = 0,
    threads: Threads = 1,
    as_json: Json = False,
) -> int:
    """Measure this machine and write it down as a device.

    Times convolutions, products and what is between them in ONNX Runtime, in many shapes and data
    types, and fits how fast each kind of kernel is. Let the machine do nothing else meanwhile.
    Timings are kept beside the output, and an interrupted command goes on from there.

    \b
    Examples:
      packlight devices measure -o laptop.toml
      packlight devices measure --threads 4 --name laptop-4
    """
    from packlight.benchmarking.device import device_name, measure_device
    from packlight.devices import write_device

    named = device_name(name)
    target = free_target(out or Path(f"{named}.toml"))
    timings = target.with_suffix(".unfinished.jsonl")
    try:
        with working() as progress:
            found = measure_device(timings, name=named, threads=threads, seconds=seconds,
                                   quick=quick, seed=seed, progress=progress)  # fmt: skip
    except BaseException as error:
        if interruption(error) is None:
            raise
        said = f"what was timed is kept in '{timings}'; the same command goes on from there"
        raise Stopped(said) from error
    write_device(found, target)
    kept = finished(timings, target.with_suffix(".timings.jsonl"))
    if as_json:
        print_json(found)
    else:
        say(screen(), *device_parts(found))
        say(screen(), f"Written to {target}; timings are in {kept}")
    return DONE


def finished(timings: Path, wanted: Path) -> Path:
    """Give timings of a whole measurement their name, or one with a number where that is taken.

    The next measurement then begins anew.
    """
    free, count = wanted, 1
    while free.exists():
        count += 1
        free = wanted.with_suffix(f".{count}.jsonl")
    return timings.rename(free)


def free_target(path: Path) -> Path:
    """A path that a device can be written to.

    Raises:
        DeviceError: it exists, its folder does not, or its suffix is of another form.
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


VERBS: dict[str, Callable[..., int]] = {"list": list_devices, "show": show, "measure": measure}
