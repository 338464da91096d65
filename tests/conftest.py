"""What every test shares: one thread, so that results do not depend on the machine."""

import os
import signal
import sys
import tempfile
from pathlib import Path

# A shell lets what it starts with & ignore Ctrl-C, and so would the commands that are tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

# No score depends on what lies in this machine's torch hub, but in the tests that ask for it. The
# first process notes it; those of pytest-xdist inherit the note.
os.environ.setdefault(
    "WEIGHTS_OF_THIS_MACHINE",
    os.environ.get("TORCH_HOME")
    or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch"),
)
os.environ["TORCH_HOME"] = os.path.join(tempfile.gettempdir(), "no-pretrained-weights")

sys.path.insert(0, str(Path(__file__).parent))  # for `streets`

from typing import Any

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code. What is tried is
# the same in every run of CI; anywhere else it is drawn anew.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


FIGURES: list[str] = []
FIRST = (
    "tests/faults/",
    "tests/test_run_ablations.py",
    "tests/test_notebook.py",
    "tests/test_wheel.py",
)
"""What takes longest: begun first where tests run in several processes, each in one of them."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is `long`, unless -m asks for it (make study); tests/faults decides itself."""
    if "long" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("long")]
        long = [item for item in long if not item.nodeid.startswith(FIRST[0])]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file in one process, for what they share; those of faults/ too."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next(filter(nodeid.startswith, FIRST), nodeid.partition("::")[0])

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(scope="session")
def figures() -> list[str]:
    """Lines for the end of the test run."""
    return FIGURES


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a process of pytest-xdist's: hand the figures to the one that prints them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    FIGURES.extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that docs/reliability.md quotes."""
    if FIGURES:
        terminalreporter.section("figures of the fault tests")
        for line in FIGURES:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)
