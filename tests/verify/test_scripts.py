"""Scripts run as `python` would run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deterministic.verification.scripts import ScriptTask

from .repetitions import footer_of, run_once

FACTS = """
import atexit, json, multiprocessing, os, pickle, sys

{first}

class Mine:
    pass

def in_worker(mine):
    return type(mine).__module__, __name__

if __name__ == "__main__":
    place = sys.argv[1]
    found = {{
        "argv": sys.argv,
        "path": sys.path,
        "file": __file__,
        "package": __package__,
        "spec": __spec__ and __spec__.name,
        "builtins": type(__builtins__).__name__,
        "here": os.getcwd(),
        "main": sys.modules["__main__"].Mine is Mine,
        "pickled": type(pickle.loads(pickle.dumps(Mine()))) is Mine,
        "flags": sys.flags.optimize,
        "no input": os.path.samestat(os.fstat(0), os.stat(os.devnull)),
    }}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found["worker"] = pool.apply(in_worker, (Mine(),))
    os.mkdir("elsewhere")
    os.chdir("elsewhere")

    @atexit.register
    def at_the_end():
        found["at the end"] = sys.modules["__main__"].Mine is Mine
        with open(place, "w") as file:
            json.dump(found, file)

    sys.exit(0)
"""


@pytest.mark.parametrize("is_module", [False, True])
def test_a_script_finds_what_python_shows_it(is_module: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "beside.py").write_text("value = 1")
    first = "from . import beside" if is_module else "import beside"
    (package / "script.py").write_text(FACTS.format(first=first))
    target = "package.script" if is_module else "package/script.py"
    for name, command in (("ours", None), ("python", ["-m", target] if is_module else [target])):
        folder = tmp_path / name
        folder.mkdir()
        os.symlink(package, folder / "package")
        if not is_module:  # for a script elsewhere what stands in the working directory is no module of Python's
            (folder / "random.py").write_text("raise RuntimeError")
        monkeypatch.chdir(folder)
        arguments = [str(tmp_path / f"{name}.json"), "--seed", "-m", "--"]
        if command is None:
            done = run_once(ScriptTask(target, arguments, is_module), tmp_path / "run.trace")
            assert (done.raised, list(done.cut)) == (None, [])
        else:
            subprocess.run(
                [sys.executable, *command, *arguments],
                env={**os.environ, "PYTHONHASHSEED": "0"},
                stdin=subprocess.DEVNULL,
                check=True,
            )
    ours, expected = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("ours", "python"))
    ours, expected = (
        json.loads(json.dumps(found).replace(f"{tmp_path}/{name}", "HERE"))
        for name, found in (("ours", ours), ("python", expected))
    )
    assert ours.pop("path")[: len(expected["path"])] == expected.pop("path")
    assert ours.pop("worker") == expected.pop("worker") == ["__mp_main__", "__mp_main__"]
    assert ours.pop("at the end") == expected.pop("at the end") is True
    assert {**ours, "argv": ours["argv"][2:]} == {**expected, "argv": expected["argv"][2:]}


def test_a_loader_of_a_script_spawns_workers_that_import_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
import torch
from torch.utils.data import DataLoader, Dataset

class Numbers(Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, index):
        return torch.tensor(index, dtype=torch.float32)

if __name__ == "__main__":
    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for batch in DataLoader(Numbers(), num_workers=1, multiprocessing_context="spawn"):
        weight.grad = batch
        optimizer.step()
"""
    )
    done = run_once(ScriptTask(str(script)), tmp_path / "run.trace")
    assert (done.raised, list(done.cut)) == (None, [])
    assert footer_of(tmp_path / "run.trace")["steps"] == 2
