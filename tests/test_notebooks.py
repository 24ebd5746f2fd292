"""The notebooks of docs/, run as their reader would."""

from pathlib import Path

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"


LONG = {"five_minutes"}
"""On a quick machine."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
        for path in sorted(FOLDER.glob("*.ipynb"))
    ],
)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]  # outputs name a machine
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output.get("data", {}).get("text/html", "") for cell in code for output in cell.outputs]
    if path.stem == "five_minutes":
        assert any("overall" in html and "95% interval" in html for html in shown)
        assert sum(html.count("data:image/webp;base64,") for html in shown) >= 12  # hits as pictures
