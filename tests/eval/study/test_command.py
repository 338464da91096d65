"""The command line, with real folders: what it makes, and its one line for every mistake."""

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served_study import ARMS, ROOT, arguments, paint, running

from eval.study.__main__ import main
from eval.study.design import Study

MINIATURE = ROOT / "tests" / "reports" / "miniature"


@pytest.fixture
def images(tmp_path):
    return paint(tmp_path / "images", 6)


def refused(capsys, *options):
    """The one line on stderr of a command that must end with status 2."""
    assert main([*map(str, options)]) == 2
    found = capsys.readouterr().err
    assert found.startswith("error: ") and found.count("\n") == 1
    return found


def serve(out, images, *options):
    return ["serve", "--out", out, *arguments(images), "--practice", 1, "--trials", 4, *options]


def test_serve_keeps_the_study_and_goes_on_with_it(tmp_path, images):
    out = tmp_path / "study"
    command = ["eval.study", *map(str, serve(out, images, "--size=12", "--title=Which?"))]
    with running(command) as server:
        first = server.lines
        assert server.stop() in (0, 130)
        shutil.rmtree(images)  # the study has the pixels
        server._command = [*server._command[:3], "serve", f"--out={out}"]
        server.start()
        assert server.lines == first  # the same address and token
    study = Study.read(out)
    assert (study.arms, study.size, study.title) == (ARMS, (12, 12), "Which?")
    assert list(study.digests) == ["real", *ARMS]
    assert np.load(out / "images" / "0.npy").shape == (6, 12, 12, 3)


def test_what_lies_beside_the_images_is_said(tmp_path, images, capsys):
    shutil.copytree(images / "cgan", images / "l1/more")
    assert main([*map(str, serve(tmp_path / "study", images, "--port", 10**6))]) == 2
    assert "l1: passed over: 1 sub-folder with 6 images (more)" in capsys.readouterr().out


def test_two_servers_on_one_study(tmp_path, images, capsys):
    out = tmp_path / "study"
    with running(["eval.study", *map(str, serve(out, images))]) as server:
        assert "is served already" in refused(capsys, "serve", "--out", out, "--port", server.port)


def test_a_port_that_is_taken(tmp_path, images, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"--port {port}" in refused(capsys, *serve(tmp_path / "s", images, "--port", port))


def test_other_names_than_the_real_images(tmp_path, images, capsys):
    (images / "l1" / "000.png").rename(images / "l1" / "other.png")
    found = refused(capsys, *serve(tmp_path / "s", images))
    assert "--arm L1" in found and "other" in found and "000" in found


def test_images_of_different_sizes(tmp_path, images, capsys):
    Image.new("RGB", (9, 8)).save(images / "cgan" / "003.png")
    found = refused(capsys, *serve(tmp_path / "s", images))
    assert "003.png" in found and "8×9" in found and "--size" in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--trials", 6], "6 images are too few for 1 + 6 trials"),
        (["--arm", "L1=x"], "same name"),
        (["--real", "nowhere"], "--real nowhere: no such folder"),
        (["--consent", "nowhere.txt"], "nowhere.txt"),
        (["--suite", "losses"], "--dataset"),
        (["--only", "L1"], "are for --suite"),
        (["--host", "256.1.1.1"], "--host 256.1.1.1"),
    ],
)
def test_mistakes_of_serve(tmp_path, images, capsys, change, message):
    assert message in refused(capsys, *serve(tmp_path / "s", images, *change))


def test_a_folder_that_holds_another_study(tmp_path, images, capsys):
    out = tmp_path / "s"
    assert "--host" in refused(capsys, *serve(out, images, "--host", "256.1.1.1"))  # made
    with running(["eval.study", *map(str, serve(out, images))]):
        pass  # the same command goes on
    other = serve(out, images, "--arm", f"third={images / 'l1'}")
    assert "study of other images" in refused(capsys, *other)
    assert "--trials: the study in" in refused(capsys, "serve", "--out", out, "--trials", 77)
    np.save(out / "images" / "1.npy", np.zeros((6, 2, 2, 3), np.uint8))
    assert "start a new study" in refused(capsys, "serve", "--out", out)


def test_nothing_to_serve_and_nothing_to_analyse(tmp_path, capsys):
    assert "--arm NAME=DIR" in refused(capsys, "serve", "--out", tmp_path / "new")
    assert "holds no study" in refused(capsys, "analyse", tmp_path / "new")


