"""The stack of running modules: names, roots, exceptions, compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from deterministic.trace.recording.modules import OUTSIDE, ModuleName, Modules

from .models import Transformer, batches
from .recorded import recorded

pytestmark = pytest.mark.usefixtures("apart")


class Told:
    """Collects what modules are told of."""

    def __init__(self) -> None:
        self.roots: list[tuple[ModuleName, Any, bool]] = []
        self.returned: list[tuple[str, Any]] = []
        self.modules = Modules(
            lambda module, name, arguments, is_new: self.roots.append((name, arguments, is_new)),
            lambda name, result: self.returned.append((name.path, result)),
        )


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    made.modules.start()
    yield made
    made.modules.stop()
    assert not torch_modules._global_forward_pre_hooks
    assert not torch_modules._global_forward_hooks
    assert not torch_modules._global_forward_hooks_always_called


def test_a_module_has_its_path_its_class_and_that_of_the_outermost_one(told: Told) -> None:
    model = Transformer()
    model(next(batches(1))[0])
    assert told.modules.name_of(model.blocks[1].up) == ModuleName("blocks.1.up", "Linear", "Transformer")  # type: ignore[arg-type]
    assert [(name.root, is_new) for name, _, is_new in told.roots] == [("Transformer", True)]
    model(next(batches(1))[0])
    assert [is_new for *_, is_new in told.roots] == [True, False]
    assert told.modules.current() is OUTSIDE


def test_a_shared_module_has_the_first_of_its_paths(told: Told) -> None:
    shared = nn.Linear(2, 2)
    nn.Sequential(shared, nn.ReLU(), shared)(torch.ones(1, 2))
    assert [path for path, _ in told.returned] == ["0", "1", "0", ""]


def test_a_module_that_is_no_part_of_its_caller_is_named_after_it(told: Told) -> None:
    other = nn.Sequential(nn.Linear(2, 2))

    class Caller(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = other(x)
            return result

    nn.Sequential(Caller())(torch.ones(1, 2))
    assert [path for path, _ in told.returned] == ["0.Sequential.0", "0.Sequential", "0", ""]
    assert len(told.roots) == 1


def test_two_roots_have_names_of_their_own(told: Told) -> None:
    for model in (nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2)):
        model(torch.ones(1, 2))
    assert [name.root for name, *_ in told.roots] == ["Sequential", "Linear"]


class Raising(nn.Module):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit()])
def test_the_stack_is_right_again_after_a_module_that_raised(told: Told, error: BaseException) -> None:
    model = nn.Sequential(nn.Sequential(Raising(error)))
    with pytest.raises(type(error)):
        model(torch.ones(1))
    healthy = nn.Sequential(nn.ReLU())
    healthy(torch.ones(1))
    assert [name.root for name, *_ in told.roots] == ["Sequential"] * 2
    assert [path for path, _ in told.returned] == ["0", ""]
    assert told.modules.current() is OUTSIDE


def test_a_module_that_is_caught_within_another_is_left_alone(told: Told) -> None:
    class Catching(nn.Module):
        def __init__(self, error: BaseException) -> None:
            super().__init__()
            self.inner, self.then = nn.Sequential(Raising(error)), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            with pytest.raises(BaseException):  # noqa: B017 - whichever
                self.inner(x)
            result: Tensor = self.then(x)
            assert told.modules.current().root == "Catching"
            return result

    for error in (ValueError(), KeyboardInterrupt()):
        Catching(error)(torch.ones(1))
        assert told.modules.current() is OUTSIDE
    assert [path for path, _ in told.returned] == ["then", ""] * 2


def test_a_pre_hook_that_raises_before_the_module_is_entered_leaves_the_others(told: Told) -> None:
    def fails(module: nn.Module, arguments: Any) -> None:
        if type(module) is nn.ReLU:
            raise ValueError("in a pre-hook")

    told.modules.stop()
    handle = torch_modules.register_module_forward_pre_hook(fails)
    told.modules.start()
    model = nn.Sequential(nn.Tanh(), nn.ReLU())
    with pytest.raises(ValueError, match="in a pre-hook"):
        model(torch.ones(1))
    handle.remove()
    assert told.modules.current() is OUTSIDE


def test_a_module_that_returns_nothing_returns_nothing(told: Told) -> None:
    class Nothing(nn.Module):
        def forward(self) -> None:
            return None

    Nothing()()
    assert told.returned == []


def test_names_do_not_keep_modules_alive(told: Told) -> None:
    nn.Sequential(nn.Linear(2, 2))(torch.ones(1, 2))
    assert len(told.modules._names) == 0
    assert told.modules._stacks == {}


def test_what_a_module_is_called_with_is_recorded_keywords_too() -> None:
    class Keywords(nn.Module):
        def forward(self, x: Tensor, *, scale: Tensor) -> Tensor:
            return x * scale

    def body(scale: float) -> Any:
        return recorded(lambda: Keywords()(torch.ones(2), scale=torch.tensor(scale)), "values").all("input")

    (entry,) = body(1.0)
    assert [value.name for value in entry.site.values] == ["[0]", "[1]['scale']"]
    assert body(1.0)[0].hashes == entry.hashes
    assert body(2.0)[0].hashes != entry.hashes


def test_the_state_is_recorded_when_a_module_is_first_called_and_what_it_returns_each_time() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    x = torch.ones(3, 2, requires_grad=True)
    found = recorded(lambda: [model(x).sum().backward() for _ in range(2)], "modules")
    (state,) = found.all("state")
    assert [value.name for value in state.site.values] == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    ]
    assert [(e.site.module, e.site.phase) for e in found.all("module")] == [
        ("0", "forward"),
        ("1", "forward"),
        ("1", "backward"),  # what the outermost one returns is the same tensor
        ("", "backward"),
        ("0", "backward"),
    ] * 2
    assert [(e.site.name, e.site.phase) for e in found.all("result")] == [("Sequential", "forward")] * 2


def test_no_hook_is_left_on_a_parameter_that_a_module_returns() -> None:
    class Itself(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

        def forward(self) -> Tensor:
            return self.weight

    model = Itself()
    recorded(lambda: model().sum().backward(), "modules")
    assert not model.weight._backward_hooks
