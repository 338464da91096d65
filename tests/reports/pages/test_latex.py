"""LaTeX as text; and compiled, with every table and figure of a report, where pdfLaTeX is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import recorded_runs as recorded
from suites import PIXEL, arms, run, suite

from experiments.tracking.mirror import mirror
from experiments.tracking.reader import SuiteRuns
from reports.analysis import Analysis
from reports.figures.draw import FIGURES
from reports.pages.latex import (
    NOT_IN_OT1,
    escape,
    number,
    numberless,
    opening,
    stacked,
    table,
    verdict_table,
)
from reports.pages.tables import make_table
from reports.write import latex_table, latex_verdicts, write_report

PACKAGES = ("array", "booktabs", "graphicx", "siunitx")
DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage[letterpaper,textwidth=6.875in,textheight=8.875in,columnsep=0.375in]{geometry}
\usepackage{array,booktabs,siunitx,graphicx}
\begin{document}
Reproduced from \cite{isola2017image} with \cite{pix2pixablations}.
%s
\bibliographystyle{plain}
\bibliography{pix2pix-ablations}
\end{document}
"""


def test_text_is_escaped() -> None:
    assert escape("a_b & 5% {L1} #1 $x ~^\\") == (
        r"a\_b \& 5\% \{L1\} \#1 \$x \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert escape("70×70 ±1 → x") == r"70$\times$70 $\pm$1 $\to$ x"
    assert escape("Zürich 日") == "Zürich {[}U+65E5]\\allowbreak{}"
    assert escape("Đ ø") == "{[}U+0110]\\allowbreak{} ø"
    assert escape("γ=½ Λ² ε°") == (r"$\gamma$=$^1\!/_2$ $\Lambda$$^2$ $\epsilon$$^\circ$")
    assert escape("(n = 5)") == "(n~=~5)"
    assert number("0.66") == "0.66" and number("0.80 (unconfirmed)") == "{0.80 (unconfirmed)}"
    assert stacked("FCN per-pixel acc. ↑") == r"{\shortstack{FCN \\ per-pixel acc. $\uparrow$}}"
    assert numberless("Table 1: objectives.") == "Objectives (the paper's Table 1)"
    assert numberless("How much L1?") == "How much L1?"


def test_a_long_profile_may_break_where_a_setting_ends() -> None:
    (caption,) = [
        line
        for line in opening("on x (smoke+size=64+training.steps=60), 0.05", "l")
        if "caption" in line and "skip" not in line
    ]
    assert caption == (
        r"\caption{on x (smoke+\allowbreak{}size=\allowbreak{}64+\allowbreak{}"
        r"training.\allowbreak{}steps=\allowbreak{}60), 0.05}"
    )


def test_long_names_of_arms_wrap() -> None:
    many = {f"color.{c}": 0.5 for c in "Lab"} | {f"pixel.{s}": 0.5 for s in ("l1", "psnr", "ssim")}
    for name, scores, column in (
        ("L1+cGAN", many, "l"),
        ("encoder-decoder (L1+cGAN)", many, r"p{0.12\textwidth}"),
        ("encoder-decoder (L1+cGAN)", {"lpips": 0.5}, "l"),
        ("日本語日本", {"lpips": 0.5}, r"p{0.25\textwidth}"),  # 40 characters as code points
    ):
        families = ["lpips", "color", "pixel"] if scores is many else ["lpips"]
        runs = suite(run(name, 1, None, scores=scores), scores=families, truth=None)
        (opened,) = re.findall(
            r"begin\{tabular\}\{@\{\}(.*?)lS", table(make_table(Analysis(runs)), "c", "l")
        )
        assert opened.endswith(column)


def test_an_uncertainty_that_is_shown_as_zero_is_not_dropped() -> None:
    """siunitx sets `0.224 \\pm 0.000` as a bare 0.224."""
    values = {"a": [0.9001, 0.9002, 0.9001, 0.9002, 0.9001], "b": [0.7, 0.72, 0.71, 0.74, 0.76]}
    text = table(make_table(Analysis(suite(*arms(values)))), "c", "l")
    assert r"a & 5 & {\boldmath$0.900 \pm 0.000$} \\" in text
    values = {"a": [0.90010, 0.90011], "b": values["b"][:2]}
    assert r"a & 2 & {$0.900 \pm 0.000$} \\" in table(
        make_table(Analysis(suite(*arms(values)))), "c", "l"
    )


def test_numbers_are_aligned_and_grouped() -> None:
    published = {"source": "Table_3", "rows": {"L1_&_cGAN": {PIXEL: 0.66}}}
    runs = suite(
        *arms({"L1_&_cGAN": [0.79, 0.80, 0.81]}),
        run("b", 1, None, status="failed"),
        published=published,
    )
    text = table(make_table(Analysis(runs)), "50% of n = 1", "tab:x")
    # s = 0.01, t(2) = 4.302653: ± 0.0248, two digits of uncertainty
    assert r"L1\_\&\_cGAN & 3 & 0.800 \pm 0.025 & 0.66 \\" in text
    assert r"b & 0 of 1 & {failed} & {} \\" in text
    assert r"S[table-format=1.3(2)]S[table-format=1.2]@{}" in text
    assert r"\caption{50\% of n~=~1}" in text
    for rule in ("toprule", "midrule", "bottomrule", "cmidrule"):
        assert f"\\{rule}" in text
    assert text.count("{") == text.count("}") + text.count(r"\{") - text.count(r"\}")
    assert "(Table\\_3)" not in text and "Table\\_3" in latex_table(
        runs, make_table(Analysis(runs))
    )


def test_bold_is_in_the_numbers_column() -> None:
    values = {"a": [0.90, 0.91, 0.92, 0.93, 0.95], "b": [0.7, 0.72, 0.71, 0.74, 0.76]}
    text = table(make_table(Analysis(suite(*arms(values)))), "c", "l")
    assert text.count(r"\bfseries") == 1
    assert r"a & 5 & \bfseries 0.922 \pm 0.024 \\" in text


def test_verdicts_say_what_would_decide() -> None:
    runs = suite(*arms({"a_1": [0.9], "b": [0.7]}), claims=[f"a_1 > b on {PIXEL}"])
    text = verdict_table(Analysis(runs).verdicts, "c", "l")
    assert r"a\_1 \textgreater{} b & FCN per-pixel acc. & undecided & $+0.200$ & ---" in text
    assert "one seed shows no spread; 5 seeds paired could decide." in text
    assert "Ceilings" not in text
    runs = suite(*arms({"a_1": [0.9], "b": [0.7]}), truth=0.6, claims=[f"a_1 > b on {PIXEL}"])
    told = "Ceilings: FCN per-pixel acc., but the real photos reach only 0.600 and every arm's"
    assert told in verdict_table(Analysis(runs).verdicts, "c", "l")


def test_only_suites_with_published_numbers_claim_what_the_paper_claims() -> None:
    runs = suite(*arms({"a": [0.9], "b": [0.7]}), claims=[f"a > b on {PIXEL}"])
    assert "Claims. The difference" in latex_verdicts(runs, Analysis(runs).verdicts)
    paper = suite(*runs.runs, claims=runs.record.claims, published={"source": "T", "rows": {}})
    assert "Claims of the paper. The" in latex_verdicts(paper, Analysis(paper).verdicts)


def _lacking() -> str | None:
    """What a machine lacks to compile, in words."""
    missing = [p for p in ("pdflatex", "bibtex", "kpsewhich") if shutil.which(p) is None]
    if missing:
        return f"no {', '.join(missing)}: install texlive-latex-extra and texlive-science"
    for package in PACKAGES:
        if subprocess.run(["kpsewhich", f"{package}.sty"], capture_output=True).returncode:
            return f"LaTeX has no {package}: install texlive-latex-extra and texlive-science"
    return None


LACKING = _lacking()


def _values(pixel: float) -> dict[str, float]:
    scores = {"fcn.pixel_accuracy": pixel, "fcn.class_accuracy": pixel / 2, "fcn.class_iou": 0.4}
    return scores | {"color.L": 0.8, "color.a": 0.7, "color.b": 0.6, "pixel.psnr": 15 + pixel}


@pytest.mark.slow
@pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
def test_every_table_and_figure_compiles(tmp_path: Path, store: Path) -> None:
    """All seven columns of the second table, bold, gaps and names that LaTeX would trip over."""
    out = tmp_path / "runs"
    names = {"70x70": 0.85, "1x1 & 5%_{x}": 0.60, "[*] Zürich #3 γ½ " + NOT_IN_OT1[:3]: 0.70}
    noise = (0.0, 0.01, -0.004, 0.006, -0.011)
    cells = []
    for i, (arm, level) in enumerate(names.items()):
        for seed, x in enumerate(noise, 1):
            why = {"lpips": "no backbone: put ~/alexnet_owt.pth into $TORCH_HOME"}
            recorded.cell(out, f"d{i}{seed}", seed, _values(level + x * (i + 1)), why)
            cells.append((arm, seed, f"d{i}{seed}"))
    recorded.failed_cell(out, "f1", 1)
    recorded.reference(out, "ref", _values(0.9))
    claims = [f"{a} > {b} on {PIXEL}" for a in names for b in names if a != b]
    rows = {"70x70": {PIXEL: 0.66}, list(names)[2]: {PIXEL: 0.39}}
    fields = {"claims": claims, "published": {"source": "Table 3 (256×256)", "rows": rows}}
    cells.append(("failed_arm", 1, "f1"))
    recorded.suite_record(out, cells, reference="ref", **fields)
    mirror(out)
    folder = write_report("patch_size", "procedural", "quick", tmp_path / "out")
    tables = sorted(file.name for file in folder.glob("*.tex"))
    assert tables == ["table.tex", "verdicts.tex"]
    body = [rf"\input{{{name}}}" for name in tables]
    figures = sorted(file.stem for file in folder.glob("*.pdf"))
    assert figures == sorted([*FIGURES, *(f"{name}_column" for name in FIGURES)])
    for figure in figures:  # as they are: what is too wide is an overfull box
        place = "figure" if figure.endswith("_column") else "figure*"
        body += [
            rf"\begin{{{place}}}\includegraphics{{{figure}.pdf}}\end{{{place}}}",
            r"\clearpage",
        ]
    (folder / "paper.tex").write_text(DOCUMENT % "\n".join(body), encoding="utf-8")
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"]
    for command in (latex, ["bibtex", "paper"], latex, latex):
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=600)
        told = done.stdout.decode("utf-8", "replace")
        assert done.returncode == 0, told[-3000:]
    assert (folder / "paper.pdf").read_bytes().startswith(b"%PDF")
    # Nothing wider than a page of two columns, no reference in the air.
    assert not re.search(r"Overfull \\hbox|undefined|Warning: (?!.*h' float)", told), told[-5000:]
    log = (folder / "paper.blg").read_text(encoding="utf-8")
    assert "Warning" not in log and "error message" not in log


def test_the_claims_of_no_suite_are_no_table() -> None:
    runs = suite(*arms({"a": [0.9]}))
    assert Analysis(SuiteRuns(runs.record, runs.runs, None)).verdicts == ()
