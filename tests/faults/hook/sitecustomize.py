"""Counts what a suite's processes do to files, and strikes at the n-th time.

Python imports this module at its start in every process whose PYTHONPATH names this folder: the
launcher, its workers and the mirror, none of which is changed for it. `$FAULTS_FOLDER/control` says
what to do (plan.json) and receives what happened (events.log, pids, fired.json). An event is an
opening for writing, renaming, removing, locking … of a file below `$FAULTS_FOLDER`, before and
after it is done where Python lets us stand on both sides.
"""

import _thread
import json
import os
import re
import resource
import signal
import sys
import time

ROLES = {"run_ablations.py": "launcher", "experiments.run.worker": "worker"}
ROLES |= {"experiments.tracking.mirror": "mirror"}
PHASES = (
    ("decode", r"runs/cache/"),
    ("record", r"runs/suites/"),
    ("scorer", r"runs/scorers/"),
    ("reference", r"runs/references/"),
    ("checkpoint", r"runs/cells/.*checkpoint"),
    ("generator", r"runs/cells/.*generator"),
    ("translate", r"runs/cells/.*translations"),
    ("score", r"runs/cells/.*(scores\.json|per_image)"),
    ("train", r"runs/cells/"),
    ("mirror", r"mlflow|mlruns"),
    ("report", r"reports/"),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATH_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "sqlite3.connect")


def role_of(words):
    """launcher, worker, mirror or None, from a command line."""
    for word in words[1:4]:
        role = ROLES.get(os.path.basename(word))
        if role:
            return role
    return None


class Watcher:
    """Counts this study's events and strikes when the plan says so."""

    def __init__(self, folder, role):
        self.folder, self.role = os.path.abspath(folder), role
        self.control = os.path.join(self.folder, "control")
        self.busy = set()  # threads that are in here: what we do ourselves is no event
        # Opened before the audit hook stands; appending gives every process the common count.
        self.log = self._append("events.log")
        self.count = self._append("count")
        with open(os.path.join(self.control, "plan.json"), encoding="utf-8") as file:
            self.plan = json.load(file)
        os.write(self._append("pids"), f"{os.getpid()} {role}\n".encode())

    def _append(self, name):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(os.path.join(self.control, name), flags, 0o644)

    def see(self, event, path):
        me = _thread.get_ident()
        if me in self.busy or isinstance(path, int) or path is None:
            return
        self.busy.add(me)
        try:
            self._see(event, os.path.join(os.getcwd(), os.fsdecode(path)))
        except OSError:
            pass  # the working directory is gone: nothing of ours lies there
        finally:
            self.busy.discard(me)

    def _see(self, event, path):
        if not path.startswith(self.folder + os.sep):
            return
        short = path[len(self.folder) + 1 :]
        phase = next((name for name, form in PHASES if re.match(form, short)), None)
        if phase is None:
            return
        os.write(self.log, f"{self.role} {phase} {event} {short}\n".encode())
        plan = self.plan
        if plan.get("copy_to") and event == "renamed" and re.search("checkpoint[^/]*$", short):
            self._copy(path, plan["copy_to"])
        if plan.get("phase") != phase or plan.get("only", event) != event:
            return
        if not re.search(plan.get("path", ""), short):
            return
        os.write(self.count, b".")
        if os.lseek(self.count, 0, os.SEEK_CUR) == plan["count"]:
            self._strike(plan, short)

    def _copy(self, path, folder):
        """Keep a checkpoint: its file is replaced, never written again."""
        cell = os.path.basename(os.path.dirname(path))
        name = f"{cell}-{time.monotonic_ns()}-{os.path.basename(path)}"
        os.link(path, os.path.join(folder, name))

    def _strike(self, plan, short):
        fired = {"time": time.time(), "role": self.role, "pid": os.getpid(), "path": short}
        with open(os.path.join(self.control, "fired.json"), "w", encoding="utf-8") as file:
            json.dump(fired, file)
        how, others = plan["how"], self._processes()
        if how in ("tear", "limit"):
            # The kernel ends the process in the middle of a write, when the file has so many
            # bytes; or, as Python has it, refuses the write.
            if how == "tear":
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (plan["bytes"], resource.RLIM_INFINITY))
            return
        if how == "run":
            os.spawnlp(os.P_WAIT, "sh", "sh", "-c", plan["command"])
            return
        if how in ("TERM", "INT"):
            for pid, role in others:
                if role == "launcher":
                    os.kill(pid, getattr(signal, f"SIG{how}"))
            return
        if how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        wanted = {"all": ("launcher", "worker", "mirror"), "self": (self.role,)}.get(how, (how,))
        for pid, role in others:
            if role in wanted and pid != os.getpid() and how != "self":
                os.kill(pid, signal.SIGKILL)
        if self.role in wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    def _processes(self):
        """(pid, role) of this study's processes that still run."""
        found = []
        mark = f"FAULTS_FOLDER={self.folder}".encode()
        with open(os.path.join(self.control, "pids"), encoding="utf-8") as file:
            for line in file:
                pid, role = line.split()
                try:
                    with open(f"/proc/{pid}/environ", "rb") as environ:
                        if mark in environ.read().split(b"\0"):
                            found.append((int(pid), role))
                except OSError:
                    continue
        return found


def install(watcher):
    def hook(event, arguments):
        if event == "open":
            path, _, flags = arguments
            if flags & WRITING:
                watcher.see("open", path)
        elif event in PATH_EVENTS:
            watcher.see(event, arguments[0])

    sys.addaudithook(hook)
    replace, fsync = os.replace, os.fsync

    def replace_and_tell(source, target, **options):
        replace(source, target, **options)
        watcher.see("renamed", target)

    def fsync_and_tell(file):
        path = os.readlink(f"/proc/self/fd/{file if isinstance(file, int) else file.fileno()}")
        watcher.see("before fsync", path)
        fsync(file)
        watcher.see("after fsync", path)

    os.replace, os.fsync = replace_and_tell, fsync_and_tell


if os.environ.get("FAULTS_FOLDER") and role_of(sys.orig_argv):
    install(Watcher(os.environ["FAULTS_FOLDER"], role_of(sys.orig_argv)))
