"""Tables for \\input into a paper: booktabs rules, numbers aligned at the point by siunitx."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from reports.analysis.comparisons import parse_claim
from reports.analysis.formatting import bounds, decimals, p_text, plain, signed, title
from reports.analysis.runs import GROUND_TRUTH
from reports.analysis.verdicts import Verdict
from reports.pages.tables import Row, Table
from reports.pages.verdict_text import by_advice, claim_words, score_of

NEEDS = r"% needs \usepackage{array,booktabs,siunitx}"
NEW_LINE = r" \\ "
WRAPPED = r">{{\raggedright\arraybackslash}}p{{{:.2f}\textwidth}}"
"""A column of so much of the page, its words wrapped."""
NAMES = {7: (14, 0.12), 0: (30, 0.25)}
"""{columns of numbers, from so many on: (longest name of an arm on one line, in characters; share
of the page that longer names wrap into)}"""
SETUP = r"\sisetup{separate-uncertainty=true,detect-weight=true,mode=text}"


def table(table: Table, caption: str, label: str) -> str:
    """A `table*`, a tabular a block, the paper's columns grouped; the caption has their source."""
    lines = opening(caption, label)
    for i, (ours, papers) in enumerate(table.blocks()):
        lines += [r"\par\medskip"] if i else []
        names = _names_column(table, len(ours) + len(papers))
        columns = "".join(column(table, score) for score in ours)
        columns += "".join(f"S[table-format={_format(_published(table, s))}]" for s in papers)
        lines += [rf"\begin{{tabular}}{{@{{}}{names}l{columns}@{{}}}}", r"\toprule"]
        if papers:
            a, b = len(ours) + 2, len(ours) + len(papers) + 2
            lines += [
                rf" & & \multicolumn{{{len(ours)}}}{{c}}{{ours}} & "
                rf"\multicolumn{{{len(papers)}}}{{c}}{{paper}} \\",
                rf"\cmidrule(lr){{3-{a}}}\cmidrule(l){{{a + 1}-{b}}}",
            ]
        heads = [stacked(title(score)) for score in ours]
        heads += [stacked(title(score, False)) for score in papers]
        lines += [row(["arm", "$n$", *heads]), r"\midrule"]
        for one in table.rows:
            if one.arm == GROUND_TRUTH and len(table.rows) > 1:
                lines.append(r"\midrule")
            cells = [escape(one.arm), one.n]
            cells += [cell(table, one, score) for score in ours]
            cells += [number(one.published.get(score, "")) for score in papers]
            lines.append(row(cells))
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, r"\end{table*}", ""])


