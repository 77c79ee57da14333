"""A checkpoint goes to torch.distributed.checkpoint and comes back from it, and no pickle of its runs."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deterministic import fingerprint, load_checkpoint, reproducible, save_checkpoint
from deterministic.errors import CheckpointError

from ..ranks import launch

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed"),
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning"),
]


def made(width: int = 4) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    """Return a model whose optimizer has its parameters in another order than it, and in groups."""
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 4))
    groups: list[dict[str, Any]] = [
        {"params": [*model[2].parameters()], "lr": 0.5},
        {"params": [*model[:2].parameters()]},
    ]
    optimizer = torch.optim.AdamW(groups, 0.1)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2)


def states(model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any) -> str:
    return fingerprint([model.state_dict(), optimizer.state_dict(), scheduler.state_dict()])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder with a checkpoint and its export, and the fingerprint of what was saved."""
    from deterministic.checkpoint import to_dcp

    folder = tmp_path_factory.mktemp("dcp")
    with reproducible(seed=0):
        model, optimizer, scheduler = made()
        for _ in range(3):
            model(torch.randn(5, 3)).square().sum().backward()
            optimizer.step()
            scheduler.step()
        save_checkpoint(folder / "a", model=model, optimizer=optimizer, scheduler=scheduler, step=3)
    to_dcp(folder / "a", folder / "exported")
    return folder, states(model, optimizer, scheduler)


def test_torch_reads_what_is_exported_under_the_names_of_its_own_state_dicts(saved: tuple[Path, str]) -> None:
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    model, optimizer, scheduler = made()
    of_model, of_optimizer = get_state_dict(model, optimizer)
    state: dict[str, Any] = {"model": of_model, "optimizer": of_optimizer, "scheduler": scheduler, "step": 0}
    load(state, checkpoint_id=saved[0] / "exported", no_dist=True)
    set_state_dict(model, optimizer, model_state_dict=of_model, optim_state_dict=of_optimizer)
    assert (states(model, optimizer, scheduler), state["step"]) == (saved[1], 3)


def test_what_comes_back_is_what_was_saved_and_can_be_saved_again(saved: tuple[Path, str], tmp_path: Path) -> None:
    from deterministic.checkpoint import from_dcp

    objects = dict(zip(("model", "optimizer", "scheduler"), made(), strict=True))
    assert from_dcp(saved[0] / "exported", **objects, step=0) == {"step": 3}
    assert states(**objects) == saved[1]
    with reproducible(seed=0):
        save_checkpoint(tmp_path / "again", **objects)
        load_checkpoint(tmp_path / "again", **objects)


def test_what_does_not_fit_is_named_before_anything_is_touched(saved: tuple[Path, str], tmp_path: Path) -> None:
    from deterministic.checkpoint import from_dcp, to_dcp

    folder, (model, optimizer, _) = saved[0], made()
    before = fingerprint(model)
    with reproducible(seed=0):
        save_checkpoint(tmp_path / "alone", optimizer=optimizer)
    (tmp_path / "file").touch()
    trained, its_optimizer, _ = made()
    trained[0].weight.grad = torch.ones(4, 3)  # type: ignore[index]
    both = {"model": trained, "optimizer": its_optimizer}
    refused: dict[str, tuple[Callable[[], object], str]] = {
        "a name": (lambda: from_dcp(folder / "exported", model=model, ema=model), "Missing key .* ema.0.weight"),
        "a shape": (lambda: from_dcp(folder / "exported", model=made(5)[0]), "Size mismatch .* model.0.weight"),
        "a state that torch would leave": (lambda: from_dcp(folder / "exported", **both), "first optimizer.state.2"),
        "no module": (lambda: from_dcp(folder / "exported", optimizer=optimizer), "all parameters of optimizer\n"),
        "no directory": (lambda: from_dcp(tmp_path, model=model), "cannot be loaded\n  found: FileNotFoundError"),
        "not empty": (lambda: to_dcp(folder / "a", folder / "exported"), "is no empty directory"),
        "a file": (lambda: to_dcp(folder / "a", tmp_path / "file"), "is no empty directory"),
        "no names": (lambda: to_dcp(tmp_path / "alone", tmp_path / "x"), "the parameters of optimizer are called"),
    }
    for attempt, text in refused.values():
        with pytest.raises(ValueError, match=text):
            attempt()
    assert fingerprint(model) == before
    assert not (tmp_path / "x").exists()


class Code:
    """Runs a command of the system where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("it-ran",)


@pytest.mark.parametrize("place", ["a value", "metadata", "junk", "another value"])
def test_no_pickle_runs(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.checkpoint.state_dict_saver import save

    from deterministic.checkpoint import from_dcp

    monkeypatch.chdir(tmp_path)
    save({"a": Code() if place == "a value" else 1}, checkpoint_id=tmp_path / "hostile", no_dist=True)
    written = {"metadata": pickle.dumps(Code()), "junk": b"junk", "another value": pickle.dumps({})}
    if place in written:
        (tmp_path / "hostile" / ".metadata").write_bytes(written[place])
    texts = {"metadata": r"found: \w+\.mkdir", "junk": "UnpicklingError", "another value": "found: dict"}
    with pytest.raises(CheckpointError, match=texts.get(place, r"a would have to be .*\n  found: \w+\.mkdir")):
        from_dcp(tmp_path / "hostile", a=0)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.slow
def test_a_sharded_training_goes_there_and_back_on_two_ranks(tmp_path: Path) -> None:
    launch(2, "tests.checkpoint.dcp_ranks", tmp_path)
    found, other = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert "Missing key in checkpoint state_dict: other.0.weight" in found.pop("refused")
    assert other.pop("refused")
    assert "rank 1: CheckpointError" in found.pop("on one")
    assert "nowhere cannot be loaded" in other.pop("on one")
    assert found == other
    assert len({*found.values()}) == 1
