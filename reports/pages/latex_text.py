"""Plain text as LaTeX that any installation sets."""

from __future__ import annotations

import re
import unicodedata

GREEK = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ"


def _greek(letter: str) -> str:
    """`α` to `$\\alpha$`, by its name in Unicode."""
    *_, size, _, name = unicodedata.name(letter).replace("LAMDA", "LAMBDA").split()
    return rf"$\{name.lower() if size == 'SMALL' else name.title()}$"


TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    **{letter: _greek(letter) for letter in GREEK},
    "µ": r"$\mu$",  # the sign of a millionth, not the letter
    "×": r"$\times$",
    "±": r"$\pm$",
    "∩": r"$\cap$",
    "→": r"$\to$",
    "↔": r"$\leftrightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "−": r"$-$",
    "√": r"$\surd$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "∞": r"$\infty$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "¹": "$^1$",
    "²": "$^2$",
    "³": "$^3$",
    "¼": r"$^1\!/_4$",
    "½": r"$^1\!/_2$",
    "¾": r"$^3\!/_4$",
    "\u00a0": "~",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "[": "{[}",  # a line that begins with one would give `\\\\` an argument
    "*": "{*}",
    "\n": " ",
}


NOT_IN_OT1 = "ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų"
"""Latin letters that LaTeX's own font encoding cannot set."""
LONG = 24
"""Characters of a word that may be too long for a line of a column."""


def escape(text: str) -> str:
    """Plain text for pdfLaTeX in any font encoding; `n = 5` stays on one line.

    What a plain installation cannot set (letters beyond Latin) becomes its code point, `[U+65E5]`.
    """
    text = re.sub(r"\bn = (?=\d)", "n\u00a0=\u00a0", text)
    return "".join(TEX.get(c) or (c if _settable(c) else _code_point(c)) for c in text)


def breakable(text: str) -> str:
    """Plain text escaped, in which the long name of a profile may break where a setting ends."""
    words = escape(text).split(" ")
    return " ".join(
        re.sub(r"(?<=\w)([+.=])(?=\w)", r"\1\\allowbreak{}", word) if len(word) > LONG else word
        for word in words
    )


def shown_length(text: str) -> int:
    """About how many characters plain text has once it is set."""
    return len(re.sub(r"\\[a-z]+(\{\})?|[\\{}$]", "", escape(text)))


def _settable(character: str) -> bool:
    latin = "\u00bf" <= character <= "\u017e" and character not in NOT_IN_OT1
    return latin or " " <= character <= "~"


def _code_point(character: str) -> str:
    return rf"{{[}}U+{ord(character):04X}]\allowbreak{{}}"
