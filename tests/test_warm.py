"""Copies of a Python that has imported torch: what runs in one finds what it would find in a new process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .processes import ROOT
from .warm import Python

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each Python is a new process"),
    pytest.mark.usefixtures("warm_pythons"),
]
FACTS = """
import os, sys
print(sys.argv, sys.path[:2], __name__, globals().get("__file__"), os.getcwd(), os.environ["ONE"], hash("x"))
print(os.getppid(), sys.stdin.read(), sorted(name for name in globals() if name[:2] != "__"))
sys.stderr.write("to stderr")
sys.exit(3)
"""


def warm(**changed: str) -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), **changed}


def facts(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments, "--an", "argument"],
        input="typed",
        cwd=folder,
        env=warm(ONE="1"),
        capture_output=True,
        text=True,
    )


def is_copy(process: subprocess.Popen[bytes]) -> bool:
    return isinstance(process, Python) and process._connection is not None


@pytest.mark.parametrize("arguments", [["-c", FACTS], ["-m", "facts"], ["facts.py"]], ids=lambda found: found[0])
def test_a_program_finds_what_it_finds_in_a_new_process(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "facts.py").write_text(FACTS)
    copied = facts(arguments, tmp_path)
    monkeypatch.setattr(subprocess, "Popen", Python.__base__)
    new = facts(arguments, tmp_path)
    assert (copied.returncode, copied.stdout, copied.stderr) == (new.returncode, new.stdout, new.stderr)
    assert copied.returncode == 3
    assert "typed" in copied.stdout


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("import sys; sys.exit('what was wrong')", 1),
        ("raise ValueError", 1),
        ("import os; os._exit(4)", 4),
        ("import os; os.abort()", -signal.SIGABRT),
    ],
)
def test_how_a_program_ends_is_known(code: str, status: int) -> None:
    with subprocess.Popen([sys.executable, "-c", code], env=warm(), stderr=subprocess.DEVNULL) as process:
        assert is_copy(process)
        assert process.wait(60) == status


def test_what_is_left_to_the_end_is_done() -> None:
    code = "import atexit, threading; atexit.register(print, 2); threading.Timer(0.01, lambda: print(1)).start()"
    assert subprocess.check_output([sys.executable, "-c", code], env=warm()) == b"1\n2\n"


def test_one_can_be_waited_for_and_ended() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, env=warm(), start_new_session=True) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        assert process.poll() is None
        assert os.getpgid(process.pid) == process.pid
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM


def test_no_two_draw_the_same() -> None:
    code = "import random, numpy, torch; print(random.random(), numpy.random.rand(), torch.rand(1).item())"
    first, second = (subprocess.check_output([sys.executable, "-c", code], env=warm()).split() for _ in range(2))
    assert all(one != other for one, other in zip(first, second, strict=True)), first


def test_what_it_forks_has_it_as_its_parent() -> None:
    code = "import os; pid = os.getpid()\nif os.fork(): os.wait()\nelse: print(os.getppid() == pid)"
    assert subprocess.check_output([sys.executable, "-c", code], env=warm()) == b"True\n"


def test_it_has_the_threads_that_it_is_asked_to_have() -> None:
    command = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
    assert subprocess.check_output(command, env=warm(OMP_NUM_THREADS="1")) == b"1\n"


def test_those_that_it_starts_are_copies_too() -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', ''])._connection is not None)"
    assert subprocess.check_output([sys.executable, "-c", code], env=warm()) == b"True\n"


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ([], {"PYTHONHASHSEED": "1"}),
        ([], {"PYTHONHASHSEED": "random"}),
        ([], {"MKL_NUM_THREADS": "1"}),
        (["-O"], {}),
        (["-I"], {}),
    ],
)
def test_a_new_process_is_started_where_a_copy_would_not_do(options: list[str], changed: dict[str, str]) -> None:
    with subprocess.Popen([sys.executable, *options, "-c", ""], env=warm(**changed)) as process:
        assert not is_copy(process)
    assert process.returncode == 0
