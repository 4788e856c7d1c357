"""Other machines that run a model: agents, emulated processors, and kernels without VNNI."""

from packlight.machines.connection import Connection
from packlight.machines.journal import Journal
from packlight.machines.remote import RemoteMachine, RemoteSession
from packlight.machines.targets import CPUS, Target, agent_target, cpu_target

__all__ = [
    "CPUS",
    "Connection",
    "Journal",
    "RemoteMachine",
    "RemoteSession",
    "Target",
    "agent_target",
    "cpu_target",
]
