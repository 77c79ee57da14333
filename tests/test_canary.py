"""The canary of conftest.py sees what a test leaves behind, and says nothing of one that leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEAVES = {
    "random.seed(1)": "python.random",
    "torch.backends.cudnn.deterministic = True": "torch.cudnn",
    "reproducible(1).start()": "left scopes open",
    "torch.rand(1, generator=torch.Generator())": None,
}


@pytest.mark.parametrize("statement", LEAVES)
def test_a_test_that_leaves_something_changed_is_an_error_that_names_it(statement: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import random\nimport torch\nfrom deterministic import reproducible\n"
        f"from tests.conftest import canary\n\ndef test_it():\n    {statement}\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    named = LEAVES[statement]
    assert ("1 error" in done.stdout) is (named is not None), done.stdout
    assert named is None or named in done.stdout
