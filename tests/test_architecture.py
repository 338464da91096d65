"""Who may know whom (docs/architecture.md), read from the imports themselves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pix2pix", "experiments", "eval", "reports")
ALLOWED = {
    "pix2pix": set(),
    "eval": set(),
    "experiments": {"pix2pix", "eval"},
    "reports": {"experiments", "eval", "pix2pix"},
}
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))


def imports(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    package, here = parts[0], ".".join(parts)
    for module in imports(path):
        top = module.partition(".")[0]
        if here == "eval.registry" and top == "pix2pix":
            continue  # the one room of eval that reads datasets.yaml, for the command alone
        if package == "eval" and module == "eval.registry":
            assert here == "eval.request", f"{here} imports {module}"
        if top in PACKAGES and top != package:
            assert top in ALLOWED[package], f"{here} imports {module}"
        if top == "mlflow":
            assert here.startswith("experiments.tracking"), f"{here} imports mlflow"
        if top in ("torch", "torchvision"):
            assert package != "reports", f"{here} imports torch"
        if package == "experiments" and top == "eval":
            joins = {"experiments.scoring", "experiments.worker"}
            light = {"eval.metrics", "eval.backbone", "eval.fcn_score", "eval.scorer_header"}
            assert here in joins or module in light, f"{here} imports {module}"
        if package == "reports" and top == "experiments":
            assert module.startswith("experiments.tracking"), f"{here} imports {module}"
        if package == "reports" and top == "pix2pix":
            plain = {"pix2pix.errors", "pix2pix.atomic", "pix2pix.ownership"}  # files and errors
            assert module in plain, f"{here} imports {module}"
        assert module != "eval" or package == "eval", (
            f"{here}: `eval` is a builtin's name, import from its modules"
        )


@pytest.mark.parametrize(
    "module",
    [
        "experiments.spec",
        "experiments.study",
        "experiments.worker",
        "pix2pix.datasets",
        "pix2pix.pairs",
        "pix2pix.config",
        "eval.metrics",
        "eval.__main__",
        "run_ablations",
    ],
)
def test_what_has_to_answer_at_once_imports_neither_torch_nor_mlflow(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_readmes_test_command_is_the_one_that_ci_runs():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    (command,) = [line for line in readme.splitlines() if line.endswith("-m pytest -n 2")]
    assert command in ci
