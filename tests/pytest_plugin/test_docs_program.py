"""The test file that docs/pytest.md begins with, as it stands there, through pytest."""

from __future__ import annotations

from pathlib import Path

from ..test_docs import DOCS, blocks_of
from .inner import run_suite


def test_the_test_file_of_the_page_passes_and_is_bit_exact(tmp_path: Path) -> None:
    (program,) = (block for block in blocks_of((DOCS / "pytest.md").read_text(encoding="utf-8")) if block.is_python)

    session = run_suite(tmp_path, {"test_training.py": program.text}, "--reproducible-check=2", "--reproducible-leaks")

    assert session.code == 0, session.output
    assert "2 passed" in session.output
    assert "2 bit-exact" in session.output
