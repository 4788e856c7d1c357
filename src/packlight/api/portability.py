"""Run one file on other processors and compare it with this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packlight.disk import check_output_path, replacing
from packlight.errors import ModelError
from packlight.evaluation import Reference
from packlight.evaluation.robustness import evenly_spread_subset
from packlight.machines import Journal, Target, agent_target, cpu_target
from packlight.machines.measure import Subject, measure_there
from packlight.model import file_size, stored_files, to_bytes
from packlight.model.save import INLINE_LIMIT
from packlight.records import SessionOptions
from packlight.records.codec import canonical
from packlight.records.portability import Portability
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime import machine
from packlight.runtime.progress import Progress, silent
from packlight.sources.opening import AnyModel, AnyTask, Opened, at_hand, task_for

DEFAULT_CPUS = ("cortex-a76", "x86-avx2")
MOST_SAMPLES = 100
"""Samples that are run, evenly spread: an emulated run takes some hundred times as long."""

UNFINISHED = ".unfinished"


def portability(
    model: AnyModel,
    task: AnyTask,
    *,
    cpus: Sequence[str] = (),
    agent: str = "",
    options: SessionOptions = DEFAULT_SESSION,
    limit: int = MOST_SAMPLES,
    seconds: float = 2.0,
    seed: int = 0,
    out: Path | None = None,
    progress: Progress = silent,
) -> Portability:
    """Run one file on other processors, and compare it with this machine.

    Args:
        model: to run; the same bytes everywhere.
        task: samples and metric.
        cpus: processors that this machine stands for, of ``machines.CPUS``; without any and
            without an agent, ``DEFAULT_CPUS``.
        agent: address of a machine with an agent, ``HOST:PORT`` or ``ssh:HOST``; its token is in
            the environment, as ``PACKLIGHT_AGENT_TOKEN``.
        options: of every session.
        limit: samples at most, evenly spread.
        seconds: to spend on latency, which an agent's machine has.
        seed: of the bootstrap.
        out: JSON file for the record. What was measured is saved beside it as it comes, so that
            the same call resumes; nothing is saved by default.
        progress: told what is being done.

    Raises:
        DeviceError: a processor or an agent cannot be used.
        InputError: the model, the task or ``out`` cannot be used.
    """
    targets = _targets(cpus, agent)
    journal_file = None
    if out is not None:
        check_output_path(out)
        journal_file = out.with_name(f"{out.name}{UNFINISHED}")
    with at_hand(model) as (opened,):
        data = evenly_spread_subset(task_for(task, opened.model), limit)
        reference = Reference(opened.model, data, options)
        content = _file_bytes(opened)
        subject = Subject(opened.model, content, reference, options, seconds, seed)
        journal = Journal(journal_file)
        results = []
        for target in targets:
            with target.open(journal) as remote:
                results.append(measure_there(subject, target, remote, progress))
    record = Portability(
        model=opened.model.name,
        digest=opened.model.digest,
        task=data.name,
        metric=data.metric.name,
        n=len(data.samples),
        session=options,
        here=machine(),
        value=results[0].here,
        processors=tuple(measured.result for measured in results),
        seed=seed,
    )
    if out is not None and journal_file is not None:
        with replacing(out) as file:
            file.write(canonical(record).encode())
        journal_file.unlink(missing_ok=True)
    return record


def _targets(cpus: Sequence[str], agent: str) -> tuple[Target, ...]:
    """The machines that are asked for, each once."""
    chosen = tuple(dict.fromkeys(cpus))
    if not chosen and not agent:
        chosen = DEFAULT_CPUS
    targets = [cpu_target(name) for name in chosen]
    if agent:
        targets.append(agent_target(agent))
    return tuple(targets)


def _file_bytes(opened: Opened) -> bytes:
    """The file as it is; with its external data inside where it has some.

    Raises:
        ModelError: it is larger than a file of protobuf may be.
    """
    if len(stored_files(opened.path)) == 1:
        return opened.path.read_bytes()
    if file_size(opened.model.graph) > INLINE_LIMIT:
        raise ModelError(
            f"a model is sent to another machine as one file of at most 2 GB; '{opened.path.name}' "
            "is larger"
        )
    return to_bytes(opened.model)
