from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deterministic import Manifest, reproducible, save_checkpoint
from deterministic.checkpoint import container
from deterministic.cli import main

from ..checkpoint.trainings import trained
from .programs import ended


def test_the_last_checkpoint_of_a_directory_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, stop=7)
    assert main(["info", str(tmp_path)]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["file"] == str(tmp_path / "step-00000006.safetensors")
    assert rows["checksum"].endswith("of all of it: ok")
    assert rows["step"] == "6"
    assert rows["epoch"] == "1, within it: loader"
    assert rows["seed"] == "5, deterministic=True"
    assert f"torch {torch.__version__}" in rows["versions"]
    assert rows["others"] == "steps 2, 4"
    sizes = [int(rows[name].split()[0].replace(",", "")) for name in ("model", "optimizer", "generators", "tensors")]
    assert sizes[0] > 4 * (12 + 4 * 6 + 1)  # float32 parameters and statistics, and gradients
    assert sum(sizes[:3]) == sizes[3]


def test_without_a_checkpoint_it_says_what_is_in_effect_and_what_would_be(tmp_path: Path) -> None:
    variables = {"PYTHONHASHSEED": "random", "OMP_NUM_THREADS": "1", "CUBLAS_WORKSPACE_CONFG": ":4096:8"}
    command = (sys.executable, "-m", "deterministic", "info")
    found = json.loads(ended(*command, "--json", cwd=tmp_path, **variables).out)
    assert found["schema"] == 1
    assert found["versions"]["torch"] == torch.__version__
    assert found["now"]["environment"]["OMP_NUM_THREADS"] == "1"
    assert found["now"]["torch.cudnn"]["deterministic"] is False
    assert {"seed": {"before": None, "set": 42}} in [source["set"] for source in found["inside"]["sources"]]
    assert found["misspelt"] == {"CUBLAS_WORKSPACE_CONFG": "CUBLAS_WORKSPACE_CONFIG"}
    shown = ended(*command, cwd=tmp_path, **variables).out
    assert "  OMP_NUM_THREADS                 1\n" in shown
    assert "  torch.cudnn.deterministic                 False  True\n" in shown
    assert "deterministic run" in shown[shown.index("PYTHONHASHSEED:") :], "with its remedy"
    assert "it looks like CUBLAS_WORKSPACE_CONFIG" in shown


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with reproducible(seed=9):
        save_checkpoint(tmp_path / "a", weight=torch.zeros(5), note="x")
    assert main(["info", "--json", str(tmp_path / "a")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["conditions"]["seed"] == 9
    assert found["bytes"]["weight"] == 20
    assert len(found["checksum"]) == 32


def test_no_tensor_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path, stop=2)
    made: list[int] = []
    empty = torch.empty

    def counted(*size: int, **how: Any) -> torch.Tensor:
        made.append(size[0])
        return empty(*size, **how)

    monkeypatch.setattr(torch, "empty", counted)
    assert main(["info", str(tmp_path)]) == 0
    assert len(made) <= 2  # what the bytes pass through


def test_a_damaged_one_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(tmp_path, stop=2)
    (file,) = tmp_path.glob("step-*")
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    assert main(["info", str(tmp_path)]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_where_there_is_none_that_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path)]) == 1
    assert "has no checkpoint" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "text").write_text("not a checkpoint at all, but longer than a header")
    assert main(["info", str(tmp_path / "text")]) == 1
    assert "is not a checkpoint" in capsys.readouterr().err


def test_a_manifest_is_written_of_here_and_of_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, saved, checkpoint = (tmp_path / name for name in ("here.json", "saved.json", "a.safetensors"))
    with reproducible(seed=9):
        save_checkpoint(checkpoint, weight=torch.zeros(5))
    assert main(["info", "--manifest", str(here)]) == 0
    assert main(["info", "--manifest", str(saved), str(checkpoint)]) == 0
    assert capsys.readouterr().out == ""
    assert Manifest.read(here).data["seed"] is None
    assert {Manifest.read(here).data[name] for name in ("argv", "program.module", "script.sha256")} == {None}
    assert not any(name.startswith("generators.") for name in Manifest.read(here).data)
    assert Manifest.read(saved).data["seed"] == 9
    assert main(["diff", str(here), str(saved)]) == 1
    assert "seed" in capsys.readouterr().out.splitlines()[1]
    assert main(["info", "--manifest", str(tmp_path)]) == 2
    assert "this is a directory" in capsys.readouterr().err


def test_a_checkpoint_of_before_has_no_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    container.write(tmp_path / "a", {"conditions": {}}, {"generators": {"process": {}}, "objects": {}})
    assert main(["info", str(tmp_path / "a")]) == 0
    assert main(["info", "--manifest", str(tmp_path / "b.json"), str(tmp_path / "a")]) == 2
    assert "this checkpoint has no manifest" in capsys.readouterr().err
