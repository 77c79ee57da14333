"""The example notebook: it is committed without outputs, runs from nothing, and shows what its text says."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from ..processes import ROOT

PATH = ROOT / "examples" / "notebook.ipynb"
read: Any = nbformat.read


def shown(notebook: Any, name: str, mime: str = "text/plain") -> str:
    """Return what the cell with the id `name` shows as its value."""
    (cell,) = [cell for cell in notebook.cells if cell.id == name]
    (output,) = cell.outputs
    text: str = output.text if output.output_type == "stream" else output.data[mime]
    return text


@pytest.fixture(scope="module")
def executed() -> Any:
    notebook = read(PATH, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(PATH.parent))
    return notebook


def test_it_is_kept_without_outputs() -> None:
    notebook = read(PATH, as_version=4)

    nbformat.validate(notebook)
    assert [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []


def test_training_again_gives_the_same_loss(executed: Any) -> None:
    assert 0 < float(shown(executed, "train")) < 1
    assert shown(executed, "again") == "True"


def test_the_report_shows_as_html(executed: Any) -> None:
    report = shown(executed, "report", "text/html")

    assert "seed 42" in report
    assert "entered at Cell In[5]:1" in report
    assert "not controlled" in report


def test_every_cell_starts_from_the_seed_while_it_is_on(executed: Any) -> None:
    assert "on" in shown(executed, "on")
    assert shown(executed, "one") == shown(executed, "other")
    assert "off" in shown(executed, "off")


def test_verify_shows_as_html_with_a_picture(executed: Any) -> None:
    exact, careless = (shown(executed, name, "text/html") for name in ("verify", "differs"))

    assert "bit-exact: 3 runs of train" in exact
    assert "first at step 2 of 5" in careless
    assert "<img" in exact
    assert "<img" in careless
