"""ASGI middleware for every route: only GET and HEAD, only accepted host names, security headers in every answer.

Host names are checked by Starlette's TrustedHostMiddleware: without it, a foreign page whose name resolves to this machine (DNS
rebinding) could read the served files.
"""

import re
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ariel_lib.errors import SpectraMindError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
ALL_INTERFACES = ("0.0.0.0", "::", "")  # addresses to listen on, which are no host names
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A dashboard contains scripts: in the sandbox they have an opaque origin and cannot fetch anything.
SANDBOX_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# Defaults: a route that sets one of these keeps its own value.
SECURITY_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-cache",
}


def under_prefix(app: ASGIApp, prefix: str) -> ASGIApp:
    """The app at /prefix/ as well as at /: for a proxy that passes the path prefix on. Raises SpectraMindError for another form of prefix.

    /prefix itself is redirected to /prefix/, since the page's addresses are relative.
    """
    if not re.fullmatch(r"(?:/[\w.~-]+)+", prefix):
        raise SpectraMindError(f"path prefix {prefix!r}: expected a form such as /ariel, without a slash at the end")

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == prefix:
            await RedirectResponse(f"{prefix}/")(scope, receive, send)
        else:
            await app(scope | {"path": path.removeprefix(prefix)} if path.startswith(f"{prefix}/") else scope, receive, send)

    return answer


def protect(app: ASGIApp, hosts: Iterable[str] = ()) -> "ReadOnlyMiddleware":
    """The app with the checks of methods and host names in front of it.

    hosts  accepted names or addresses besides those of the loopback; '*.lab.example' stands for all names of a domain

    Raises SpectraMindError for any other use of '*'.
    """
    names = [_bracketed(host) for host in hosts if host not in ALL_INTERFACES]
    for name in names:
        if "*" in name.removeprefix("*."):
            raise SpectraMindError(f"host name {name!r}: expected a name, an address or *.DOMAIN. Give every name by itself.")
    return ReadOnlyMiddleware(TrustedHostMiddleware(app, allowed_hosts=[*LOOPBACK, *names], www_redirect=False))


def _bracketed(host: str) -> str:
    """An IPv6 address as a Host header writes it."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


class ReadOnlyMiddleware:
    """Answers GET and HEAD, refuses other methods with 405, closes websockets, and adds SECURITY_HEADERS to every answer."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            answer = _choose_app(scope, self.app)
            # HEAD is answered as GET; the server, which sees HEAD, sends the headers alone.
            await answer(scope | {"method": "GET"}, receive, _add_headers(send))


def _choose_app(scope: Scope, app: ASGIApp) -> ASGIApp:
    """The app itself, or an error response for a request that is not passed on to it."""
    if scope["method"] not in ("GET", "HEAD"):
        return JSONResponse({"error": "this server is read only: GET and HEAD"}, 405, {"allow": "GET, HEAD"})
    # TrustedHostMiddleware reads the first of several Host headers, a proxy in front perhaps another.
    if sum(name == b"host" for name, _ in scope["headers"]) > 1:
        return JSONResponse({"error": "expected one Host header, found several"}, 400)
    return app


def _add_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
