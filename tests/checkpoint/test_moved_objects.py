"""An object whose loading moves something else than it says: what was moved is named, or put back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DistributedSampler

from deterministic import fingerprint, load_checkpoint, make_loader, reproducible, save_checkpoint
from deterministic.errors import ResumeMismatchError


class Moves:
    """Loading it does what it was made with."""

    def __init__(self, move: Callable[[], object]) -> None:
        self.move = move

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.move()


class Keeps:
    """Keeps what it is given, and not a copy."""

    def __init__(self) -> None:
        self.tensor = torch.ones(2)
        self.items = [1, [2]]

    def state_dict(self) -> dict[str, Any]:
        return {"tensor": self.tensor, "items": self.items}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tensor, self.items = state["tensor"], state["items"]


class Alters(Keeps):
    """Alters what it is given, and keeps that."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.tensor += 1


class Empties(Keeps):
    """Takes what it needs out of what it is given, however deep."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tensor, self.items = state["tensor"], [1, [state.pop("items")[1].pop()]]


def loaded(path: Path, **objects: Any) -> None:
    save_checkpoint(path / "a", **objects)
    load_checkpoint(path / "a", **objects)


def trained() -> tuple[nn.Linear, torch.optim.Optimizer]:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_what_keeps_or_empties_what_it_is_given_is_what_was_saved(tmp_path: Path) -> None:
    with reproducible(seed=0):
        loaded(tmp_path, keeps=Keeps(), empties=Empties())


def test_an_object_that_alters_what_it_is_given_in_place_is_named(tmp_path: Path) -> None:
    with reproducible(seed=0), pytest.raises(ResumeMismatchError, match=r"alters is not what was saved[\s\S]*in place"):
        loaded(tmp_path, alters=Alters())


@pytest.mark.parametrize("what", ["tensor", "items"])
def test_an_object_that_another_one_moves_is_named_also_if_it_keeps_what_it_is_given(what: str, tmp_path: Path) -> None:
    keeps = Keeps()
    moves = {"tensor": lambda: keeps.tensor.add_(1), "items": lambda: keeps.items.append(3)}
    with reproducible(seed=0):
        with pytest.raises(ResumeMismatchError, match="keeps is not what was saved"):
            loaded(tmp_path, keeps=keeps, moves=Moves(moves[what]))
        loaded(tmp_path, moves=Moves(moves[what]), keeps=keeps)  # put back after it was moved


def test_the_state_of_an_optimizer_that_another_object_moves_is_named(tmp_path: Path) -> None:
    with reproducible(seed=0):
        model, optimizer = trained()
        moves = Moves(lambda: [held["exp_avg"].add_(1) for held in optimizer.state.values()])
        with pytest.raises(ResumeMismatchError, match="optimizer is not what was saved"):
            loaded(tmp_path, model=model, optimizer=optimizer, moves=moves)


def test_parameters_that_are_replaced_are_missed_by_their_optimizer(tmp_path: Path) -> None:
    with reproducible(seed=0):
        model, optimizer = trained()

        def replace() -> None:
            model.weight = nn.Parameter(model.weight.detach().clone())
            model.weight.grad = optimizer.param_groups[0]["params"][0].grad

        with pytest.raises(ResumeMismatchError, match=r"had 2 of its parameters, and have 1 now"):
            loaded(tmp_path, model=model, optimizer=optimizer, moves=Moves(replace))
        loaded(tmp_path, model=model)


def test_a_loader_whose_place_or_samplers_epoch_another_object_moves_is_named(tmp_path: Path) -> None:
    sampler: DistributedSampler[int] = DistributedSampler([1, 2, 3], 1, 0)  # type: ignore[arg-type]
    loader = make_loader([1, 2, 3], seed=0, sampler=sampler)
    for move in (lambda: loader.set_epoch(4), lambda: sampler.set_epoch(5)):
        loader.set_epoch(0)
        with reproducible(seed=0), pytest.raises(ResumeMismatchError, match=r"loader\.state\.epoch: saved 0, here"):
            loaded(tmp_path, loader=loader, moves=Moves(move))


def test_generators_that_an_object_moves_are_put_back(tmp_path: Path) -> None:
    own = torch.Generator()
    in_sampler = torch.Generator().manual_seed(1)
    sampler = torch.utils.data.RandomSampler([1, 2, 3], generator=in_sampler)
    loader = make_loader([1, 2, 3], seed=0, sampler=sampler)

    def move() -> None:
        own.manual_seed(3)
        torch.manual_seed(4)
        in_sampler.manual_seed(5)

    with reproducible(seed=0, generators=[own]):
        before = fingerprint([own, torch.default_generator])
        loaded(tmp_path, loader=loader, moves=Moves(move))
        assert fingerprint([own, torch.default_generator]) == before
        order = [int(batch) for batch in loader]
    again = torch.utils.data.RandomSampler([1, 2, 3], generator=torch.Generator().manual_seed(1))
    assert order == [int(batch) for batch in make_loader([1, 2, 3], seed=0, sampler=again)]
