"""Suites side by side, from a real store and by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import recorded_runs as recorded
from suites import PIXEL, arms, suite

from experiments.tracking import mirror
from experiments.tracking_reader import SuiteRuns
from reports.__main__ import main
from reports.compare import Setting, agreement, verdict_cell
from reports.leaders import in_words, paper_orders, rank_order
from reports.tables import make_table
from reports.verdicts import verdicts

A, B = [0.81, 0.82, 0.80, 0.84, 0.83], [0.76, 0.78, 0.74, 0.80, 0.77]
CLAIM = f"a > b on {PIXEL}"
WORDS = "a > b on FCN per-pixel acc."


def setting(values: dict[str, list[float]], dataset: str) -> Setting:
    runs = suite(*arms(values), claims=[CLAIM], dataset=dataset)
    return Setting(runs, make_table(runs), {v.claim: v for v in verdicts(runs)})


def test_what_carries_over() -> None:
    camvid, same = setting({"a": A, "b": B}, "camvid"), setting({"a": A, "b": B}, "city")
    turned = setting({"a": B, "b": A}, "maps")
    weak = setting({"a": A[:3], "b": B[:3]}, "facades")
    assert agreement([camvid, same]) == [f"reproduced in all: 1 ({WORDS})"]
    assert agreement([camvid, turned]) == [
        f"reproduced in one and contradicted in another: 1 ({WORDS})"
    ]
    assert agreement([camvid, weak]) == [
        f"undecided somewhere, so neither carried over nor refuted: 1 ({WORDS})"
    ]
    names = [{"name": arm, "changes": {}} for arm in ("a", "b")]
    runs = suite(*arms({"a": A}), claims=[CLAIM], dataset="maps", arms=names)
    partly = Setting(runs, make_table(runs), {v.claim: v for v in verdicts(runs)})
    assert verdict_cell(partly, CLAIM) == "not asked for"
    assert agreement([camvid, partly]) == [
        f"not judged somewhere, so nothing is known of carrying over: 1 ({WORDS})"
    ]


def test_orders_by_hand() -> None:
    ours = {"x": 0.9, "y": 0.8, "z": 0.7, "here only": 0.1}
    order = rank_order(PIXEL, ours, {"x": 0.5, "y": 0.2, "z": 0.3})
    assert order.ours == ("x", "y", "z")
    assert order.theirs == (("x",), ("z",), ("y",))
    assert order.swapped == (("y", "z"),)
    assert order.tau == pytest.approx(1 / 3)  # two pairs agree, one does not
    assert in_words(order) == (
        "here x > y > z; paper x > z > y; the other way round: y and z; Kendall's τ = 0.33"
    )
    tied = rank_order(PIXEL, ours, {"x": 0.5, "y": 0.2, "z": 0.2})
    assert in_words(tied).startswith("here x > y > z; paper x > y = z; the same order but for ties")
    lower = rank_order("lpips", {"x": 0.1, "y": 0.2}, {"x": 0.3, "y": 0.2})
    assert (lower.ours, lower.swapped, lower.tau) == (("x", "y"), (("x", "y"),), None)


def test_the_papers_order_is_of_the_arms_that_were_run() -> None:
    rows = {"a": {PIXEL: 0.4}, "b": {PIXEL: 0.6}, "c": {PIXEL: 0.1}}
    runs = suite(*arms({"a": A, "b": B}), published={"source": "T", "rows": rows})
    (order,) = paper_orders(runs)
    assert (order.score, order.ours, order.swapped) == (PIXEL, ("a", "b"), (("a", "b"),))
    assert paper_orders(SuiteRuns(runs.record | {"published": None}, runs.runs, None, "")) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("camvid", "must read DATASET:PROFILE"),
        ("camvid:quick", "needs two or more"),
        ("camvid:quick,camvid:quick", "the same data set and profile twice"),
        ("camvid:quick,", "must read DATASET:PROFILE"),
    ],
)
def test_bad_settings_are_one_line(
    text: str, why: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--suite", "losses", "--compare", text]) == 2
    error = capsys.readouterr().err
    assert why in error and error.count("\n") == 1


def test_side_by_side_from_a_store(
    tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    cells = []
    for arm, values in {"70x70": A, "1x1": B}.items():
        for seed, value in enumerate(values, 1):
            recorded.cell(out, f"{arm}-{seed}", seed, {PIXEL: value, "pixel.psnr": 15.0})
            cells.append((arm, seed, f"{arm}-{seed}"))
    claims = [f"70x70 > 1x1 on {PIXEL}"]
    recorded.suite_record(out, cells, reference=None, claims=claims)
    few = [cell for cell in cells if cell[1] < 3]
    recorded.suite_record(out, few, reference=None, claims=claims, profile="smoke")
    mirror(out)
    settings = "procedural:quick,procedural:smoke"
    arguments = ["--suite", "patch_size", "--out", str(tmp_path / "out"), "--compare"]
    assert main([*arguments, settings]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == (
        tmp_path / "out" / "compare" / "patch_size" / "procedural-quick+procedural-smoke"
        / "comparison.md"
    )  # fmt: skip
    text = page.read_text(encoding="utf-8")
    assert "reproduced (+0.050, n = 5) | undecided (+0.045, n = 2)" in " ".join(text.split())
    assert "**0.820 ± 0.020** | 0.815 ± 0.064" in " ".join(text.split())
    assert (
        "FCN per-pixel acc.: procedural (quick) 70x70 > 1x1; procedural (smoke) 70x70 > 1x1; "
        "the same order"
    ) in text
    with open(page.with_name("comparison_verdicts.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["profile"], row["verdict"], row["n"]) for row in rows] == [
        ("quick", "reproduced", "5"), ("smoke", "undecided", "2"),
    ]  # fmt: skip
    with open(page.with_name("comparison_results.csv"), encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == (10 + 4) * 2
    assert r"\begin{table*}" in page.with_name("comparison.tex").read_text(encoding="utf-8")
    assert main([*arguments, "procedural:quick,camvid:quick"]) == 2
    assert "nothing recorded on camvid with profile quick" in capsys.readouterr().err
    every = ["--suite", "all", "--out", str(tmp_path / "out"), "--compare"]
    assert main([*every, settings]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert main([*every, "procedural:quick,camvid:quick"]) == 2
    assert "patch_size: not recorded on camvid (quick)" in capsys.readouterr().err
    assert main([*arguments, settings, "--dataset", "camvid"]) == 2
    assert "--compare: names data sets and profiles itself" in capsys.readouterr().err
