"""A real Slurm of two nodes on this machine, without accounting, as many labs have it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "unshare")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=10
MinJobAge=30
MaxArraySize=3
SlurmctldPort={ports[0]}
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"


def missing() -> str:
    """Why no Slurm can be started here; empty where it can."""
    if os.getuid():
        return "Slurm's daemons need root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return f"Debian's slurm-wlm and munge: no {', '.join(absent)}" if absent else ""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class SlurmCluster:
    """Started by `start`, ended by `stop`; nothing of it outlives them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hidden = folder / "hidden"
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self.daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        folder = self.folder
        (folder / "state").mkdir()
        (folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (folder / "munge.key").chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(host=host, folder=folder, ports=free_ports(3))
        (folder / "slurm.conf").write_text(text)
        places = [f"--{n}={folder}/munge.{n.partition('-')[0]}" for n in ("socket", "key-file")]
        places += [f"--{n}-file={folder}/munge.{n}" for n in ("pid", "log", "seed")]
        self._daemon("munged", "--foreground", "--force", *places)
        while not (folder / "munge.socket").exists():
            time.sleep(0.1)
            assert self.daemons[0].poll() is None, self.log("munged")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", "n1")
        self.hidden.mkdir()  # a folder in whose place n2 sees an empty one of its own
        cover = f"mount -t tmpfs none {self.hidden} && exec slurmd -D -N n2"
        self._daemon("unshare", "--mount", "sh", "-c", cover)
        deadline = time.monotonic() + 60
        while self("sinfo", "-ho%T").split() != ["idle"]:
            assert time.monotonic() < deadline, self.log("slurmctld") + self.log("slurmd")
            time.sleep(0.5)

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def log(self, name: str) -> str:
        logs = sorted(self.folder.glob(f"{name}*.log"))
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in logs)

    def __call__(self, *command: str) -> str:
        """What a command of Slurm's prints; empty where it fails."""
        environment = os.environ | self.environment
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return done.stdout if done.returncode == 0 else ""

    def _daemon(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}-{len(self.daemons)}.log", "wb") as log:
            self.daemons.append(
                subprocess.Popen(
                    [name, *arguments],
                    stdout=log,
                    stderr=log,
                    env=os.environ | self.environment | {"PATH": PATH},
                    start_new_session=True,
                )
            )
