"""The example notebook: it is committed with its outputs, runs from nothing, and shows what its text says.

`python -m tests.notebooks.test_example` runs it and keeps what it shows.
"""

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


def run() -> Any:
    """Run the notebook as it is kept; the cells' times are no part of what it shows."""
    notebook = read(PATH, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False).execute(cwd=str(PATH.parent))
    return notebook


@pytest.fixture(scope="module")
def executed() -> Any:
    return run()


def test_it_is_kept_with_the_outputs_of_a_run_from_nothing() -> None:
    notebook = read(PATH, as_version=4)

    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert [output for cell in code for output in cell.outputs if output.output_type == "error"] == []
    assert str(ROOT) not in PATH.read_text(encoding="utf-8")


def test_what_is_kept_is_what_it_shows(executed: Any) -> None:
    kept = read(PATH, as_version=4)

    for name in ("again", "on", "off"):
        assert shown(executed, name) == shown(kept, name)
    for name in ("report", "verify", "differs"):
        one, other = (shown(notebook, name, "text/html").partition("</p>")[0] for notebook in (executed, kept))
        assert one == other


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


if __name__ == "__main__":
    nbformat.write(run(), PATH)  # type: ignore[no-untyped-call]
