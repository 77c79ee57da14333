"""`deterministic run`: what it sets before Python starts, what it seeds, and what it refuses."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deterministic.ground.config import Level

from ..properties import on_demand
from .programs import RUN, ended, python, run

# Whatever is asked is printed as one line of JSON.
ASK = """
import json, os, random, sys
found = {"random": random.random(), "hash": hash("x"), "torch": "torch" in sys.modules}
found["variables"] = dict(os.environ)
found["launch"] = json.loads(found["variables"].pop("DETERMINISTIC_RUN", "null"))
if "torch" in sys.argv:
    import numpy, torch
    found["numpy"] = numpy.random.rand()
    found["torch"] = torch.rand(1).item()
    found["again"] = random.random()
    found["flags"] = [torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic]
    found["warn_only"] = torch.is_deterministic_algorithms_warn_only_enabled()
    found["threads"] = torch.get_num_threads()
    found["cpu"] = torch.backends.cpu.get_cpu_capability()
    from deterministic import reproducible
    with reproducible() as run:
        found["scope"] = [run.seed, torch.initial_seed()]
        found["limits"] = [limit["subject"] for limit in run.report().data["limits"]]
    with reproducible(seed=8):
        found["explicit"] = torch.initial_seed()
print(json.dumps(found))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "ask.py").write_text(ASK)
    return tmp_path


