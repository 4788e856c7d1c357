"""Who may ask the server, and what its pages may do in a browser.

The server answers requests for its own host with its own token alone: without the first check a
page of another site could reach it under a name that it controls (DNS rebinding), and without the
second so could every user of this machine. Source: OWASP, "DNS rebinding" and "Cross-Site Request
Forgery Prevention".
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy: no inline script, and nothing from elsewhere."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
UNAUTHORIZED = (
    "This is packlight studio. Open the address that the command printed: it ends with a key.\n"
)
WRITES = frozenset({"POST", "PUT", "DELETE", "PATCH"})


def cookie_name(port: int) -> str:
    """Name of the cookie with the token; browsers share cookies between ports."""
    return f"packlight_{port}"


class Guard:
    """Checks host, token and origin of every request, and sets the headers of every answer.

    Args:
        app: that answers the requests which pass.
        hosts: that requests may name, with the port.
        token: that they must carry.
        port: of the server.
    """

    def __init__(self, app: App, hosts: frozenset[str], token: str, port: int) -> None:
        self.app = app
        self.hosts = hosts
        self.token = token
        self.port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                present = {name for name, _ in message.get("headers", [])}
                extra = [header for header in own if header[0] not in present]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        refusal = self.refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass; None for one that may."""
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self.hosts:
            return PlainTextResponse("This server does not answer for that host.\n", 421)
        if self.is_foreign(scope["method"], headers):
            return PlainTextResponse("This request comes from another site.\n", 403)
        in_address = self.token_in_address(scope)
        token = in_address
        if token is None:
            token = self.token_in_headers(headers)
        if not self.matches(token):
            return PlainTextResponse(UNAUTHORIZED, 401)
        if in_address is not None and scope["path"] == "/":
            return self.welcome()
        return None

    def is_foreign(self, method: str, headers: Headers) -> bool:
        """Tell whether a browser sent the request from a page of another site."""
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.hosts}:
            return True
        site = headers.get("sec-fetch-site", "none")
        return method in WRITES and site not in ("none", "same-origin")

    def welcome(self) -> Response:
        """The answer to the address with the token: keep it in a cookie, and hide it."""
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            cookie_name(self.port), self.token, httponly=True, samesite="strict", path="/"
        )
        return answer

    def token_in_address(self, scope: Scope) -> str | None:
        """The token of the query; None where there is none."""
        values = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return next(iter(values), None)

    def token_in_headers(self, headers: Headers) -> str:
        """The token of the cookie or of the authorization; empty where there is none."""
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return value
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return ""
        morsel = cookies.get(cookie_name(self.port))
        if morsel is None:
            return ""
        return morsel.value

    def matches(self, token: str) -> bool:
        """Compare with the token in constant time."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())
