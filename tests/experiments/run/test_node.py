from experiments.run.node import installed, other_versions, sources


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


def test_a_changed_line_of_code_is_another_project(tmp_path):
    code = tmp_path / "experiments" / "run" / "a.py"
    code.parent.mkdir(parents=True)
    code.write_text("x = 1\n")
    before = sources.__wrapped__(tmp_path)
    code.write_text("x = 2\n")
    assert sources.__wrapped__(tmp_path) != before