def asked(folder: Path, *options: str, torchs: bool = False, **variables: str) -> dict[str, Any]:
    done = run(*options, "ask.py", *["torch"] * torchs, cwd=folder, **variables)
    assert done.status == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_the_draws_are_those_of_seeding_by_hand_and_flags_are_set(script: Path) -> None:
    by_hand = random.Random(7)
    found = asked(script, "--seed", "7", torchs=True)
    assert [found["random"], found["again"]] == [by_hand.random(), by_hand.random()]
    assert found["numpy"] == np.random.RandomState(7).rand()
    assert found["torch"] == torch.rand(1, generator=torch.Generator().manual_seed(7)).item()
    assert (found["flags"], found["warn_only"]) == ([True, True], False)
    assert found["scope"] == [7, 7]
    assert found["explicit"] == 8
    assert found["limits"] == ["CPU threads"], "the order of sets is controlled"
    assert found["variables"]["PYTHONHASHSEED"] == "7"
    assert found["variables"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_an_option_after_the_script_is_its_own_and_told_of_once_unless_quiet(script: Path) -> None:
    done = run("ask.py", "--seed", "7", cwd=script)
    assert done.err.count("deterministic run: --seed 7 stands after the script and is given to it") == 1
    assert json.loads(done.out)["launch"]["seed"] == 42
    assert "stands after" not in run("--quiet", "ask.py", "--seed", "7", cwd=script).err


def test_a_script_without_torch_does_not_wait_for_it_and_has_the_same_hashes_every_time(script: Path) -> None:
    first, again, other = (asked(script, *seed) for seed in ([], ["--seed", "42"], ["--seed", "43"]))
    assert (first["random"], first["hash"]) == (again["random"], again["hash"])
    assert first["random"] != other["random"]
    assert first["hash"] != other["hash"]
    assert first["torch"] is False


@pytest.fixture(scope="module")
def by_level(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Return what is found at each level, at one with a large seed, at one with one thread."""
    (folder := tmp_path_factory.mktemp("levels")).joinpath("ask.py").write_text(ASK)
    more = {"warn": ["--num-threads", "1"], "cudnn": ["--seed", str(2**64 - 1)], "false": []}
    return {level: asked(folder, "--deterministic", level, *options, torchs=True) for level, options in more.items()}


def test_a_large_seed_is_reduced_for_the_hashes_alone(by_level: Mapping[str, Any]) -> None:
    found = by_level["cudnn"]
    assert found["variables"]["PYTHONHASHSEED"] == str(2**32 - 1)
    assert found["scope"][0] == 2**64 - 1


@pytest.mark.parametrize(
    ("level", "flags", "warn_only"),
    [("warn", [True, True], True), ("cudnn", [False, True], False), ("false", [False, False], False)],
)
def test_levels(level: str, flags: list[bool], warn_only: bool, by_level: Mapping[str, Any]) -> None:
    found = by_level[level]
    assert (found["flags"], found["warn_only"]) == (flags, warn_only)
    assert ("CUBLAS_WORKSPACE_CONFIG" in found["variables"]) is (level == "warn")


def test_threads_are_fixed_before_python_starts(by_level: Mapping[str, Any]) -> None:
    found = by_level["warn"]
    assert found["threads"] == 1
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    assert {found["variables"][name] for name in names} == {"1"}


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="no AVX2 to fix")
def test_portable_bits_do_not_depend_on_the_threads_and_the_instructions_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import torch; from deterministic import fingerprint\n"
        "x = torch.randn(64, 200, requires_grad=True)\n"
        "model = torch.nn.Sequential(torch.nn.Linear(200, 300), torch.nn.GELU(), torch.nn.Linear(300, 10))\n"
        "model(x).log_softmax(1).square().mean().backward()\n"
        "print(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability(), fingerprint([x.grad, model]))\n"
    )
    done = run("--portable", "train.py", cwd=tmp_path)
    assert done.out.startswith("1 AVX2 "), done
    assert "CPU operations take longer" in done.err
    # What another machine would do by itself does not reach it.
    assert run("--portable", "train.py", cwd=tmp_path, MKL_DYNAMIC="FALSE").out == done.out
    elsewhere = {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}
    assert run("train.py", cwd=tmp_path, **elsewhere).out.split()[-1] != done.out.split()[-1]


def test_a_variable_that_the_user_set_stays_and_is_told_of(script: Path) -> None:
    mine = {"PYTHONHASHSEED": "5", "CUBLAS_WORKSPACE_CONFIG": ":16:8", "OMP_NUM_THREADS": "1"}
    done = run("--num-threads", "2", "ask.py", "torch", cwd=script, **mine)
    found = json.loads(done.out)
    assert {name: found["variables"][name] for name in mine} == mine
    for name, value in mine.items():
        assert f"deterministic run: {name}={value} is left as you set it; this run would have" in done.err
    assert found["threads"] == 2, "the option reaches torch all the same"
    assert "is left" not in run("--seed", "5", "ask.py", cwd=script, PYTHONHASHSEED="5").err


def test_what_an_outer_run_set_is_not_the_users(script: Path) -> None:
    done = ended(*RUN, "--seed", "1", "-m", "deterministic", "run", "--seed", "2", "ask.py", cwd=script)
    assert json.loads(done.out)["variables"]["PYTHONHASHSEED"] == "2"
    assert "is left" not in done.err
    inner = ended(*RUN, "--seed", "3", "-m", "deterministic", "run", "ask.py", cwd=script)
    assert json.loads(inner.out) == asked(script, "--seed", "3"), "an omitted seed is that of the run above"


def test_notices_go_to_stderr_and_can_be_left_out(script: Path) -> None:
    (script / "nothing.py").touch()
    assert run("--seed", "3", "nothing.py", cwd=script) == (0, "", "deterministic run: seed 3, deterministic=True\n")
    (script / "quiet.py").write_text("from deterministic.ground import launch; print(launch.is_quiet)")
    assert run("--quiet", "quiet.py", cwd=script) == (0, "True\n", "")
    assert "did you mean PYTHONHASHSEED?" in run("nothing.py", cwd=script, PYTHONASHSEED="0").err
    assert "Python was told to ignore" in ended(sys.executable, "-E", *RUN[1:], "nothing.py", cwd=script).err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "over"),
    [
        ("--seed 7 own.py", "--seed 7"),
        ("--config config.yaml own.py", "config.yaml"),
        ("--seed 7 both.py", None),
        *on_demand([("own.py", None), ("--seed 8 own.py", None), ("-q --seed 7 own.py", None)]),
    ],
)
def test_a_seed_that_the_script_gives_itself_wins_and_that_is_said(
    command: str, over: str | None, script: Path
) -> None:
    own = "from deterministic import reproducible\nwith reproducible(seed=8): pass\n"
    (script / "own.py").write_text(own)
    (script / "both.py").write_text(f"{own}with reproducible(): pass\n")
    (script / "config.yaml").write_text("seed: 3\n")
    told = run(*command.split(), cwd=script).err
    said = "the script gave reproducible() the seed 8 itself, which wins over"
    assert f"{said} {over} inside" in told if over else said not in told


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", ["--seed 7 own.py", "--seed 8 own.py", *on_demand(["own.py", "-q --seed 7 own.py"])]
)
def test_a_seed_that_the_script_gives_torch_itself_is_said(command: str, script: Path) -> None:
    said = "the script seeded torch with 8 itself, which wins over --seed 7 from there on"
    (script / "own.py").write_text("import torch; torch.manual_seed(8)\n")
    told = run(*command.split(), cwd=script).err
    assert said in told if command == "--seed 7 own.py" else "itself" not in told


KEEPS = (
    "import torch",
    "import torch; torch.manual_seed(torch.initial_seed())",
    "from deterministic import reproducible; reproducible(deterministic=False).start()",
    "import torch\nwith torch.random.fork_rng(): torch.manual_seed(8)",
)


@pytest.mark.parametrize("code", ["\n".join(KEEPS), *on_demand(KEEPS)])
def test_a_script_that_keeps_the_seed_is_not_said_to_have_another(code: str, script: Path) -> None:
    (script / "keeps.py").write_text(code)
    assert "itself" not in run("--seed", str(2**40), "keeps.py", cwd=script).err  # torch gets another number for it


def test_a_seed_of_torchs_that_a_scope_was_given_is_said_once(script: Path) -> None:
    (script / "own.py").write_text("from deterministic import seed_everything; seed_everything(2**40)\n")
    told = [line for line in run("--seed", "7", "own.py", cwd=script).err.splitlines() if "itself" in line]
    assert len(told) == 1
    assert f"gave reproducible() the seed {2**40} itself" in told[0]


def test_the_error_of_an_operation_that_is_refused_names_the_line_and_the_way_out(script: Path) -> None:
    (script / "put.py").write_text("import torch\ntorch.zeros(3).put_(torch.tensor([0]), torch.ones(1))\n")
    done = run("put.py", cwd=script)
    assert done.status == 1
    assert "put.py:2" in done.err
    assert "deterministic run --deterministic warn" in done.err


def test_a_variable_that_run_did_not_write_is_refused(script: Path) -> None:
    done = run("ask.py", cwd=script, DETERMINISTIC_RUN="junk")
    assert (done.status, done.out) == (2, "")
    assert "DETERMINISTIC_RUN" in done.err
    assert "Traceback" not in done.err


def test_an_empty_variable_is_none(script: Path) -> None:
    found = asked(script, PYTHONHASHSEED="")
    assert found["variables"]["PYTHONHASHSEED"] == "42"


def test_a_variable_that_does_not_last_is_told_of_and_not_tried_for_ever(script: Path) -> None:
    (script / "sitecustomize.py").write_text("import os; os.environ.pop('PYTHONHASHSEED', None)")
    done = run("ask.py", cwd=script, PYTHONPATH=str(script))
    assert done.status == 0
    assert "PYTHONHASHSEED: something takes it out of the environment" in done.err


@pytest.mark.parametrize(
    ("text", "options", "seed", "level"),
    [
        ("seed: 7\nlr: 0.1\n", [], 7, False),
        ("seed: 0\ndeterministic: true\n", [], 0, True),
        ("seed: 7\ndeterministic_cudnn: true\n", ["--seed", "8"], 8, "cudnn"),
        ("seed: 7\ndeterministic: warn\n", ["--deterministic", "false"], 7, False),
        ("deterministic: true\n", [], None, True),
        ("lr: 0.1\n", ["--seed", "9"], 9, False),
    ],
)
def test_a_file_says_what_the_command_line_does_not(
    text: str, options: list[str], seed: int | None, level: Level, script: Path
) -> None:
    (script / "config.yaml").write_text(text)
    found = asked(script, "--config", "config.yaml", *options)
    assert (found["launch"]["seed"], found["launch"]["deterministic"]) == (seed, level)
    assert found["variables"].get("PYTHONHASHSEED") == (None if seed is None else str(seed))
    assert (found["random"] == random.Random(seed).random()) is (seed is not None)


def test_a_level_without_a_seed_seeds_nothing(script: Path) -> None:
    (script / "config.yaml").write_text("deterministic: true\n")
    first, second = (asked(script, "--config", "config.yaml", torchs=True) for _ in range(2))
    assert first["flags"] == second["flags"] == [True, True]
    assert first["scope"] == second["scope"] == [42, 42]
    for name in ("random", "numpy", "torch"):
        assert first[name] != second[name]


@pytest.mark.parametrize("seed", ["42.0", "true", "-5", ".inf", "2001-01-01", "{a: 1}", "'42'"])
def test_a_seed_of_a_file_that_is_none_is_refused_and_nothing_runs(seed: str, script: Path) -> None:
    (script / "config.yaml").write_text(f"seed: {seed}\n")
    done = run("--config", "config.yaml", "ask.py", cwd=script)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("deterministic run: error: seed ")


def test_a_file_with_neither_key_changes_nothing(script: Path) -> None:
    (script / "config.json").write_text('{"lr": 0.1}')
    first, second = (asked(script, "--config", "config.json") for _ in range(2))
    assert first["random"] != second["random"]
    assert "PYTHONHASHSEED" not in first["variables"]
    assert first["launch"] is None
    notice = "deterministic run: config.json has neither seed nor deterministic at its top level: as python runs it\n"
    assert run("--config", "config.json", "ask.py", cwd=script).err == notice


def test_under_torchrun_ranks_and_exit_codes_stay(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import os, random, sys, time\n"
        "rank, size = (os.environ[name] for name in ('RANK', 'WORLD_SIZE'))\n"
        "sys.stderr.write(f\"rank {rank} of {size}: {random.random()} {hash('x')}\\n\")\n"
        "open('told', 'a').close() if rank == '0' else None\n"
        "while not os.path.exists('told'): time.sleep(0.01)\n"  # a rank that fails ends those that are still starting
        "sys.exit(7 if rank == '1' else 0)\n"
    )
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0")
    done = python(*launcher, "-m", "deterministic", "run", "--seed", "3", "train.py", cwd=tmp_path)
    lines = sorted(line for line in done.err.splitlines() if line.startswith("rank "))
    assert [line.partition(":")[0] for line in lines] == ["rank 0 of 2", "rank 1 of 2"]
    assert len({line.partition(":")[2] for line in lines}) == 1, "seeds and hashes are the same on all ranks"
    assert done.err.count("deterministic run: seed 3") == 1
    assert done.status == 1
    assert "exitcode  : 7" in done.err


def test_entropy_is_watched_from_the_first_line_on_with_and_without_torch(script: Path) -> None:
    (script / "draw.py").write_text(
        "import random, time\n"
        "for _ in range(2): print(random.Random().random())\n"
        "random.seed(time.time())\n"
        "import sys, numpy as np\n"
        "print(np.random.default_rng().random())\n"
        "random.seed()\n"
        "print(random.random(), 'torch' in sys.modules)\n"
    )
    first, again = (run("--entropy", "seed", "draw.py", cwd=script, PYTHONWARNINGS="ignore") for _ in range(2))
    assert first.out == again.out
    assert first.out.endswith("False\n")
    assert len({*first.out.split()}) == 5
    refused = run("--entropy", "raise", "draw.py", cwd=script)
    assert refused.status == 1
    assert "draw.py:2\n  from: random.Random() without a seed" in refused.err
    assert "`with reproducible() as run:` has that run, with the command's seed" in refused.err
    (script / "config.yaml").write_text("deterministic: true\n")
    without = run("--config", "config.yaml", "--entropy", "seed", "draw.py", cwd=script)
    assert without.status == 2
    assert "no seed to begin with" in without.err
    with (script / "draw.py").open("a") as file:
        file.write("import torch\ntorch.Generator().seed()\n")
    warned = run("--entropy", "warn", "draw.py", cwd=script)
    assert "draw.py:9\n  from: seed() of a torch.Generator" in warned.err
    assert "NondeterminismWarning" in warned.err
    assert "draw.py:3\n  from: a seed read from the clock" in warned.err
