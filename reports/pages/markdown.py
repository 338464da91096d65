"""Plain text as Markdown that renders to the same text: sentences, lists and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reports.sections import Section

# The rules escape only what GitHub and CommonMark would interpret, so that the file itself reads
# well: `class_iou`, `A < B`, `R & D`, `1.0` and `#3` within a line stay as they are.
RULES = (
    (r"([\\`*\[\]|$])", r"\\\1"),  # `$` is mathematics on GitHub
    (r"(?<=\S)~|~(?!/)", r"\\~"),  # strikes out; `~/.cache` alone cannot
    (r"(?<![^\W_])_|_(?![^\W_])", r"\\_"),  # between letters or digits it is no emphasis
    (r"&(?=[#\w])", "&amp;"),  # an entity; not `\&`, which some other renderers do not know
    (r"<(?! )", "&lt;"),  # a tag, a link or a comment
    (r"^([#>+=-])", r"\\\1"),  # a heading, a quotation, a list, a line of an underlined heading
    (r"^(\d+)([.)])(?=\s|$)", r"\1\\\2"),  # a numbered list
    (r"(?<!\\)#$", r"\\#"),  # the closing mark of a heading
)


def escape(text: str) -> str:
    """Escape plain text for a paragraph, a heading, a list item or a table's cell.

    White space becomes single spaces, so no text breaks a line.
    """
    text = re.sub(r"[ \t\n\r\f\v]+", " ", text).strip(" ")
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    return text


def code(text: str) -> str:
    """Plain text as inline code, with any backticks in it; not for tables."""
    text = re.sub(r"[ \t\n\r\f\v]+", " ", text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of escaped cells, padded to read well as plain text too.

    The first column is aligned left, the others right.
    """
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])])
    return "\n".join([line(head), f"|{rule}|", *map(line, rows)])


def bullets(sentences: Sequence[str]) -> list[str]:
    """Plain sentences as the lines of a list."""
    return [f"- {escape(sentence)}" for sentence in sentences]


def section_lines(section: Section) -> list[str]:
    """The lines of a section, from the empty line above its heading."""
    lines = ["", f"## {escape(section.title)}", ""]
    lines += [escape(section.text), ""] if section.text else []
    if section.rows:
        rows = [[*map(escape, row)] for row in section.rows]
        lines += [aligned([*map(escape, section.head)], rows), ""]
    lines += [*bullets(section.lines), ""] if section.lines else []
    return lines[:-1]
