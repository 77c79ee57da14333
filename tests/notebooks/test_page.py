"""Every cell of the pages runs, in order, in a real kernel."""

from __future__ import annotations

import re

from ..processes import ROOT
from .kernels import Kernel

_CELL = re.compile(r"^```ipython\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_first_notebook_of_the_page_of_first_programs_runs(kernel: Kernel) -> None:
    page = (ROOT / "docs" / "first_programs.md").read_text(encoding="utf-8")
    load, draw = _CELL.findall(page)

    assert not kernel.run(load).stopped
    assert kernel.run(draw).shown() == kernel.run(draw).shown() == "tensor([0.8823, 0.9150])"


def test_the_cells_of_the_page_run(kernel: Kernel) -> None:
    page = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    cells = _CELL.findall(page)
    ran = [kernel.run(cell.rstrip("\n")) for cell in cells]

    assert len(cells) == page.count("```ipython") == 10
    assert [cell for cell, result in zip(cells, ran, strict=True) if result.stopped] == []
    assert [ran[index].shown() for index in (2, 4, 7)] == ["True", "7", "True"]
    assert "<table>" in ran[-1].shown("text/html")
