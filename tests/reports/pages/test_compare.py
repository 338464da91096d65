"""Suites side by side, from a real store and by hand."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import recorded_runs as recorded
from suites import PIXEL, arms, run, suite

from experiments.tracking.mirror import mirror
from reports.__main__ import main
from reports.analysis import Analysis
from reports.analysis.ranking import in_words, paper_orders, rank_order
from reports.pages.compare import (
    answer,
    compare_settings,
    limits,
    orders,
    parse_settings,
    read_settings,
    verdict_cell,
    write_claims,
)

A, B = [0.81, 0.82, 0.80, 0.84, 0.83], [0.76, 0.78, 0.74, 0.80, 0.77]
CLAIM = f"a > b on {PIXEL}"


def setting(values: dict[str, list[float]], dataset: str, **fields: Any) -> Analysis:
    return Analysis(suite(*arms(values), claims=[CLAIM], dataset=dataset, **fields))


def beside(*settings: Analysis) -> dict[str, Analysis]:
    return dict(zip("ABC", settings, strict=False))


def test_what_carries_over() -> None:
    camvid, same = setting({"a": A, "b": B}, "camvid"), setting({"a": A, "b": B}, "city")
    turned = setting({"a": B, "b": A}, "maps")
    weak = setting({"a": A[:3], "b": B[:3]}, "facades")
    told, lines = answer(beside(camvid, same))
    assert told == "Yes: 1 of 1 claim has the same verdict in both."
    assert lines == ["a > b on FCN per-pixel acc.: reproduced in both"]
    told, lines = answer(beside(camvid, turned))
    assert told == "No: 1 of 1 claim has opposite verdicts in two settings."
    assert lines == ["a > b on FCN per-pixel acc.: reproduced in A, contradicted in B"]
    told, lines = answer(beside(camvid, weak, same))
    assert (told, lines) == ("Not known: of 1 claim none is decided in all 3.", [])
    third = f"b < a on {PIXEL}"
    two, more = (
        Analysis(suite(*arms({"a": A, "b": B}), claims=claims))
        for claims in ([CLAIM], [CLAIM, third])
    )
    told, lines = answer(beside(two, more))
    assert told == (
        "As far as decided, yes: 1 of 2 claims has the same verdict in both; "
        "1 not decided in at least one."
    )


def test_means_over_fewer_seeds_say_so() -> None:
    lost = [run("b", seed, None, status="failed") for seed in (4, 5)]
    gappy = Analysis(suite(*arms({"a": A, "b": B[:3]}), *lost, claims=[CLAIM]))
    sections = compare_settings(beside(setting({"a": A, "b": B}, "city"), gappy))
    assert [row[5] for row in sections[0].rows] == ["5", "3–5"]
    assert sections[-1].lines == [
        "B: failed: b seed 4: no reason recorded",
        "B: failed: b seed 5: no reason recorded",
    ]
    (verdicts,) = [one for one in sections if one.title == "Verdicts side by side"]
    assert verdicts.rows[0][1] == "reproduced (+0.050, n = 5)"


def test_what_may_not_be_compared() -> None:
    one = {"fingerprint": "f" * 64, "reference": "r1"}
    other = {"fingerprint": "e" * 64, "reference": "r2"}
    values = {"a": A, "b": B}
    first, twin = (setting(values, name, **one) for name in ("x", "y"))
    assert limits(beside(first, twin)) == ["The images are the same (fingerprint ffffffffffff…)."]
    few = setting({"a": A[:1], "c": B[:1]}, "z", **other)
    told = limits(beside(first, twin, few))
    assert told[0].startswith("The images differ (fingerprints: A, B ffffffffffff…; C eeee")
    assert told[1].startswith("The FCN-scores come from 2 scorers (A, B; C)")
    bare = suite(run("a", 1, None, scores={"color.a": 0.5}), scores=["color"], truth=None, **other)
    assert len(limits(beside(first, Analysis(bare), twin))) == 1, "B has no FCN-score"
    gone = suite(*arms({"a": A}), run("b", 1, None, status="failed"), **one)
    sections = compare_settings(beside(first, few, Analysis(gone)))
    (table,) = [one for one in sections if one.title == "FCN per-pixel acc. ↑"]
    assert table.rows == [
        ["a", "0.820 ± 0.020", "0.810", "0.820 ± 0.020"],
        ["b", "0.770 ± 0.028", "not requested", "failed"],
        ["c", "not requested", "0.760", "not requested"],
        ["ground truth", "0.900", "0.900", "0.900"],
    ]
    assert orders(beside(first, few)) == []  # one arm in common has no order


def test_orders_by_hand() -> None:
    ours = {"x": 0.9, "y": 0.8, "z": 0.7, "here only": 0.1}
    order = rank_order(PIXEL, ours, {"x": 0.5, "y": 0.2, "z": 0.3})
    assert order.ours == (("x",), ("y",), ("z",))
    assert order.theirs == (("x",), ("z",), ("y",))
    assert order.swapped == (("y", "z"),)
    assert order.tau == pytest.approx(1 / 3)  # two pairs agree, one does not
    assert in_words(order) == (
        "here x > y > z; paper x > z > y; the other way round: y and z; Kendall's τ = 0.33"
    )
    tied = rank_order(PIXEL, ours, {"x": 0.5, "y": 0.2, "z": 0.2})
    assert in_words(tied).startswith("here x > y > z; paper x > y = z; the same order but for ties")
    equal = rank_order(PIXEL, {"x": 0.5, "y": 0.5, "z": 0.4}, {"x": 0.1, "y": 0.2, "z": 0.3})
    assert in_words(equal) == (
        "here x = y > z; paper z > y > x; the other way round: x and z, y and z; "
        "Kendall's τ = −0.82"
    )
    lower = rank_order("lpips", {"x": 0.1, "y": 0.2}, {"x": 0.3, "y": 0.2})
    assert (lower.ours, lower.swapped, lower.tau) == ((("x",), ("y",)), (("x", "y"),), None)


def test_equal_means_stand_side_by_side_as_equal() -> None:
    one = setting({"a": [0.8, 0.8], "b": [0.8, 0.8], "c": [0.7, 0.6]}, "x")
    other = setting({"a": [0.9, 0.8], "b": [0.7, 0.7], "c": [0.5, 0.6]}, "y")
    (found,) = orders(beside(one, other))
    assert found == [
        "FCN per-pixel acc. ↑",
        "a = b > c",
        "a > b > c",
        "A–B: τ = 0.82, the same order but for ties",
    ]


def test_a_comparison_knows_of_a_broken_ceiling() -> None:
    firm = setting({"a": A, "b": B}, "x")
    weak = setting({"a": A, "b": B}, "y", truth=0.5)
    assert verdict_cell(weak, CLAIM) == "reproduced (+0.050, n = 5; ceiling broken)"
    assert verdict_cell(firm, CLAIM) == "reproduced (+0.050, n = 5)"


def test_the_papers_order_is_of_the_arms_that_were_run() -> None:
    rows = {"a": {PIXEL: 0.4}, "b": {PIXEL: 0.6}, "c": {PIXEL: 0.1}}
    runs = suite(*arms({"a": A, "b": B}), published={"source": "T", "rows": rows})
    (order,) = paper_orders(Analysis(runs))
    assert (order.score, order.ours, order.swapped) == (PIXEL, (("a",), ("b",)), (("a", "b"),))
    assert paper_orders(Analysis(suite(*runs.runs, truth=None))) == []


@pytest.mark.parametrize(
    "text", ["camvid", "camvid:quick", "camvid:quick,camvid:quick", "camvid:quick,"]
)
def test_bad_settings_are_one_line(
    text: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--suite", "losses", "--compare", text]) == 2
    error = capsys.readouterr().err
    assert "must be 2 to 26 different DATASET:PROFILE" in error and error.count("\n") == 1


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
    recorded.suite_record(out, few, reference=None, claims=claims, variant="smoke")
    mirror(out)
    settings = "procedural:quick,procedural:smoke"
    arguments = ["--suite", "patch_size", "--out", str(tmp_path / "out"), "--compare"]
    assert main([*arguments, settings]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == (
        tmp_path / "out" / "compare" / "patch_size" / "procedural-quick+procedural-smoke"
        / "comparison.html"
    )  # fmt: skip
    text = page.with_name("comparison.md").read_text(encoding="utf-8")
    assert "Not known: of 1 claim none is decided in both." in text
    assert "reproduced (+0.050, n = 5) | undecided (+0.045, n = 2)" in " ".join(text.split())
    assert "0.820 ± 0.020 | 0.815 ± 0.064" in " ".join(text.split())
    assert "70x70 > 1x1 | 70x70 > 1x1 | A–B: the same order |" in " ".join(text.split())
    html = page.read_text(encoding="utf-8")
    assert html.count('<span class="word reproduced">') == 1
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)
    with open(page.with_name("comparison_verdicts.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["profile"], row["verdict"], row["n"]) for row in rows] == [
        ("quick", "reproduced", "5"), ("smoke", "undecided", "2"),
    ]  # fmt: skip
    with open(page.with_name("comparison_results.csv"), encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == (10 + 4) * 2
    every = ["--suite", "all", "--out", str(tmp_path / "out"), "--compare"]
    assert main([*every, settings]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert not (tmp_path / "out" / "compare" / "claims.md").exists(), "one suite's are on its page"
    pairs = parse_settings(settings)
    read = {"patch_size": read_settings("patch_size", pairs)}
    every_claim = write_claims(read, pairs, tmp_path / "out")
    row = every_claim.read_text(encoding="utf-8").splitlines()[-1]
    assert "| reproduced (+0.050, n = 5)" in row and "| 1 reproduced, 1 undecided |" in row
    with open(every_claim.with_suffix(".csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(one["suite"], one["profile"], one["verdict"]) for one in rows] == [
        ("patch_size", "quick", "reproduced"), ("patch_size", "smoke", "undecided"),
    ]  # fmt: skip
    assert main([*every, "procedural:quick,camvid:quick"]) == 2
    error = capsys.readouterr().err
    assert "no suite is recorded on all of procedural:quick,camvid" in error
    assert "left out: suite patch_size: nothing recorded on camvid:quick" in error
    there = "there is procedural:quick, procedural:smoke"
    for given, why in (
        ([*arguments, "procedural:quick,camvid:quick"], f"on camvid:quick; {there}"),
        ([*arguments, "procedural:quick,procedral:smoke"], f"on procedral:smoke; {there}"),
        (["--suite", "patchsize", "--compare", settings], "there is patch_size"),
        (["--suite", "patch_size", "--dataset", "camvid"], f"on camvid:*; {there}"),
        ([*arguments, settings, "--dataset", "camvid"], "names data sets and profiles itself"),
    ):
        assert main(given) == 2
        error = capsys.readouterr().err
        assert why in error and error.count("\n") == 1
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["--suite", "patch_size", "--out", str(blocked), "--compare", settings]) == 2
    error = capsys.readouterr().err
    assert "cannot be written" in error and error.count("\n") == 1
