"""A real Chromium for tests of pages: Debian's (`apt install chromium`), through Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; the test is skipped where it or Playwright is absent."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        # In containers, there is no sandbox to be had for root, and /dev/shm is small.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@contextmanager
def watched(
    browser: Any, address: str, expected: tuple[str, ...] = (), **context: Any
) -> Iterator[Any]:
    """A page of its own at `address`; fails if it asks another host or its console has an error
    that does not begin with one of `expected`."""
    with browser.new_context(**context) as own:
        page, errors, hosts = own.new_page(), [], set()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda said: errors.append(said.text) if said.type in ("error", "warning") else None,
        )
        own.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.goto(address)
        yield page
        assert [error for error in errors if not error.startswith(expected or "\0")] == []
        assert hosts <= {urlsplit(address).netloc, ""}, hosts
