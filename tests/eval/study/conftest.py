"""A study that is served, for the tests of its pages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from served_study import ServerProcess, arguments, paint, running


@pytest.fixture(scope="module")
def study_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A study of 3 practice trials and 2 more; `out` is its folder."""
    folder = tmp_path_factory.mktemp("study")
    images = paint(folder / "images", 20)
    options = [*arguments(images), "--practice=3", "--trials=2", "--seed=1"]
    with running(["eval.study", "serve", f"--out={folder / 'study'}", *options]) as server:
        server.out = folder / "study"  # type: ignore[attr-defined]
        yield server
