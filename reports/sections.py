"""A part of a page that Markdown and HTML show alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A paragraph, a table and a list of plain text, each of which may be empty."""

    title: str
    text: str = ""
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    lines: Sequence[str] = ()

    @property
    def anchor(self) -> str:
        """Its address within an HTML page: `order-of-the-arms`."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")
