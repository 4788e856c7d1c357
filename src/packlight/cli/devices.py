"""``packlight devices``: what a model can be made to fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from packlight.cli.ending import DONE, Stopped, interruption
from packlight.cli.options import DEVICE_HELP, Json, Seed, Threads
from packlight.cli.screen import print_json, say, screen, working

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
    from packlight import devices as every
    from packlight.records import to_json

    known = every()
    if as_json:
        print_json({"devices": [to_json(device) for device in known]})
    else:
        from packlight.cli.device_tables import devices_table

        say(screen(), devices_table(known))
    return DONE


def show(name: DeviceName, as_json: Json = False) -> int:
    """Show a device: every figure and where it comes from.

    \b
    Example:
      packlight devices show raspberry-pi-5
    """
    from packlight import device

    found = device(name)
    if as_json:
        print_json(found)
    else:
        from packlight.cli.device_tables import device_parts

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
    from packlight.devices import write_device
    from packlight.measure.device import device_name, measure_device

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
        from packlight.cli.device_tables import device_parts

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
