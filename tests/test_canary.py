"""The canary of conftest.py sees what a test leaves behind, and says nothing of one that leaves nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETS = """
import os
import pytest
from tests.conftest import environment_of_module

@pytest.fixture(scope="module", autouse=True)
def sets():
    os.environ["SET_BY_A_MODULE"] = "1"

def test_it_is_set():
    assert os.environ["SET_BY_A_MODULE"]
"""
LEAVES = {
    "random.seed(1)": "sources changed: {'python.random': ",
    "torch.backends.cudnn.deterministic = True": "sources changed: {'torch.cudnn': ",
    "reproducible(1).start()": "scopes open: [",
    "torch.rand(1, generator=torch.Generator())": None,
    "os.environ.update(SET='1', PATH='')": None,
    "assert 'SET' not in os.environ and os.environ['PATH']": None,
    "assert 'SET_BY_A_MODULE' not in os.environ": None,
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of a file with a test of each statement, one after the other."""
    folder = tmp_path_factory.mktemp("canary")
    tests = [f"def test_{number}():\n    {statement}\n" for number, statement in enumerate(LEAVES)]
    imports = [
        "import os, random, torch",
        "from deterministic import reproducible",
        "from tests.conftest import canary, environment",
    ]
    (folder / "test_it.py").write_text("\n".join([*imports, *tests]))
    (folder / "test_before.py").write_text(SETS)
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
            str(folder),
            str(folder),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.parametrize("statement", LEAVES)
def test_a_test_that_leaves_something_changed_is_an_error_that_names_it(statement: str, said: str) -> None:
    named = LEAVES[statement]
    number = list(LEAVES).index(statement)
    section = re.search(rf"^_+ ERROR at teardown of test_{number} _+$(.*?)^[_=]+ ", said, re.MULTILINE | re.DOTALL)
    assert (section is not None) is (named is not None), said
    assert section is None or f"E       AssertionError: this test left {named}" in section[1]


def test_no_other_test_is_an_error(said: str) -> None:
    assert f"{len(LEAVES) + 1} passed, {sum(map(bool, LEAVES.values()))} errors" in said