@pytest.mark.parametrize(
    "option", ["--arm=L1", "--arm==x", "--size=0", "--size=5000", "--port=x", "--practice=-1"]
)
def test_options_of_the_wrong_form(option, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--out", "x", option])
    assert ended.value.code == 2


def test_arms_of_a_recorded_suite(tmp_path, capsys):
    """The miniature study's own run directories."""
    suite = ["--suite", "losses", "--dataset", "miniature", "--runs", MINIATURE]
    few = ["--practice", 1, "--trials", 2, "--only", "L1,L1+cGAN"]
    command = ["eval.study", "serve", f"--out={tmp_path / 's'}", *map(str, [*suite, *few])]
    with running(command):
        study = Study.read(tmp_path / "s")
    assert study.arms == ("L1", "L1+cGAN") and study.size == (64, 64)
    record = json.loads(next((MINIATURE / "suites" / "losses").glob("*.json")).read_text())
    digests = {c["arm"]: c["digest"] for c in record["cells"] if c["seed"] == 1}
    kept = np.load(tmp_path / "s" / "images" / "2.npy")
    path = MINIATURE / "cells" / digests["L1+cGAN"] / "translations" / f"{study.names[0]}.png"
    assert (kept[0] == np.asarray(Image.open(path))).all()
    new = ["serve", "--out", tmp_path / "t"]
    assert "nothing" in refused(capsys, *new, *suite[:2], "--dataset", "x", *suite[4:])
    assert "no such arm" in refused(capsys, *new, *suite, "--only", "L2")


def test_a_suite_with_an_unfinished_arm(tmp_path, capsys):
    runs = tmp_path / "runs"
    shutil.copytree(MINIATURE, runs)
    for scores in runs.glob("cells/*/scores.json"):
        if json.loads((scores.parent / "config.json").read_text())["seed"] == 1:
            scores.unlink()
    options = ["--suite", "losses", "--dataset", "miniature", "--runs", runs, "--only", "L1"]
    new = ["serve", "--out", tmp_path / "s", *options, "--practice", 0, "--trials", 3]
    refused(capsys, *new, "--host", "256.1.1.1")  # the second seed is whole
    assert "cells" in Study.read(tmp_path / "s").sources["L1"]
    for scores in runs.glob("cells/*/scores.json"):
        scores.unlink()
        break
    assert "no seed has finished" in refused(capsys, "serve", "--out", tmp_path / "t", *options)


def test_a_suite_of_several_tasks(tmp_path, capsys):
    runs = tmp_path / "runs"
    shutil.copytree(MINIATURE / "suites", runs / "suites")
    (path,) = (runs / "suites" / "losses").glob("*.json")
    record = json.loads(path.read_text())
    record["arms"][0]["reference"] = "another"
    path.write_text(json.dumps(record))
    options = ["--suite", "losses", "--dataset", "miniature", "--runs", runs]
    assert "several tasks" in refused(capsys, "serve", "--out", tmp_path / "s", *options)


def test_images_that_do_not_belong_together_have_no_same_input(tmp_path, capsys):
    runs = tmp_path / "runs"
    shutil.copytree(MINIATURE, runs)
    (path,) = (runs / "suites" / "losses").glob("*.json")
    record = json.loads(path.read_text()) | {"unpaired": True, "commit": "a" * 40 + "+changes"}
    path.write_text(json.dumps(record))
    options = ["--suite", "losses", "--dataset", "miniature", "--runs", runs, "--trials", 3]
    new = ["serve", "--out", tmp_path / "s", *options]
    assert "miniature do not belong together" in refused(capsys, *new, "--same-input")
    refused(capsys, *new, "--practice", 0, "--host", "256.1.1.1")
    assert Study.read(tmp_path / "s").origin.endswith(f"commit {'a' * 12}+changes")


def test_simulate_and_analyse(tmp_path, capsys):
    rates = ["--rate", "L1=0.8", "--rate", "L1+cGAN=18.9"]
    size = ["--participants", 20, "--studies", 20, "--out", tmp_path / "s"]
    assert main([*map(str, ["simulate", *rates, *size])]) == 0
    assert "(paper, " in capsys.readouterr().out
    assert main(["analyse", str(tmp_path / "s")]) == 0
    assert "L1+cGAN fools more often" in capsys.readouterr().out
    rows = Path(tmp_path / "s" / "answers.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 20 * 50
    assert "is not empty" in refused(capsys, "simulate", *rates, *size)
