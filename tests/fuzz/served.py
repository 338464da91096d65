"""A server that answers with any bytes, and the reader of downloads before it."""

from __future__ import annotations

import functools
import socket
import threading
from pathlib import Path

from hypothesis import strategies as st
from mutations import mutated

BODY = b"0123456789" * 10
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: \"a\"\r\n\r\n" + BODY,
    b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + BODY + b"\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n" + BODY,
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n" + BODY,
    b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n" + BODY,
    b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-99/100\r\n\r\n" + BODY,
    b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
    b"HTTP/1.1 416 No\r\n\r\n",
    b"HTTP/1.1 503 \x1b[31mBusy\r\nRetry-After: 9\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"",
)  # fmt: skip


def answers() -> st.SearchStrategy[bytes]:
    return mutated(ANSWERS)


class _Server:
    """Sends `answer` to whoever connects, and closes."""

    def __init__(self) -> None:
        self.answer = b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/archive"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            with connection:
                try:
                    asked = b""
                    while b"\r\n\r\n" not in asked:
                        more = connection.recv(65536)
                        if not more:
                            break
                        asked += more
                    connection.sendall(self.answer)
                except OSError:
                    continue


@functools.cache
def server() -> _Server:
    return _Server()


def read_download(path: Path) -> None:
    """Fetches what the server sends; 100 bytes are expected."""
    from pix2pix.data.fetch import fetch

    target = path.with_name("got")
    fetch(server().url, target, lambda line: None, size=100, pause=0.0)
    assert target.stat().st_size == 100 and not path.with_name("got.part").exists()


def serve(path: Path) -> None:
    server().answer = path.read_bytes()
