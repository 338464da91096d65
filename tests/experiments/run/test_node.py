from experiments.run.node import installed, other_versions, sources
from pix2pix.data.backbones import BACKBONES


def test_other_versions_are_named_and_equal_ones_are_not():
    here = installed()
    assert other_versions(here, installed()) == ""
    there = here | {"torch": "1.0", "lpips": "9"}
    del there["numpy"]
    assert other_versions(here, there).split(", ") == [
        f"torch 1.0 instead of {here['torch']}",
        f"numpy not installed instead of {here['numpy']}",
        f"lpips 9 instead of {here.get('lpips', 'none')}",
    ]


def test_a_machine_without_the_weights_that_another_has_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    without = installed()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / BACKBONES["alex"].file).write_bytes(b"weights")
    said = other_versions(installed(), without)
    assert said == "AlexNet's weights (LPIPS) not installed instead of on disk"


def test_a_changed_line_of_code_is_another_project(tmp_path):
    code = tmp_path / "experiments" / "run" / "a.py"
    code.parent.mkdir(parents=True)
    code.write_text("x = 1\n")
    before = sources.__wrapped__(tmp_path)
    code.write_text("x = 2\n")
    assert sources.__wrapped__(tmp_path) != before
