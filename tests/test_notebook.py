"""The example notebook, executed by a real kernel."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_example_trains_scores_and_draws(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    notebook = nbformat.read(ROOT / "examples/ablation.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "saved without outputs"
    NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}, timeout=600).execute()
    table, scores, figure = (
        {kind for output in cell.outputs for kind in output.get("data", {})}
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
    assert "text/html" in table and "text/plain" in scores and "image/png" in figure
    (report,) = tmp_path.glob("reports/out/*/losses/index.html")
    assert report.parent.parent.name in notebook.cells[-2].source
