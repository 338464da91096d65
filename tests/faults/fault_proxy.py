"""A TCP proxy in front of an MLflow server that drops, delays, refuses or loses answers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from fault_study import PATIENCE

ERROR = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
)
MODES = ("pass", "drop", "delay", "error", "swallow")
"""Through; connections closed at once; a second late; answered 500; done, but the answer lost."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Proxy:
    """Passes connections on to a port as `mode` says; every request has a connection of its own."""

    def __init__(self, target: int) -> None:
        self.mode = "pass"
        self.seen = dict.fromkeys(MODES, 0)
        """Requests by the mode that they met."""
        self.lose: list[str] = []
        """Endings of addresses: the answer to the next request of each is lost, once."""
        self.lost: list[str] = []
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(60)
            request = read_request(client)
            mode = "swallow" if self._loses(request) else self.mode
            self.seen[mode] += 1
            if mode == "drop" or not request:
                return
            if mode == "error":
                client.sendall(ERROR)
                return
            if mode == "delay":
                time.sleep(1.0)
            with socket.create_connection(("127.0.0.1", self._target), timeout=60) as server:
                server.sendall(request)
                answered = False
                while part := server.recv(65536):
                    if mode == "swallow":
                        return  # the server has done it; nobody hears of it
                    client.sendall(part)
                    answered = True
                assert answered

    def _loses(self, request: bytes) -> bool:
        address = request.split(b" ", 2)[1].decode().partition("?")[0] if request else ""
        ending = next((one for one in self.lose if address.endswith(one)), None)
        if ending is None:
            return False
        self.lose.remove(ending)
        self.lost.append(ending)
        return True


def read_request(client: socket.socket) -> bytes:
    """A whole HTTP request, which then asks for its connection to be closed behind it."""
    content = b""
    while b"\r\n\r\n" not in content:
        part = client.recv(65536)
        if not part:
            return b""
        content += part
    head, _, body = content.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    length = next(
        (int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")),
        0,
    )
    while len(body) < length:
        part = client.recv(65536)
        if not part:
            return b""
        body += part
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body


class Server:
    """A real `mlflow server` on an SQLite file, and a proxy before it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.database, self.artifacts = folder / "server.db", folder / "artifacts"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
        self._log = folder / "server.txt"
        for _ in range(5):  # another process may take the port before the server does
            port = free_port()
            with open(self._log, "wb") as log:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                        *("--port", str(port), "--workers", "1"),
                        *("--backend-store-uri", f"sqlite:///{self.database}"),
                        *("--artifacts-destination", str(self.artifacts)),
                    ],
                    cwd=folder,
                    env=environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            if self._answers(port):
                break
            self._end()
        else:
            raise AssertionError(self._said())
        self.proxy = Proxy(port)
        self.uri = f"http://127.0.0.1:{self.proxy.port}"

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def _answers(self, port: int, seconds: float = 90) -> bool:
        """Wait until the server does; False where its port was taken by another."""
        deadline = time.monotonic() + seconds * PATIENCE
        while True:
            if self._process.poll() is not None or "address already in use" in self._said().lower():
                assert "address already in use" in self._said().lower(), self._said()
                return False
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/health", timeout=5 * PATIENCE
                ):
                    return True
            except OSError:
                assert time.monotonic() < deadline, self._said()
                time.sleep(0.2)

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        self.proxy.close()
        self._end()
