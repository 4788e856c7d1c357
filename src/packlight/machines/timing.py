"""Time the set of a device on another machine."""

from __future__ import annotations

from packlight.benchmarking.designs import Timed
from packlight.benchmarking.timing import LEAST, MOST, Schedule, Timer
from packlight.machines.remote import RemoteMachine, RemoteModel
from packlight.model import to_bytes


def remote_timer(remote: RemoteMachine) -> Timer:
    """A timer of models on another machine."""

    def timer(model: Timed, schedule: Schedule) -> list[float]:
        drawn, feeds = model.draw()
        opened = RemoteModel(remote, to_bytes(drawn), schedule.options)
        return opened.time([feeds], {}, seconds=schedule.run_seconds, least=LEAST, most=MOST)

    return timer
