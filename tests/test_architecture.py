"""Who may know whom (docs/architecture.md), read from the imports themselves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pix2pix", "experiments", "eval", "reports")
LAYERS = {
    "pix2pix.common": (),
    "pix2pix.data": ("pix2pix.common", "pix2pix.data"),
    "pix2pix": ("pix2pix",),
    "eval": ("eval", "pix2pix.common", "pix2pix.data"),
    "experiments": ("experiments", "eval", "pix2pix"),
    "reports": ("reports", "experiments", "eval", "pix2pix"),
}
"""What each package may import of ours; the longest name that fits a module counts."""
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
LIGHT = ("experiments.spec", "experiments.plan", "run_ablations", "eval.metrics", "eval.__main__")
"""What answers at once: neither torch nor MLflow is imported with it."""


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path) for path in MODULES}


def lies_in(module, package):
    return module == package or module.startswith(f"{package}.")


def imports(path, inside=True):
    """Every module that a file imports, at its top or (`inside`) in a function."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if inside else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES else node.module for name in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    here = name_of(path)
    layer = max((name for name in LAYERS if lies_in(here, name)), key=len)
    for module in imports(path):
        if module.partition(".")[0] in PACKAGES:
            allowed = LAYERS[layer] or (layer,)
            assert any(lies_in(module, name) for name in allowed), f"{here} imports {module}"
            assert module != "eval" or layer == "eval", f"{here}: `eval` is a builtin's name"


def test_nothing_imports_in_a_circle():
    edges = {name_of(p): {m for m in imports(p) if m != name_of(p)} for p in MODULES}
    while free := [name for name, to in edges.items() if not to & edges.keys()]:
        for name in free:
            del edges[name]
    assert not edges, f"circles among {sorted(edges)}"


def test_only_tracking_imports_mlflow():
    for path in MODULES:
        if "mlflow" in {m.partition(".")[0] for m in imports(path)}:
            assert lies_in(name_of(path), "experiments.tracking"), name_of(path)


@pytest.mark.parametrize(
    "module",
    LIGHT,
)
def test_what_has_to_answer_at_once_imports_neither_torch_nor_mlflow(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'mlflow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_readmes_test_command_is_the_one_that_ci_runs():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    (command,) = [line for line in readme.splitlines() if line.startswith("make test")]
    assert command == "make test" and f"\n{command}\n" in ci
