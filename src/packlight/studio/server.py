"""Routes of the studio."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from threading import Lock

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from packlight.errors import InputError
from packlight.studio.answers import (
    PAGES,
    job_request,
    name_of,
    predict,
    saved_recipe,
    saved_view,
)
from packlight.studio.assets import INDEX, served_file
from packlight.studio.encoding import to_text
from packlight.studio.jobs import Jobs
from packlight.studio.pages import Problem
from packlight.studio.security import App, Guard
from packlight.studio.workspace import Workspace

JSON = "application/json"
BAD_REQUEST = 400
NOT_FOUND = 404
MOST_BODY_BYTES = 1_000_000
LONGEST_QUERY = 16_000
EVENT_SECONDS = 0.4
"""Time between two looks at the project."""

KEEP_ALIVE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Session:
    """What the browser needs to share an address.

    Attributes:
        address: of the server, with its token.
    """

    address: str


class Studio:
    """The studio of a workspace.

    Args:
        space: that pages show.
        port: of the server.
        host: that the server listens on.
        token: that requests must carry; a random one by default.
    """

    def __init__(
        self, space: Workspace, port: int, host: str = "127.0.0.1", token: str = ""
    ) -> None:
        self.space = space
        self.host = host
        self.port = port
        self.token = token or secrets.token_urlsafe(24)
        self.jobs = Jobs(self.count_change)
        self.changes = 0
        self.lock = Lock()
        self.stopped = False

    def count_change(self) -> None:
        """Let pages know that a job changed."""
        with self.lock:
            self.changes += 1

    @property
    def address(self) -> str:
        """The address to open, with the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/?token={self.token}"

    def close(self) -> None:
        """Stop jobs and close the project."""
        self.stopped = True
        self.jobs.close()
        self.space.close()

    def app(self) -> App:
        """The application, with its guard."""
        routes = [
            Route("/", self.index),
            Route("/web/{path:path}", self.file),
            Route("/api/frame", self.answer(lambda _: self.space.frame())),
            Route("/api/session", self.answer(lambda _: Session(self.address))),
            Route("/api/events", self.events),
            Route("/api/jobs", self.answer(lambda _: self.jobs.pages())),
            Route("/api/jobs", self.take(self.start_job), methods=["POST"]),
            Route("/api/jobs/cancel", self.take(self.cancel_job), methods=["POST"]),
            Route("/api/predict", self.take(lambda body: predict(self.space, body)),
                  methods=["POST"]),
            Route("/api/views", self.answer(lambda _: self.space.views())),
            Route("/api/views", self.take(self.save_view), methods=["POST"]),
            Route("/api/recipes", self.answer(lambda _: self.space.recipes())),
            Route("/api/recipes", self.take(self.save_recipe), methods=["POST"]),
            *(
                Route(f"/api/{name}", self.answer(page_of(self.space, name)))
                for name in PAGES
            ),
        ]  # fmt: skip
        return Guard(Starlette(routes=routes), self.hosts(), self.token, self.port)

    def hosts(self) -> frozenset[str]:
        """Hosts that requests may name."""
        names = {self.host, "127.0.0.1", "localhost", "[::1]"}
        return frozenset(f"{name}:{self.port}" for name in names)

    async def index(self, request: Request) -> Response:
        """The page that loads all others."""
        del request
        return file_response(INDEX)

    async def file(self, request: Request) -> Response:
        """A file of the front end."""
        return file_response(request.path_params["path"])

    def answer(self, make: Callable[[dict[str, str]], object]) -> Endpoint:
        """A route that gives a record as JSON."""

        async def respond(request: Request) -> Response:
            if len(request.url.query) > LONGEST_QUERY:
                return json_response(Problem("this address is too long"), BAD_REQUEST)
            query = dict(request.query_params)
            return await run_in_threadpool(guarded, lambda: make(query))

        return respond

    def take(self, make: Callable[[dict[str, object]], object]) -> Endpoint:
        """A route that reads a JSON object and gives a record as JSON."""

        async def respond(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0] != JSON:
                return json_response(Problem("a request has a body of application/json"), 415)
            try:
                content = await body_of(request)
            except InputError as error:
                return json_response(Problem(str(error)), BAD_REQUEST)
            return await run_in_threadpool(guarded, lambda: make(content))

        return respond

    def start_job(self, content: dict[str, object]) -> object:
        """Start the job that a request asks for."""
        request, title, found = job_request(self.space, content)
        return self.jobs.start(request, title, found.predicted if found else {})

    def cancel_job(self, content: dict[str, object]) -> object:
        """Stop the job that a request names."""
        return self.jobs.cancel(str(content.get("id", "")))

    def save_view(self, content: dict[str, object]) -> object:
        """Save a named view, or delete it where its address is empty."""
        self.space.save_view(saved_view(content))
        self.count_change()
        return self.space.views()

    def save_recipe(self, content: dict[str, object]) -> object:
        """Save a named recipe."""
        name_of(content)
        self.space.save_recipe(saved_recipe(self.space, content))
        self.count_change()
        return self.space.recipes()

    async def events(self, request: Request) -> Response:
        """Server-sent events: one whenever the project or a job changed."""
        return StreamingResponse(self.changes_until(request), media_type="text/event-stream")

    async def changes_until(self, request: Request) -> AsyncIterator[str]:
        """Events until the browser leaves."""
        shown = (-1.0, -1)
        silent = 0.0
        while not self.stopped and not await request.is_disconnected():
            state = (await run_in_threadpool(self.space.version), self.changes)
            if state != shown:
                silent = 0.0
                jobs = to_text(self.jobs.pages())
                project = json.dumps(state[0] != shown[0])
                shown = state
                yield f'data: {{"project": {project}, "jobs": {jobs}}}\n\n'
            elif silent >= KEEP_ALIVE_SECONDS:
                silent = 0.0
                yield ": still here\n\n"
            silent += EVENT_SECONDS
            await asyncio.sleep(EVENT_SECONDS)


Endpoint = Callable[[Request], Awaitable[Response]]


def page_of(space: Workspace, name: str) -> Callable[[dict[str, str]], object]:
    """The function that answers for one page."""
    return lambda query: PAGES[name](space, query)


def guarded(make: Callable[[], object]) -> Response:
    """A record as a response; bad input as a sentence."""
    try:
        return json_response(make())
    except InputError as error:
        return json_response(Problem(str(error)), BAD_REQUEST)


async def body_of(request: Request) -> dict[str, object]:
    """The JSON object of a request.

    Raises:
        InputError: it is too long, or no object.
    """
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY_BYTES:
                raise InputError(f"a request has at most {MOST_BODY_BYTES:,} bytes")
    except ClientDisconnect as error:
        raise InputError("the request broke off") from error
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("the body of a request is a JSON object") from error
    if not isinstance(content, dict):
        raise InputError("the body of a request is a JSON object")
    return content


def json_response(record: object, status: int = 200) -> Response:
    """A record as JSON."""
    return Response(to_text(record).encode("utf-8", "replace"), status, media_type=JSON)


def file_response(path: str) -> Response:
    """A file of the front end."""
    served = served_file(path)
    if served is None:
        return json_response(Problem("there is no such file"), NOT_FOUND)
    text, kind = served
    return Response(text, media_type=kind)
