"""The state of models and optimizers comes back exactly; what does not fit is refused before anything is touched."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deterministic import Checkpoint, load_checkpoint, reproducible, save_checkpoint
from deterministic.checkpoint import load
from deterministic.checkpoint.stateful import first_difference, state_of
from deterministic.errors import NondeterminismWarning, ResumeMismatchError
from deterministic.values.fingerprint import fingerprint_if_any
from deterministic.values.stateful import is_stateful

from .written import Plain, assert_same_tensor


@pytest.fixture(autouse=True)
def generator() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        yield


class Net(nn.Module):
    """A model with all that a module can have: tied weights, caches, buffers of both kinds."""

    def __init__(self, features: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(features, features)
        self.norm = nn.BatchNorm1d(features)
        self.last = nn.Linear(features, features, bias=False)
        self.last.weight = self.first.weight
        self.register_buffer("kept", torch.rand(2))
        self.register_buffer("cache", torch.rand(2, dtype=torch.float64), persistent=False)
        self.register_buffer("later", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.norm(self.first(x)))
        return result


def everything(model: nn.Module) -> dict[str, Tensor | None]:
    """Return copies of all tensors of a module."""
    tensors: dict[str, Tensor | None] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    tensors |= {f"{name}.grad": parameter.grad for name, parameter in model.named_parameters()}
    return {name: None if tensor is None else tensor.detach().clone() for name, tensor in tensors.items()}


def assert_same_tensors(one: dict[str, Tensor | None], other: dict[str, Tensor | None]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        if tensor is None:
            assert other[name] is None
        else:
            assert_same_tensor(tensor, other[name])  # type: ignore[arg-type]


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 2) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        dtype = next(model.parameters()).dtype
        model(torch.rand(4, 3, dtype=dtype)).square().mean().backward()
        optimizer.step()


def test_a_model_comes_back_with_its_buffers_and_gradients(tmp_path: Path) -> None:
    model = Net()
    model(torch.rand(4, 3)).sum().backward()
    before = everything(model)
    save_checkpoint(tmp_path / "a", model=model)
    other = Net()
    kept = other.cache
    load_checkpoint(tmp_path / "a", model=other)
    assert_same_tensors(before, everything(other))
    assert other.cache is kept
    assert other.last.weight is other.first.weight
    assert_same_tensors(before, everything(model))


def test_gradients_that_were_not_there_are_cleared(tmp_path: Path) -> None:
    model = Net()
    save_checkpoint(tmp_path / "a", model=model)
    model(torch.rand(4, 3)).sum().backward()
    assert model.first.weight.grad is not None
    load_checkpoint(tmp_path / "a", model=model)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_buffer_that_was_made_while_it_ran_comes_back(tmp_path: Path) -> None:
    model, other = Net(), Net()
    model.later = torch.tensor([1.0, 2.0])
    model.cache = torch.rand(5)
    save_checkpoint(tmp_path / "a", model=model)
    load_checkpoint(tmp_path / "a", model=other)
    assert_same_tensors(everything(model), everything(other))
    assert "later" not in other.state_dict()
    assert "later" in dict(other.named_buffers())


class Versioned(nn.Module):
    _version = 1

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 1)
        self.seen: list[object] = []

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *others: Any) -> None:
        self.seen.append(local_metadata.get("version"))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


def test_a_module_is_told_the_version_that_it_was_saved_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Versioned()
    save_checkpoint(tmp_path / "a", model=model)
    monkeypatch.setattr(Versioned, "_version", 2)
    with pytest.warns(NondeterminismWarning, match="version: saved 1, here 2"):
        load_checkpoint(tmp_path / "a", model=model, on_mismatch="warn")
    assert model.seen == [1]


@pytest.mark.parametrize(
    "make",
    [
        lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
        lambda params: torch.optim.Adam(params, lr=0.1, amsgrad=True),
        lambda params: torch.optim.AdamW([{"params": [p], "lr": 0.1 * n} for n, p in enumerate(params, 1)]),
        lambda params: torch.optim.RMSprop(params, lr=0.1),
        lambda params: torch.optim.LBFGS(params, lr=0.1),
    ],
    ids=["SGD", "Adam", "AdamW", "RMSprop", "LBFGS"],
)
def test_a_training_goes_on_with_the_same_bits(make: Any, tmp_path: Path) -> None:
    def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = Net()
        return model, make([*model.parameters()])

    def train(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: list[Tensor]) -> None:
        for x in inputs:

            def closure(x: Tensor = x) -> Tensor:
                optimizer.zero_grad()
                loss: Tensor = model(x).square().mean()
                loss.backward()
                return loss

            optimizer.step(closure)  # type: ignore[arg-type]

    inputs = [torch.rand(4, 3) for _ in range(6)]
    model, optimizer = parts()
    train(model, optimizer, inputs[:3])
    save_checkpoint(tmp_path / "a", model=model, optimizer=optimizer)
    train(model, optimizer, inputs[3:])
    other, other_optimizer = parts()
    load_checkpoint(tmp_path / "a", model=other, optimizer=other_optimizer)
    train(other, other_optimizer, inputs[3:])
    assert_same_tensors(everything(model), everything(other))


def test_the_state_of_an_optimizer_keeps_its_dtypes(tmp_path: Path) -> None:
    def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Linear(3, 3).to(torch.bfloat16)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        trained(model, optimizer)
        for state in optimizer.state.values():
            state["exp_avg"] = torch.rand(state["exp_avg"].shape, dtype=torch.float32)
        return model, optimizer

    model, optimizer = parts()
    save_checkpoint(tmp_path / "a", model=model, optimizer=optimizer)
    other, other_optimizer = parts()
    load_checkpoint(tmp_path / "a", model=other, optimizer=other_optimizer)
    for one, two in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        assert two["exp_avg"].dtype is torch.float32
        assert two["exp_avg_sq"].dtype is torch.bfloat16
        for name in one:
            assert_same_tensor(one[name], two[name])
    assert first_difference(state_of(optimizer), state_of(other_optimizer)) is None


def sgd(*sizes: int) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.zeros(1, requires_grad=True) for _ in range(n)]} for n in sizes], lr=0.1)


@pytest.mark.parametrize(
    ("saved", "here", "found"),
    [
        (lambda: nn.Linear(3, 4), lambda: nn.Linear(3, 5), "it.weight: saved float32[4, 3], here float32[5, 3]"),
        (lambda: nn.Linear(3, 4), lambda: nn.Linear(3, 4, bias=False), "it.bias: saved float32[4], here nothing"),
        (lambda: nn.Linear(3, 4, bias=False), lambda: nn.Linear(3, 4), "it.bias: saved nothing, here float32[4]"),
        (
            lambda: nn.Linear(3, 4).double(),
            lambda: nn.Linear(3, 4),
            "it.weight: saved float64[4, 3], here float32[4, 3]",
        ),
        (lambda: nn.Linear(3, 4), lambda: Plain(), "it: saved as a module, here none"),
        (lambda: Plain(), lambda: nn.Linear(3, 4), "it: a module here, saved as none"),
        (lambda: sgd(2, 1), lambda: sgd(1, 2), "it: saved with parameters in groups [2, 1], here [1, 2]"),
        (lambda: sgd(1), lambda: sgd(1, 1), "it: saved with parameters in groups [1], here [1, 1]"),
        (lambda: Plain(), lambda: sgd(1), "it: an optimizer here, saved as something else"),
        (lambda: 5, lambda: nn.Linear(3, 4), "it: saved as a value, here an object with a state_dict"),
        (lambda: nn.Linear(3, 4), lambda: 5, "it: saved as an object with a state_dict, here a value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_named_and_nothing_is_touched(saved: Any, here: Any, found: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", first=Plain("saved"), it=saved())
    first, it = Plain("here"), here()
    before = copy.deepcopy(state_of(it)) if is_stateful(it) else it
    state = torch.get_rng_state()
    with pytest.raises(ResumeMismatchError, match="nothing was changed") as caught:
        load_checkpoint(tmp_path / "a", first=first, it=it, on_mismatch="warn")
    assert found in str(caught.value)
    assert first.value == "here"
    assert torch.equal(torch.get_rng_state(), state)
    if is_stateful(it):
        assert first_difference(before, state_of(it)) is None


def test_a_lazy_model_takes_its_shapes_from_what_was_saved(tmp_path: Path) -> None:
    model = nn.Linear(3, 4)
    save_checkpoint(tmp_path / "a", model=model)
    lazy = nn.LazyLinear(4)
    load_checkpoint(tmp_path / "a", model=lazy)
    assert_same_tensor(model.weight.detach(), lazy.weight.detach())


def test_a_lazy_model_is_taken_beside_an_optimizer(tmp_path: Path) -> None:
    lazy = nn.Sequential(nn.LazyLinear(3), nn.LazyLinear(1))
    with reproducible(seed=0), warnings.catch_warnings():
        warnings.simplefilter("error")
        Checkpoint(tmp_path, model=lazy, optimizer=torch.optim.Adam(lazy.parameters())).close()


def tied(how: str) -> dict[str, Any]:
    """Return two modules of linear layers of one weight, some of which are one parameter."""
    with torch.no_grad():
        one: Any = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        other = nn.Linear(2, 2)
        for layer in (*one, other):
            layer.weight.fill_(1.0)
            layer.bias.fill_(2.0)
    if how == "within":
        one[1].weight = one[0].weight
    elif how == "by memory":
        one[1].weight.data = one[0].weight.data
    elif how == "across":
        other.weight = one[0].weight
    elif how == "all":
        other.weight = one[1].weight = one[0].weight
    return {"one": one, "other": other}


_NAMES = {
    "within": "one.0.weight, one.1.weight",
    "by memory": "one.0.weight, one.1.weight",
    "across": "one.0.weight, other.weight",
    "all": "one.0.weight, one.1.weight, other.weight",
}


@pytest.mark.parametrize("how", _NAMES)
def test_parameters_that_were_one_and_are_not_are_named_and_the_reverse(how: str, tmp_path: Path) -> None:
    apart, one = "saved as one, here apart", "saved apart, here one"
    for saved, here, said in [(how, "", apart), ("", how, one)]:
        save_checkpoint(tmp_path / "a", **tied(saved))
        objects = tied(here)
        with pytest.raises(ResumeMismatchError, match=rf"{_NAMES[how]}: {said}"):
            load_checkpoint(tmp_path / "a", **objects)
        with pytest.warns(NondeterminismWarning, match=rf"{_NAMES[how]}: {said}"):
            load_checkpoint(tmp_path / "a", **objects, on_mismatch="warn")
    save_checkpoint(tmp_path / "a", **tied(how))
    load_checkpoint(tmp_path / "a", **tied(how))


class Changing(Plain):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = [state["value"][0], state["value"][1].half().float()]


def test_an_object_that_changes_what_it_is_given_is_found_out(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", fine=Plain(1), it=Plain([1, torch.tensor([0.1])]))
    text = r"it is not what was saved\n  it\.state\.value\[1\]: saved float32\[1\] \w+, here float32\[1\] \w+"
    with pytest.raises(ResumeMismatchError, match=text):
        load_checkpoint(tmp_path / "a", fine=Plain(), it=Changing())
    fine, it = Plain(), Changing()
    with pytest.warns(NondeterminismWarning, match=text):
        assert load_checkpoint(tmp_path / "a", fine=fine, it=it, on_mismatch="warn") == {}
    assert fine.value == 1
    assert it.value[0] == 1


class Forgetful(Plain):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Failing(Plain):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise RuntimeError("no such state")


def test_an_object_that_forgets_what_it_is_given_is_found_out(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", it=Plain(1))
    with pytest.raises(ResumeMismatchError, match=r"it\.state\.value: saved 1, here 0"):
        load_checkpoint(tmp_path / "a", it=Forgetful())


def test_an_object_that_fails_is_named_with_those_that_were_loaded_before(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", one=Plain(1), it=Plain(2))
    one = Plain()
    with pytest.raises(ResumeMismatchError, match="it could not be loaded from") as caught:
        load_checkpoint(tmp_path / "a", one=one, it=Failing())
    assert "found: RuntimeError: no such state" in str(caught.value)
    assert "loaded before it: one" in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": [1, (2, 3)]}, {"a": [1, (2, 3)]}, None),
        ({"a": 1}, {"a": 1, "b": 2}, "x: saved with ['a'], here ['a', 'b']"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "x.a[1]: saved 2, here 3"),
        ([1], [1, 2], "x: saved [1], here [1, 2]"),
        (0.0, -0.0, "x: saved 0.0, here -0.0"),
        (1, True, "x: saved 1, here True"),
        (1, 1.0, "x: saved 1, here 1.0"),
        (float("nan"), float("nan"), None),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), None),
        (range(3), range(3), None),
        (range(3), range(4), "x: saved range(0, 3), here range(0, 4)"),
    ],
)
def test_the_first_difference_is_found_bit_for_bit(one: Any, other: Any, found: str | None) -> None:
    assert first_difference(one, other, "x") == found


def test_only_what_can_be_saved_and_loaded_is_stateful() -> None:
    assert is_stateful(Plain())
    assert is_stateful(nn.Linear(1, 1))
    for value in (5, {"state_dict": 1}, object(), torch.zeros(1)):
        assert not is_stateful(value)


class Others(Plain):
    """Asks for more than the protocol has, as litdata's datasets do."""

    def state_dict(self, samples: int) -> dict[str, Any]:  # type: ignore[override]
        return {}


def test_an_object_whose_methods_want_other_arguments_is_none_with_a_state(tmp_path: Path) -> None:
    assert not is_stateful(Others())
    assert not is_stateful(Plain)
    with pytest.raises(TypeError, match=r"it= has no state_dict\(\) and load_state_dict\(state\)"):
        Checkpoint(tmp_path, it=Others())


def test_what_is_as_it_was_saved_is_not_compared_value_by_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests: list[str | None] = []

    def watched(*of: Any) -> str | None:
        digests.append(fingerprint_if_any(*of))
        return digests[-1]

    monkeypatch.setattr(load, "fingerprint_if_any", watched)
    monkeypatch.setattr(load, "first_difference", None)
    save_checkpoint(tmp_path / "a", it=Plain(torch.ones(3)))
    load_checkpoint(tmp_path / "a", it=Plain(torch.zeros(3)))
    assert len(digests) == 2
    assert digests[0] == digests[1]
