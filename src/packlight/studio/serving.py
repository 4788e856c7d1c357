"""Listen on a port of this machine, and serve the studio until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from packlight.errors import InputError
from packlight.studio.server import Studio
from packlight.studio.workspace import Settings, Workspace

BACKLOG = 64
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  refused below


def serve(settings: Settings, host: str, port: int, started: Callable[[Studio], None]) -> None:
    """Serve the studio until the process is interrupted.

    Args:
        settings: what to show.
        host: name or address to listen on.
        port: to listen on; 0 for a free one.
        started: called with the studio once it listens.

    Raises:
        InputError: the project cannot be opened, or the address cannot be used.
    """
    listener = listen(host, port)
    with listener:
        studio = Studio(Workspace(settings), listener.getsockname()[1], host)
        try:
            config = uvicorn.Config(
                studio.app(),
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                lifespan="off",
            )
            started(studio)
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            studio.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the address cannot be used.
    """
    if host in EVERYWHERE:
        raise InputError(
            "name the one address that browsers use, as --host 192.168.1.5: every request is "
            "checked against it"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(f"the studio cannot listen on {host}, port {port}: {error}") from error
    return listener
