"""The report of a study with people, from simulated participants and the real command."""

import csv
import json
import re

import pytest

from eval.study.__main__ import main as study_command
from reports.__main__ import main


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "mine"
    rates = ["--rate=L1=0.8", "--rate=L1+cGAN=18.9", "--rate=<b>&_own=17"]
    few = ["--participants=12", "--studies=1", f"--out={folder}"]
    assert study_command(["simulate", *rates, *few]) == 0
    return folder


def test_every_file_of_the_report(simulated, tmp_path, capsys):
    assert main([f"--study={simulated}", f"--out={tmp_path}"]) == 0
    folder = tmp_path / "studies" / "mine"
    assert capsys.readouterr().out.strip() == str(folder / "table.md")
    page = (folder / "index.html").read_text()
    assert "L1+cGAN fools more often" in page and '<span class="word reproduced">' in page
    assert "<b>" not in page and "&lt;b&gt;&amp;_own" in page
    assert re.search(r"<a[^>]*mine/index.html", (tmp_path / "index.html").read_text())
    markdown = (folder / "table.md").read_text()
    assert "18.9 ± 2.5 %" in markdown and "arXiv v3" in markdown
    latex = (folder / "table.tex").read_text() + (folder / "verdicts.tex").read_text()
    assert r"18.9 $\pm$ 2.5 \%" in latex and r"\textless{}b\textgreater{}\&\_own" in latex
    rows = list(csv.DictReader((folder / "verdicts.csv").open()))
    assert len(rows) == 3
    by_pair = {(row["first"], row["second"]): row for row in rows}
    assert by_pair["L1+cGAN", "L1"]["against_paper"] == "reproduced"
    open_one = by_pair["<b>&_own", "L1+cGAN"]
    assert open_one["verdict"] == "undecided" and not open_one["against_paper"]
    assert len((folder / "results.csv").read_text().splitlines()) == 1 + 36
    assert json.loads((folder / "summary.json").read_text())["state"] == "36 participants, 3 arms"


def test_the_report_of_another_study_of_that_name_stays(simulated, tmp_path, capsys):
    assert main([f"--study={simulated}", f"--out={tmp_path}"]) == 0
    assert main([f"--study={simulated}", f"--out={tmp_path}"]) == 0, "its own is written again"
    other = tmp_path / "elsewhere" / "mine"
    few = ["--rate=L1=1", "--rate=L2=2", "--participants=2", "--studies=1", f"--out={other}"]
    assert study_command(["simulate", *few]) == 0
    page = (tmp_path / "studies" / "mine" / "index.html").read_bytes()
    capsys.readouterr()
    assert main([f"--study={other}", f"--out={tmp_path}"]) == 2
    assert f"is the report of the study {simulated}" in capsys.readouterr().err
    assert (tmp_path / "studies" / "mine" / "index.html").read_bytes() == page


@pytest.mark.parametrize("options", [["--study=nowhere"], ["--study=x", "--dataset=y"]])
def test_mistakes_end_with_one_line(options, tmp_path, capsys):
    assert main([*options, f"--out={tmp_path}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