def verdict_table(verdicts: Sequence[Verdict], caption: str, label: str) -> str:
    """A `table*` of the claims, and below it what would decide those that are undecided."""
    lines = [*opening(caption, label), r"\setlength{\tabcolsep}{3pt}"]
    lines += [rf"\begin{{tabular}}{{@{{}}{WRAPPED.format(0.19)}llrrrlll@{{}}}}", r"\toprule"]
    head = ["claim", "score", "verdict", "difference", r"95\,\% interval", "$g$"]
    lines += [row([*head, "test, seeds", "$p$", r"$p_{\mathrm{Holm}}$"]), r"\midrule"]
    for v in verdicts:
        ordering, score = score_of(v.claim)
        claim = parse_claim(v.claim)
        source = f" ({claim.source})" if claim and claim.source else ""
        effect = "---" if v.effect is None else f"${signed(v.effect, v.digits, '-')}$"
        size = "---" if v.standardised is None else f"${signed(v.standardised, 1, '-')}$"
        test = f"{v.test}, {v.seeds}" if v.n > 1 else v.seeds or "---"
        interval = ends(v.interval, v.digits)
        cells = [escape(ordering + source), escape(score), v.word, effect, interval, size]
        cells.append(escape(test))
        lines.append(row([*cells, p_value(v.p), p_value(v.p_holm)]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = _below_verdicts(verdicts)
    if notes:
        lines += [r"\par\smallskip", r"\begin{minipage}{\textwidth}\raggedright\scriptsize"]
        lines += [r"\par ".join(notes), r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table*}", ""])


def _below_verdicts(verdicts: Sequence[Verdict]) -> list[str]:
    """What would decide, which scores' ceilings are broken, and which claims leave seeds out, a
    paragraph each."""
    advice = by_advice(verdicts)
    notes = [escape(f"{claims}: {words}") for words, claims in advice.items()]
    lines = [f"What would decide: {'; '.join(notes)}."] if notes else []
    ceilings = {v.score: v.ceiling for v in verdicts if v.score and v.ceiling}
    notes = [escape(f"{title(score, False)}, {words}") for score, words in ceilings.items()]
    lines += [f"Ceilings: {'; '.join(notes)}."] if notes else []
    notes = [escape(f"{claim_words(v.claim)}, {v.seeds} seeds") for v in verdicts if v.left_out]
    return lines + ([f"Seeds without a partner are left out: {'; '.join(notes)}."] if notes else [])


def numberless(title: str) -> str:
    """`Table 1: objectives` to `Objectives (the paper's Table 1)`: captions have own numbers."""
    title = title.rstrip(".")
    named = re.fullmatch(r"((?:Table|Figure) \d+): (.+)", title)
    return f"{named[2][0].upper()}{named[2][1:]} (the paper's {named[1]})" if named else title


def opening(caption: str, label: str) -> list[str]:
    """The lines from `\\begin{table*}` to its label."""
    lines = [NEEDS, r"\begin{table*}", r"\centering", r"\footnotesize"]
    lines += [r"\setlength{\tabcolsep}{4pt}", r"\setlength{\belowcaptionskip}{6pt}", SETUP]
    return [*lines, rf"\caption{{{breakable(caption)}}}", rf"\label{{{label}}}"]


def _names_column(table: Table, numbers: int) -> str:
    longest = max((shown_length(one.arm) for one in table.rows), default=0)
    most, share = next(of for least, of in NAMES.items() if numbers >= least)
    return WRAPPED.format(share) if longest > most else "l"


def row(cells: Sequence[str]) -> str:
    """A line of a tabular."""
    return " & ".join(cells) + r" \\"


def stacked(text: str) -> str:
    """A column's title over two lines, so that columns stay as narrow as their numbers."""
    parts = text.split(" ")
    cut = 1 if len(parts) > 2 else len(parts)
    lines = [escape(" ".join(part)) for part in (parts[:cut], parts[cut:]) if part]
    return rf"{{\shortstack{{{NEW_LINE.join(lines)}}}}}"


def number(text: str) -> str:
    """A number as it stands in an S column, or words in braces."""
    try:
        float(text)
    except ValueError:
        return f"{{{escape(text)}}}" if text else "{}"
    return text


def cell(table: Table, one: Row, score: str) -> str:
    """A value for an S column of siunitx, bold if it is the best.

    Words stand in braces, and so does an uncertainty of zero, which siunitx would drop. n follows
    where it is not the number of the arm's finished seeds.
    """
    entry, digits = one.entries[score], decimals(score)
    if entry.interval is None:
        return f"{{{escape(entry.state)}}}"
    text = plain(entry.interval.mean, digits, "-")
    dropped = False
    if entry.interval.half_width is not None:
        width = f"{entry.interval.half_width:.{digits}f}"
        text += rf" \pm {width}"
        dropped = float(width) == 0
    if entry.interval.n != one.finished:
        return rf"{{${text}$ ($n={entry.interval.n}$)}}"
    bold = table.bold(one, score)
    if dropped:
        return rf"{{\boldmath${text}$}}" if bold else f"{{${text}$}}"
    return rf"\bfseries {text}" if bold else text


def column(table: Table, score: str) -> str:
    """The S column that fits a score's values."""
    digits = decimals(score)
    intervals = [i for one in table.rows if (i := one.entries[score].interval)]
    widths = [i.half_width for i in intervals if i.half_width is not None]
    means = [plain(i.mean, digits, "-") for i in intervals]
    text = _format(means or ["0." + "0" * digits])
    if widths:
        text += f"({max(len(str(round(w * 10**digits))) for w in widths)})"
    return f"S[table-format={text}]"


def _format(numbers: Sequence[str]) -> str:
    """siunitx's table-format for these: digits before and behind the point."""
    parts = [n.partition(".") for n in numbers if number(n) == n]
    whole = max((len(p[0].lstrip("-")) for p in parts), default=1)
    behind = max((len(p[2]) for p in parts), default=2)
    sign = "-" if any(p[0].startswith("-") for p in parts) else ""
    return f"{sign}{whole}.{behind}" if behind else f"{sign}{whole}"


def _published(table: Table, score: str) -> list[str]:
    return [one.published[score] for one in table.rows if score in one.published]


def p_value(p: float | None) -> str:
    return "---" if p is None else f"${p_text(p)}$"


def ends(interval: tuple[float, float] | None, digits: int) -> str:
    """`$-0.1$ to $+0.2$`, or a dash."""
    return " to ".join(f"${b}$" for b in bounds(interval, digits, "-")) if interval else "---"


def _greek(letter: str) -> str:
    """`α` to `$\\alpha$`, by its name in Unicode."""
    *_, size, _, name = unicodedata.name(letter).replace("LAMDA", "LAMBDA").split()
    return rf"$\{name.lower() if size == 'SMALL' else name.title()}$"


MATHS = (
    "×times ±pm ∩cap →to ↔leftrightarrow ↑uparrow ↓downarrow ≤leq ≥geq √surd ≈approx ≠neq ∞infty "
    "·cdot µmu"
)
"""A character and the name of its command each."""
TEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{letter: _greek(letter) for letter in "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ"},
    **{entry[0]: rf"$\{entry[1:]}$" for entry in MATHS.split()},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "−": "$-$",
    "°": r"$^\circ$",
    "²": "$^2$",
    "½": r"$^1\!/_2$",
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
"""Latin letters that LaTeX's default font encoding (OT1) cannot set."""
LONG = 24
"""Longer words, in characters, may not fit a line of a column."""


def escape(text: str) -> str:
    """Plain text for pdfLaTeX in any font encoding; `n = 5` stays on one line.

    Letters that a plain installation cannot set (not Latin) become their code point, `[U+65E5]`.
    """
    text = re.sub(r"\bn = (?=\d)", "n\u00a0=\u00a0", text)
    return "".join(TEX.get(c) or (c if _settable(c) else _code_point(c)) for c in text)


def breakable(text: str) -> str:
    """Escaped plain text; the long name of a profile may break after each setting."""
    words = escape(text).split(" ")
    return " ".join(
        re.sub(r"(?<=\w)([+.=])(?=\w)", r"\1\\allowbreak{}", word) if len(word) > LONG else word
        for word in words
    )


def shown_length(text: str) -> int:
    """About how many characters wide plain text is when set."""
    return len(re.sub(r"\\[a-z]+(\{\})?|[\\{}$]", "", escape(text)))


def _settable(character: str) -> bool:
    latin = "\u00bf" <= character <= "\u017e" and character not in NOT_IN_OT1
    return latin or " " <= character <= "~"


def _code_point(character: str) -> str:
    return rf"{{[}}U+{ord(character):04X}]\allowbreak{{}}"
