"""A real Ray cluster of two nodes on this machine, the second in a network of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HEAD, OTHER = "10.213.0.1", "10.213.0.2"
NETWORK = "pix2pix-ray"


def missing() -> str:
    """Why no such cluster can be started here; empty where it can."""
    if os.getuid():
        return "a network namespace needs root"
    if shutil.which("ip") is None:
        return "no ip command (Debian: iproute2)"
    done = subprocess.run(["ip", "netns", "add", f"{NETWORK}-try"], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "delete", f"{NETWORK}-try"], capture_output=True)
    return f"no network namespaces here: {done.stderr.strip()}" if done.returncode else ""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class RayCluster:
    """The head in the network of this machine, the other node behind a cable that can be cut."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as one:
            self.port = one.getsockname()[1]
        self.address = f"{HEAD}:{self.port}"
        self.nodes: dict[str, subprocess.Popen] = {}
        # As `ray start` does by default where a token exists; commands have to find out themselves.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        self.environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        # A node that is silent for a quarter of a minute is lost; by default it takes minutes.
        for name, value in (("period_ms", 1000), ("timeout_ms", 3000), ("failure_threshold", 4)):
            self.environment[f"RAY_health_check_{name}"] = str(value)
        self.hidden = folder / "hidden"
        """In its place the second node sees an empty folder of its own, its TMPDIR."""
        self.hidden.mkdir()

    def start(self, cpus: int = 1) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "delete", NETWORK)
        ip("netns", "add", NETWORK)
        ip("link", "add", "p2p-head", "type", "veth", "peer", "name", "p2p-other")
        ip("link", "set", "p2p-other", "netns", NETWORK)
        ip("addr", "add", f"{HEAD}/24", "dev", "p2p-head")
        ip("link", "set", "p2p-head", "up")
        for words in (
            ("addr", "add", f"{OTHER}/24", "dev", "p2p-other"),
            ("link", "set", "p2p-other", "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", NETWORK, *words)
        self._node(HEAD, "--head", f"--port={self.port}", "--include-dashboard=false", cpus=cpus)
        self.start_other(cpus)

    def start_other(self, cpus: int = 1, path: str = "") -> None:
        """Start the second node, also once more after it was killed; `path`: its PYTHONPATH."""
        self._node(OTHER, f"--address={self.address}", cpus=cpus, path=path)
        deadline = time.monotonic() + 120
        while len(self.alive()) < 2:
            assert time.monotonic() < deadline, (self.folder / f"{OTHER}.log").read_text()[-2000:]
            time.sleep(0.5)

    def alive(self) -> list[str]:
        """The addresses of the nodes that Ray takes for alive."""
        code = (
            "import ray, sys\n"
            f"ray.init({self.address!r}, log_to_driver=False, logging_level='ERROR')\n"
            "print(*[n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']])\n"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        return done.stdout.split()

    def pids_of_other(self) -> list[int]:
        """The processes of the second node."""
        found = subprocess.run(["ip", "netns", "pids", NETWORK], capture_output=True, text=True)
        return list(map(int, found.stdout.split()))

    def cut(self) -> None:
        """Pull the cable between the two nodes."""
        ip("link", "set", "p2p-head", "down")

    def mend(self) -> None:
        ip("link", "set", "p2p-head", "up")

    def kill_other(self) -> None:
        """SIGKILL for everything on the second node, as a power cut does, until Ray knows it."""
        for pid in self.pids_of_other():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nodes.pop(OTHER).wait()
        deadline = time.monotonic() + 300
        while self.alive() != [HEAD]:
            assert time.monotonic() < deadline
            time.sleep(1)

    def stop(self) -> None:
        for node in reversed(self.nodes.values()):
            node.terminate()
        for node in self.nodes.values():
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)
        if (path := shutil.which("ip")) is not None:
            subprocess.run([path, "netns", "delete", NETWORK], capture_output=True)
            subprocess.run([path, "link", "delete", "p2p-head"], capture_output=True)

    def _node(self, address: str, *arguments: str, cpus: int, path: str = "") -> None:
        cover = f'mount -t tmpfs none {self.hidden} && exec "$@"'
        place = ["ip", "netns", "exec", NETWORK, "sh", "-c", cover, "sh"]
        place = place if address == OTHER else []
        program = Path(sys.executable).with_name("ray")
        environment = self.environment | {"PYTHONPATH": path}
        environment |= {"TMPDIR": str(self.hidden)} if address == OTHER else {}
        with open(self.folder / f"{address}.log", "ab") as log:
            self.nodes[address] = subprocess.Popen(
                [
                    *(*place, str(program), "start", "--block", f"--node-ip-address={address}"),
                    *(f"--num-cpus={cpus}", "--num-gpus=0", "--object-store-memory=100000000"),
                    f"--temp-dir={self.folder}/{address.rpartition('.')[2]}",
                    *arguments,
                ],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        if address == HEAD:
            deadline = time.monotonic() + 120
            while HEAD not in self.alive():
                assert time.monotonic() < deadline and self.nodes[HEAD].poll() is None, (
                    self.folder / f"{address}.log"
                ).read_text()[-2000:]
                time.sleep(0.5)
