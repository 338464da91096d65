"""Small studies with real images, and the real server over them, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
ARMS = ("L1", "L1+cGAN")


def paint(folder: Path, count: int, size: tuple[int, int] = (24, 32)) -> Path:
    """`count` noisy images per side: real/, l1/ (flat, so PNG makes them smaller), cgan/."""
    random = np.random.default_rng(0)
    for side, spread in (("real", 40), ("l1", 0), ("cgan", 25)):
        (folder / side).mkdir(parents=True)
        for i in range(count):
            pixels = 128 + spread * random.standard_normal((*size, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / side / f"{i:03d}.png")
    return folder


def arguments(images: Path) -> list[str]:
    """The options of `serve` for the folders that `paint` made."""
    folders = (images / "l1", images / "cgan")
    arms = [f"--arm={arm}={folder}" for arm, folder in zip(ARMS, folders, strict=True)]
    return [f"--real={images / 'real'}", *arms]


class ServerProcess:
    """`python -m eval.study serve`, killed and started again at will on one port."""

    def __init__(self, command: list[str]) -> None:
        self._command = [sys.executable, "-m", *command]
        self._process: subprocess.Popen[str] | None = None
        self.port, self.lines = 0, [""]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def token(self) -> str:
        return next(found[1] for line in self.lines if (found := re.search("token=(.+)", line)))

    def start(self) -> None:
        """Returns when the server says its address."""
        command = [*self._command, "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout
        self.lines = []
        for line in self._process.stdout:
            self.lines.append(line.strip())
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/$", line):
                self.port = int(found[1])
            if "Ctrl-C" in line:
                return
        raise AssertionError(f"the server ended with {self._process.wait()}: {self.lines}")

    def kill(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Ends it as Ctrl-C does; the exit status."""
        assert self._process
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(30)

    def cpu_seconds(self) -> float:
        """Processor time of the server so far."""
        assert self._process
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str]) -> Iterator[ServerProcess]:
    server = ServerProcess(command)
    try:
        server.start()
        yield server
    finally:
        if server._process and server._process.poll() is None:
            server.kill()
