"""What the project's web pages share: security headers, bounded requests, serving."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pix2pix.common.errors import UserError

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob: data:; script-src 'self';"
    " style-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every response: pages load nothing from another host, and nothing is kept in a cache."""


def make_app(routes: list[BaseRoute], most_bytes: int) -> ASGIApp:
    """An application of these routes. Errors are JSON, `{"error": text}`; a body of more than
    `most_bytes` is refused (413) before it is read."""
    return _Guard(
        Starlette(routes=routes, exception_handlers={HTTPException: _refusal}), most_bytes
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, port 0 for any free one; UserError if it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: {error}") from None


def address(listener: socket.socket) -> str:
    """`http://127.0.0.1:8000/`"""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until Ctrl-C (KeyboardInterrupt) or SIGTERM. Addresses of clients are not logged."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listener])


class _Guard:
    """Adds HEADERS and bounds the bodies of requests."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, self._limited(receive), _with_headers(send))

    def _limited(self, receive: Receive) -> Callable[[], Awaitable[Message]]:
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, f"more than {self._most:,} bytes")
            return message

        return limited


def _with_headers(send: Send) -> Send:
    added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return sending


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = json.dumps({"error": error.detail})
    return Response(text, error.status_code, error.headers, media_type="application/json")
