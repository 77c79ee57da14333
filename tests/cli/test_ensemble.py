"""`deterministic run --seeds`: one script for several seeds, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deterministic import spawn_seeds

from ..properties import on_demand
from .programs import RUN, run


@pytest.fixture
def draw(tmp_path: Path) -> Path:
    (tmp_path / "draw.py").write_text(
        "import os, random, sys\n"
        "seed = os.environ['PYTHONHASHSEED']\n"
        "print(seed, random.random(), hash('x'), flush=True)\n"
        "print('told', seed, file=sys.stderr, flush=True)\n"
        "if seed in sys.argv[1:]: sys.exit(5)\n"
    )
    return tmp_path


def test_each_seed_runs_as_if_alone_one_after_the_other(draw: Path) -> None:
    done = run("--seeds", "42,7", "draw.py", cwd=draw)
    alone = [run("--seed", seed, "draw.py", cwd=draw).out for seed in ("42", "7")]
    assert done.out == "".join(alone)
    lines = done.err.splitlines()
    assert lines[:3] == ["deterministic run: seeds 42, 7, deterministic=True", "told 42", "told 7"]
    assert [line.split()[:2] for line in lines[3:]] == [["seed", "exit"], ["42", "0"], ["7", "0"]]
    assert done.status == 0


def test_a_seed_and_how_many_are_spawned_seeds(draw: Path) -> None:
    done = run("-q", "--seeds", "42:3", "--jobs", "3", "draw.py", cwd=draw)
    assert sorted(int(line.split()[2]) for line in done.out.splitlines()) == sorted(spawn_seeds(42, 3))


def test_several_at_a_time_write_whole_lines_each_with_its_seed(tmp_path: Path) -> None:
    (tmp_path / "talk.py").write_text(
        "import os, time\n"
        "for i in range(50): print('x' * 200, end='\\n' if i % 2 else 'y\\n', flush=True)\n"
        "print('no end of line', end='')\n"
    )
    done = run("-q", "--seeds", "1,2,3", "--jobs", "3", "talk.py", cwd=tmp_path)
    lines = done.out.splitlines()
    for seed in ("1", "2", "3"):
        own = [line for line in lines if line.startswith(f"{seed} | ")]
        assert own == [f"{seed} | {'x' * 200}{'' if i % 2 else 'y'}" for i in range(50)] + [f"{seed} | no end of line"]
    assert len(lines) == 153


def test_they_do_run_at_the_same_time(tmp_path: Path) -> None:
    (tmp_path / "meet.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path(os.environ['PYTHONHASHSEED']).touch()\n"
        "while not (os.path.exists('1') and os.path.exists('2')): time.sleep(0.01)\n"
    )
    assert run("--seeds", "1,2", "--jobs", "2", "meet.py", cwd=tmp_path).status == 0


def test_one_that_fails_is_seen_and_the_others_go_on(draw: Path) -> None:
    done = run("--seeds", "1,2,3", "draw.py", "2", cwd=draw)
    assert done.status == 1
    assert [line.split()[:2] for line in done.err.splitlines()[-3:]] == [["1", "0"], ["2", "5"], ["3", "0"]]


def test_one_that_was_killed_is_named_by_its_signal(tmp_path: Path) -> None:
    (tmp_path / "die.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    done = run("--seeds", "1", "die.py", cwd=tmp_path)
    assert (done.status, done.err.split()[-4:-2]) == (1, ["1", "SIGKILL"])


def test_options_reach_every_run(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(
        "import json, os, sys\n"
        "launch = json.loads(os.environ['DETERMINISTIC_RUN'])\n"
        "asked = [launch[name] for name in ('seed', 'deterministic', 'num_threads')]\n"
        "print(*asked, 'MKL_CBWR' in os.environ, sys.argv[1:])\n"
    )
    (tmp_path / "config.yaml").write_text("seed: 3\ndeterministic: warn\n")
    options = ("--config", "config.yaml", "--num-threads", "2", "--portable")
    done = run("-q", "--seeds", "8,9", *options, "-m", "package", "--seed", "1", cwd=tmp_path)
    assert done.out.splitlines() == [f"{seed} warn 2 True ['--seed', '1']" for seed in (8, 9)]
    done = run("-q", "--seeds", "8", "--deterministic", "cudnn", "-m", "package", cwd=tmp_path)
    assert done.out == "8 cudnn None False []\n"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "from deterministic import reproducible\nwith reproducible(seed=7): pass",
            "one effective seed in every run, 7:",
        ),
        ("import torch\ntorch.manual_seed(7)", "torch's generator had one effective seed at the end of every run, 7:"),
        ("import torch\ntorch.rand(1)", None),
        ("pass", None),
        *on_demand(
            [
                (
                    "from deterministic import seed_everything\nseed_everything(7)",
                    "one effective seed in every run, 7:",
                ),
                ("from deterministic import reproducible\nwith reproducible(): pass", None),
            ]
        ),
    ],
)
def test_one_effective_seed_of_all_runs_is_told(body: str, told: str | None, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(body)
    done = run("--seeds", "1,2", "train.py", cwd=tmp_path)
    assert ("one effective seed" in done.err) is (told is not None)
    assert (told or "") in done.err


def test_a_process_that_is_left_behind_does_not_hold_the_command_up(tmp_path: Path) -> None:
    (tmp_path / "leave.py").write_text(
        "import subprocess, sys\nprocess = subprocess.Popen(['sleep', '30'])\nprint(process.pid)\n"
    )
    started = time.monotonic()
    done = run("-q", "--seeds", "1", "--jobs", "2", "leave.py", cwd=tmp_path)
    assert time.monotonic() - started < 20, "a hang, not a speed: the process sleeps for 30 s"
    os.kill(int(done.out.split()[-1]), signal.SIGKILL)


def test_nothing_is_lost_where_nobody_reads_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "talk.py").write_text("for i in range(2000): print('line', i, 'x' * 60)")
    process = subprocess.Popen([*RUN, "-q", "--seeds", "1,2", "--jobs", "2", "talk.py"], cwd=tmp_path, stdout=-1)
    with process:
        time.sleep(5)  # longer than what is waited for behind a script that has ended
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert (process.returncode, len(lines)) == (0, 4000)


@contextmanager
def two_of_three(script: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Run a script for three seeds, two at a time; yield once both have printed their process ids."""
    command = [*RUN, "--seeds", "1,2,3", "--jobs", "2", script]
    streams: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, text=True, **streams) as process:
        assert process.stdout is not None
        yield process, [int(process.stdout.readline().split()[-1]) for _ in range(2)]


def test_a_second_interrupt_kills_what_does_not_end(tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(
        "import os, signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint(os.getpid(), flush=True)\n"
        "time.sleep(60)\n"
    )
    with two_of_three("deaf.py", tmp_path) as (process, _):
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert process.poll() is None, "it waits for what may be cleaning up"
        process.send_signal(signal.SIGINT)
        errors = process.communicate()[1]
    assert process.returncode == 130
    assert errors.count("SIGKILL") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_run_and_begins_none(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "wait.py").write_text(
        "import os, sys, time\n"
        "try:\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt: sys.exit(9)\n"
    )
    with two_of_three("wait.py", tmp_path) as (process, pids):
        process.send_signal(number)
        errors = process.communicate()[1]
    assert process.returncode == 130
    rows = {tuple(line.split()[:2]) for line in errors.splitlines()}
    assert {("1", "9"), ("2", "9"), ("3", "not")} <= rows
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
