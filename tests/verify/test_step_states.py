"""What an optimizer's parameters, states and buffers are after each step, in the lines of one rank."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from deterministic.verification.step_lines import LINES, lines_of
from deterministic.verification.step_states import StepStates

from .stepped import Wrapper, train


def test_each_step_has_parameters_states_and_buffers_by_the_names_of_the_module_alone(tmp_path: Path) -> None:
    lines = [*lines_of(train(tmp_path / "a"))]
    assert [line.step for line in lines] == [-1, 0, 1, 2]
    parameters = ["0.weight of Linear", "0.bias of Linear", "1.weight of BatchNorm1d", "1.bias of BatchNorm1d"]
    assert lines[0].names == parameters
    assert lines[1].names[:4] == parameters
    assert lines[1].names[4] == "step of 0.weight of Linear"
    assert lines[1].names[-3:] == [f"1.{name} of BatchNorm1d" for name in _BUFFERS]
    assert all(len(line.digests) == len(line.names) for line in lines)
    assert [*lines_of(train(tmp_path / "b", wrap=lambda net: net))] == lines


_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def test_one_module_of_several_is_no_wrapper(tmp_path: Path) -> None:
    def beside(net: nn.Module) -> nn.Module:
        wrapper = Wrapper(net)
        wrapper.other = nn.Linear(1, 1)
        return wrapper

    assert next(lines_of(train(tmp_path, steps=1, wrap=beside))).names[0] == "module.0.weight of Linear"


def test_parameters_of_no_module_are_numbered(tmp_path: Path) -> None:
    with StepStates(tmp_path, 0, None):
        optimizer = torch.optim.SGD([{"params": [torch.zeros(2)]}, {"params": [torch.zeros(3), torch.zeros(1)]}])
        optimizer.step()
    names = ["parameter 0 of group 0", "parameter 0 of group 1", "parameter 1 of group 1"]
    assert next(lines_of(tmp_path / LINES)).names == names


def test_other_ranks_write_nothing_and_nothing_is_watched_afterwards(tmp_path: Path) -> None:
    assert not train(tmp_path, rank=1).exists()
    written = train(tmp_path).read_text()
    torch.optim.SGD([torch.zeros(2)]).step()
    assert (tmp_path / LINES).read_text() == written


def test_sharded_values_are_gathered_on_every_rank(tmp_path: Path) -> None:
    class Sharded(torch.Tensor):
        """What stands for a DTensor."""

        gathered = 0

        def full_tensor(self) -> torch.Tensor:
            Sharded.gathered += 1
            return torch.arange(4.0)

    for rank in (0, 1):
        (tmp_path / str(rank)).mkdir()
        with StepStates(tmp_path / str(rank), rank, None):
            torch.optim.SGD([torch.zeros(2).as_subclass(Sharded)]).step()
        assert Sharded.gathered == 2 * (rank + 1)  # before the step, and after it
    with StepStates(tmp_path, 0, None):
        torch.optim.SGD([torch.arange(4.0)]).step()
    assert next(lines_of(tmp_path / LINES)).digests == next(lines_of(tmp_path / "0" / LINES)).digests
