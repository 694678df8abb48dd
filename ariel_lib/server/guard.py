"""What every answer has to pass: GET and HEAD only, names of this machine only, and headers that forbid the page the rest.

Written at the level of ASGI, so that it stands before any route.
"""

import json
from collections.abc import Iterable

LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")
ANYWHERE = ("0.0.0.0", "::", "")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A dashboard brings its own scripts: it runs as a stranger, without this origin, and can fetch nothing.
SANDBOX_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """Wraps an ASGI app. hosts: names besides this machine's own that a request may ask for."""

    def __init__(self, app, hosts: Iterable[str] = ()):
        self.app = app
        self.hosts = {*LOCAL, *(host.casefold() for host in hosts if host not in ANYWHERE)}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _refuse(send, 405, "this page is read only: GET and HEAD", [(b"allow", b"GET, HEAD")])
        elif _host(scope) not in self.hosts:  # a name that an attacker's page had rebound to this machine
            await _refuse(send, 421, "this server does not answer to that name; `serve --name NAME` adds one")
        else:
            await self.app(scope | {"method": "GET"}, receive, _guarded(send, head=scope["method"] == "HEAD"))


def _host(scope) -> str:
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(given) != 1:
        return "?"
    name, colon, port = given[0].rpartition(":")
    return (name if colon and port.isdigit() and name != ":" and not name.endswith(":") else given[0]).casefold()


def _guarded(send, *, head: bool):
    async def guarded(message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            rest = HEADERS | {"content-security-policy": PAGE_POLICY, "x-frame-options": "DENY", "cache-control": "no-cache"}
            headers += [(name.encode(), value.encode()) for name, value in rest.items() if name.encode() not in present]
            message = message | {"headers": headers}
        elif head and message["type"] == "http.response.body":
            message = message | {"body": b""}
        await send(message)

    return guarded


async def _refuse(send, status: int, said: str, headers: list | None = None) -> None:
    body = json.dumps({"error": said}).encode()
    about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(headers or [])]
    guarded = _guarded(send, head=False)
    await guarded({"type": "http.response.start", "status": status, "headers": about})
    await guarded({"type": "http.response.body", "body": body})
